"""infcop_lite beside torch.nn.utils.prune, Lightning and Torch-Pruning: lines, seconds, features.

``python benchmarks/compare_libraries.py`` writes libraries.md. Nothing here is asserted: what the
table says is what came out.
"""

import inspect
import io
import time
import tokenize
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from library_features import CHECKS, LIBRARIES
from library_runs import BATCH, EPOCHS, FRACTION, LEVELS, RUNS, network
from timing import interleaved, machine, ratio
from torch import nn

from infcop_lite import data
from infcop_lite.data import Split

FOLDER = Path(__file__).parent
TRAIN, ROUNDS = 14 * BATCH, 2
PACKAGES = {"torch": "torch", "lightning": "lightning", "torch-pruning": "torch-pruning"}


def code_lines(function: Callable[..., object]) -> int:
    """Return the lines of a function that hold code: no blank ones, no comments, no docstring."""
    text = inspect.getsource(function)
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines) - 1  # its name


def runs(rounds: int) -> list[str]:
    """Run all in turn, each round from other weights, and return the lines of a table."""
    splits = data.load("mnist", subset=2000)
    train = Split(splits.train.inputs[:TRAIN], splits.train.targets[:TRAIN])
    found: dict[str, list[nn.Module]] = {name: [] for name in RUNS}

    def once(name: str) -> None:
        model = network(seed=len(found[name]))
        found[name].append(RUNS[name](model, train, splits.validation))

    calls = {name: partial(once, name) for name in RUNS}
    seconds = interleaved(calls, rounds, clock=time.process_time)
    heads = "library, lines, processor seconds, of torch's, parameters not 0"
    lines = [f"| {heads.replace(', ', ' | ')} |", "| --- | --- | --- | --- | --- |"]
    for name, run in RUNS.items():
        nets = found[name][1:]  # the first warms up
        kept = [sum(int(p.count_nonzero()) for p in net.parameters()) for net in nets]
        share = ratio(seconds[name], seconds["torch.nn.utils.prune"])
        cells = [name, str(code_lines(run)), f"{median(seconds[name]):.1f}", f"{share:.2f}×"]
        cells.append(f"{median(kept):,.0f} of {sum(p.numel() for p in network().parameters()):,}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def features() -> list[str]:
    """Try all out, and return the lines of a table."""
    lines = [f"| | {' | '.join(LIBRARIES)} |", "| --- |" + " --- |" * len(LIBRARIES)]
    for check in CHECKS:
        said = " | ".join("yes" if it else "no" for it in check())
        lines.append(f"| {(inspect.getdoc(check) or '').rstrip('.')} | {said} |")
    return lines


def main() -> None:
    torch.set_num_threads(1)
    about = machine() | {name: version(package) for name, package in PACKAGES.items()}
    lines = dict(zip(RUNS, map(code_lines, RUNS.values()), strict=True))
    text = [
        "# Beside other libraries",
        "",
        f"For one job, pruning with rewinding, infcop_lite needs {lines['infcop_lite']} lines where"
        f" torch.nn.utils.prune needs {lines['torch.nn.utils.prune']}. It costs about as much time."
        " Each of the others does something that it does not. Choose by what you need.",
        "",
        f"The same run: a small convolutional network, {TRAIN:,} images of MNIST, one epoch of"
        f" warm-up, then {LEVELS + 1} levels of {EPOCHS} epochs; after each but the last,"
        f" {FRACTION:.0%} of every layer goes, weights or whole units. Medians of {ROUNDS} rounds"
        " in turn, on one thread. So short a run scatters widely in accuracy, whoever makes it:"
        " accuracies are not compared. infcop_lite's time includes the validation split at every"
        " check. Lightning rewinds to the initial weights, Torch-Pruning not at all.",
        "",
        *runs(ROUNDS),
        "",
        "What they do by themselves, as they are by default, each tried out by the script."
        " infcop_lite is `Pruner`; for skip connections it is `units`, on top of Torch-Pruning.",
        "",
        *features(),
        "",
        "`python benchmarks/compare_libraries.py` wrote this: "
        + "; ".join(f"{key}: {value}" for key, value in about.items()),
        "",
    ]
    (FOLDER / "libraries.md").write_text("\n".join(text))
    print(*text, sep="\n")


if __name__ == "__main__":
    main()

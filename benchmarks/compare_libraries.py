"""infcop_lite beside torch.nn.utils.prune, Lightning, Torch-Pruning: accuracy, seconds, lines.

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
from statistics import mean, median

import torch
from library_features import CHECKS, LIBRARIES
from library_runs import BATCH, EPOCHS, FRACTION, GOES_ON, LEVELS, LR, REWINDS, Run, network
from timing import interleaved, machine, ratio
from torch import nn

from infcop_lite import data
from infcop_lite.data import Split
from infcop_lite.train import evaluate

FOLDER = Path(__file__).parent
TRAIN, ROUNDS = 14 * BATCH, 4
PACKAGES = {"torch": "torch", "lightning": "lightning", "torch-pruning": "torch-pruning"}


def code_lines(function: Callable[..., object]) -> int:
    """Return the lines of a function that hold code: no blank ones, no comments, no head."""
    text = inspect.getsource(function)
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    head = text[: text.index("-> nn.Module:")].count("\n") + 1
    return len(lines) - head


def lines_of(run: Run) -> int:
    """Return the lines of code of a run, whatever it is told."""
    return code_lines(run.func if isinstance(run, partial) else run)


def runs(those: dict[str, Run], rounds: int) -> list[str]:
    """Run all in turn, each round from other weights, and return the lines of a table."""
    splits = data.load("mnist", subset=2000)
    train = Split(splits.train.inputs[:TRAIN], splits.train.targets[:TRAIN])
    found: dict[str, list[nn.Module]] = {name: [] for name in those}

    def once(name: str) -> None:
        model = network(seed=len(found[name]))
        found[name].append(those[name](model, train, splits.validation))

    calls = {name: partial(once, name) for name in those}
    seconds = interleaved(calls, rounds, clock=time.process_time)
    heads = (
        "library, accuracy, least to most, parameters not 0, processor seconds, of torch's, lines"
    )
    lines = [f"| {heads.replace(', ', ' | ')} |", "| --- |" + " --- |" * heads.count(", ")]
    for name, run in those.items():
        nets = found[name][1:]  # the first warms up
        kept = [sum(int(p.count_nonzero()) for p in net.parameters()) for net in nets]
        right = [evaluate(net, splits.test.inputs, splits.test.targets)[1] for net in nets]
        share = ratio(seconds[name], seconds["torch.nn.utils.prune"])
        cells = [name, f"{mean(right):.3f}", f"{min(right):.3f} to {max(right):.3f}"]
        cells.append(f"{median(kept):,.0f} of {sum(p.numel() for p in network().parameters()):,}")
        cells += [f"{median(seconds[name]):.1f}", f"{share:.2f}×", str(lines_of(run))]
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
    lines = {name: lines_of(run) for name, run in GOES_ON.items()}
    names = ", ".join(f"{name} {about[name]}" for name in PACKAGES)
    text = [
        "# Beside other libraries",
        "",
        f"For one job, pruning level by level, infcop_lite needs {lines['infcop_lite']} lines where"
        f" torch.nn.utils.prune needs {lines['torch.nn.utils.prune']}. Each of the others does"
        " something that it does not. Choose by what you need.",
        "",
        f"The same run for all, with {names}: a small convolutional network, {TRAIN:,} images of"
        f" MNIST, {LEVELS + 1} levels of {EPOCHS} epochs, SGD with learning rate {LR}, momentum and"
        f" weight decay. After each level but the last, {FRACTION:.0%} of every layer goes: of its"
        " weights, or of its units but for the last layer. A level goes on from the weights that it"
        f" has. Accuracies are on 10,000 test images, of {ROUNDS} initial weights; every library"
        " shuffles in its own way. Where ranges overlap, these runs do not tell the libraries"
        " apart. Seconds are medians, taken in turn on one thread; those of infcop_lite include the"
        " validation split at every check.",
        "",
        *runs(GOES_ON, ROUNDS),
        "",
        f"With rewinding, a level has only its own {EPOCHS} epochs to learn in, from the weights"
        " that came in. The runs then differ: infcop_lite and the loop around torch.nn.utils.prune"
        " set the whole network back, and begin with a fresh optimiser. Lightning's callback sets"
        " back the weights that it prunes; biases, batch norms and momentum go on. In this version"
        " and on a CPU it does so at the first pruning only, as the last table shows: what it sets"
        " back to shares its memory with what is trained. So its last network has trained three"
        " levels long. Torch-Pruning has no rewinding.",
        "",
        *runs(REWINDS, ROUNDS),
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

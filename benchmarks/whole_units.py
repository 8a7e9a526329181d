"""Speed that one can feel: resnet18 without half its channels, beside itself, and what it costs.

``python benchmarks/whole_units.py`` puts its rows into results.json and results.md, where
`bench` keeps them. Pruned on CIFAR-10 for some minutes, in runs/whole-units, where it goes on if it
is killed. Nothing here is asserted.
"""

import json
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from report import Row, as_text
from sizes import Size, as_table, repeat
from timing import interleaved, machine, ratio

from infcop_lite import data, models, units

FOLDER = Path(__file__).parent
RUN = FOLDER.parent / "runs" / "whole-units"
SUBSET, TESTED, THREADS, ROUNDS = 5000, 2000, 2, 25
TRAINED: dict[str, Any] = {"levels": 2, "epochs": 2, "warmup_epochs": 1, "batch_size": 64}
TRAINED |= {"lr": 0.02, "level_schedule": "linear", "last_schedule": "linear", "monitor": False}
TRAINED |= {"seed": 0, "device": "cpu", "threads": 1}


def pruned() -> units.Smaller:
    """Prune three tenths of the channels of resnet18, twice: a quarter of its parameters stays."""
    splits = data.load("cifar10", subset=SUBSET)
    torch.manual_seed(0)
    model = models.build("resnet18", splits)
    test = data.Split(splits.test.inputs[:TESTED], splits.test.targets[:TESTED])
    example, given = test.inputs[:2], (splits.train, splits.validation, test)
    return units.prune_units(
        model, *given, example=example, fraction=0.3, folder=RUN, progress=True, **TRAINED
    )


@torch.inference_mode()
def rows(found: units.Smaller, rounds: int = ROUNDS) -> list[Row]:
    """Time the network with its zeros against the smaller one that computes the same."""
    about, nets = machine(), {"zeros": found.pruned.model.eval(), "smaller": found.model.eval()}
    torch.set_num_threads(THREADS)
    before, after = found.num_parameters
    ends = [row for row in found.pruned.rows if row.stopped]
    note = f"{before:,} → {after:,} parameters ({after / before:.1%}); test accuracy"
    note += f" {ends[0].test_accuracy:.3f} dense, {ends[-1].test_accuracy:.3f} pruned"
    note += f" ({SUBSET} images of CIFAR-10, {TRAINED['epochs']} epochs a level)"
    where = f"{about['cpu']}, {THREADS} of {about['cores']} cores, load {about['load']}"
    lines: list[Row] = []
    for num_images, times in ((1, 20), (32, 3)):
        images = torch.randn(num_images, 3, 32, 32)
        calls = {name: partial(repeat, net, images, times) for name, net in nets.items()}
        wall = interleaved(calls, rounds)
        processor = interleaved(calls, rounds, clock=time.process_time)
        shown = f"{ratio(processor['zeros'], processor['smaller']):.2f}× in processor seconds"
        shown += f"; {1e3 * median(wall['smaller']) / times:.1f} ms; {where}; {note}"
        what = f"units, {num_images} image{'s' * (num_images > 1)}: with zeros / without"
        gain = ratio(wall["zeros"], wall["smaller"])
        lines.append({"network": "resnet18", "what": what, "ratio": gain, "wanted": "≥ 2×"})
        lines[-1]["note"] = shown
    return lines


def main() -> None:
    """Replace the rows of units in the table that is there."""
    table = FOLDER / "results.json"
    held = json.loads(table.read_text())
    others = [row for row in held["rows"] if not row["what"].startswith("units")]
    held["rows"] = others + rows(pruned())
    found = [Size(**size) for size in held["sizes"]]
    text = as_text(held["rows"], held["breakdowns"], as_table(found), held["machine"])
    table.write_text(json.dumps(held, indent=1) + "\n")
    (FOLDER / "results.md").write_text(text)
    print(*held["rows"][-2:], sep="\n")


if __name__ == "__main__":
    main()

"""What the method costs, as ratios of one run: monitoring, training, sizes, many runs.

``make bench`` writes results.md and results.json beside this file. Nothing here is ever asserted.
"""

import argparse
import copy
import gc
import json
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import ordinary
import torch
from choices import choices
from products import bare_products
from report import Row, as_text
from sizes import Size, as_table, sizes
from timing import interleaved, machine, ratio
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from infcop_lite import data, models, records
from infcop_lite.amounts import next_masks
from infcop_lite.compute import lay_out
from infcop_lite.config import Config
from infcop_lite.data import Dataset, Split
from infcop_lite.flows import collect_activations, gradient_flow, information_flow
from infcop_lite.masks import full_masks, prunable
from infcop_lite.pruning import prune
from infcop_lite.sweep import grid, run_many
from infcop_lite.train import evaluate, make_optimizer, shuffled_batches, train_steps

FOLDER = Path(__file__).parent
CONFIG = Config()
# Network -> its data set, the training images of an epoch, and the steps that are timed at a time:
# candidates should last about as long as each other, for a scheduler spares the short ones.
NETWORKS = {
    "mlp": ("mnist", 60_000, 20),
    "lenet5": ("mnist", 60_000, 8),
    "convnet": ("cifar10", 50_000, 1),
    "resnet20": ("cifar10", 50_000, 1),
}
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


@dataclass
class Bench:
    """One network, ready to train: at the library's defaults, on a subset of its data."""

    name: str
    model: nn.Module
    splits: Dataset

    @classmethod
    def of(cls, name: str) -> "Bench":
        torch.manual_seed(0)
        splits = load(NETWORKS[name][0], 4000)
        model = models.build(name, splits)
        lay_out(model)  # as a run does
        return cls(name, model, splits)

    def stepper(self, pruned: bool = False, num_steps: int | None = None) -> Callable[[], float]:
        """Return a function that trains for some steps, those of `NETWORKS` unless given."""
        c, train = CONFIG, self.splits.train
        masks = full_masks(self.model)
        if pruned:
            masks = next_masks(self.model, masks, Config(fraction=0.5))
        optimizer = make_optimizer(self.model, str(c.optimizer), c.lr, c.momentum, c.weight_decay)
        batches = shuffled_batches(
            len(train) // c.batch_size * c.batch_size, c.batch_size, torch.Generator()
        )
        num = num_steps or NETWORKS[self.name][2]

        def steps() -> float:
            return train_steps(
                self.model, optimizer, train.inputs, train.targets, masks, batches, num
            )

        return steps


def load(name: str, subset: int) -> Dataset:
    """Return the data set, or random tensors of its shapes: seconds do not depend on pixels."""
    if data.available(name):
        return data.load(name, subset=subset)

    def random(size: int) -> Split:
        return Split(torch.randn(size, *SHAPES[name]), torch.randint(10, (size,)))

    held_out = subset // 10
    classes = tuple("0123456789")
    return Dataset(random(subset - held_out), random(held_out), random(subset // 6), classes)


def monitoring(bench: Bench, rounds: int) -> list[Row]:
    """Time one check of each flow, and one pass over a validation tenth, against an epoch."""
    _, num_train, num_steps = NETWORKS[bench.name]
    model, train, masks = bench.model, bench.splits.train, full_masks(bench.model)
    probe = train.inputs[: CONFIG.probe_size], train.targets[: CONFIG.probe_size]
    few = probe[0][: CONFIG.gradient_probe], probe[1][: CONFIG.gradient_probe]
    tenth = bench.splits.validation
    seconds = interleaved(
        {
            "steps": bench.stepper(),
            "information flow": lambda: information_flow(collect_activations(model, probe[0])),
            "gradient flow": lambda: gradient_flow(model, *few, masks),
            "validation": lambda: evaluate(model, tenth.inputs, tenth.targets),
        },
        rounds,
    )
    calls_per_epoch = math.ceil(num_train / CONFIG.batch_size) / num_steps
    shares = {what: ratio(s, seconds["steps"]) / calls_per_epoch for what, s in seconds.items()}
    del shares["steps"]
    shares["validation"] *= num_train / 10 / len(tenth)
    both: Row = {"network": bench.name, "what": "both flows / epoch", "wanted": ""}
    both["ratio"] = shares["information flow"] + shares["gradient flow"]
    before = tensor_bytes()
    kept = information_flow(collect_activations(model, probe[0])), gradient_flow(model, *few)
    kept_bytes = tensor_bytes() - before
    assert all(flow.dim() == 1 for flow in kept)
    rows: list[Row] = [
        {"network": bench.name, "what": f"{what} / epoch", "ratio": share, "wanted": wanted}
        for (what, share), wanted in zip(shares.items(), ("≤ 2 %", "≤ 2 %", ""), strict=True)
    ]
    rows[0]["note"] = f"{CONFIG.probe_size} samples"
    rows[1]["note"] = f"{CONFIG.gradient_probe} samples"
    rows[2]["note"] = f"accuracy on {num_train // 10} held-out images, for scale"
    probe_bytes = sum(t.numel() * t.element_size() for t in probe)
    row: Row = {"network": bench.name, "what": "kept between checks / probe"}
    row |= {"ratio": kept_bytes / probe_bytes, "wanted": "", "note": f"{kept_bytes} bytes"}
    return [*rows[:2], both, *rows[2:], row]


def tensor_bytes() -> int:
    """Return the bytes of all tensors that are alive."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alive = [o for o in gc.get_objects() if type(o) in (Tensor, nn.Parameter)]
    return sum(t.numel() * t.element_size() for t in alive)


def training(bench: Bench, rounds: int) -> list[Row]:
    """Time the steps against the bare products of their layers, and the masking alone."""
    num_steps = NETWORKS[bench.name][2]
    batch = bench.splits.train.inputs[: CONFIG.batch_size]
    flops, products = bare_products(bench.model, batch, num_steps)
    candidates: dict[str, Callable[[], object]] = {
        "dense": bench.stepper(),
        "masks": masking(bench.model, num_steps),
    }
    seconds = interleaved(candidates | {str(i): p for i, p in enumerate(products)}, rounds)
    step_s = median(seconds["dense"]) / num_steps
    plain_s = min(median(seconds["0"]), median(seconds["1"])) / num_steps
    bare_share = min(ratio(seconds[i], seconds["dense"]) for i in "01")
    what, wanted = {
        "mlp": ("matrix products", "≥ 70 %"),
        "convnet": ("convolutions", "≥ 60 %"),
    }.get(bench.name, ("convolutions", ""))
    speed: Row = {
        "network": bench.name,
        "what": f"FLOP/s of a step / of its bare {what}",
        "ratio": bare_share,
        "wanted": wanted,
        "note": f"{flops / step_s / 1e9:.1f} of {flops / plain_s / 1e9:.1f} GFLOP/s",
    }
    cost: Row = {
        "network": bench.name,
        "what": "masks (half removed) / step",
        "ratio": ratio(seconds["masks"], seconds["dense"]),
        "wanted": "≤ 3 %",
        "note": f"timed alone; step {step_s * 1e3:.1f} ms",
    }
    return [speed, cost]


def masking(model: nn.Module, num_steps: int) -> Callable[[], None]:
    """Return what `train_steps` does after each step of a pruned network, as many times."""
    weights = [copy.deepcopy(weight.detach()) for weight in prunable(model).values()]
    kept = [torch.empty_like(weight).bernoulli_(0.5) for weight in weights]

    def mask_all() -> None:
        for _ in range(num_steps):
            for weight, mask in zip(weights, kept, strict=True):
                weight.mul_(mask)

    return mask_all


def breakdown(bench: Bench, rounds: int) -> str:
    """Return where the seconds of a step go, by torch's profiler, as a line of shares."""
    steps = bench.stepper(pruned=True)
    steps()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(rounds):
            steps()
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    parts = [f"{e.key} {e.self_cpu_time_total / total:.1%}" for e in events[:10]]
    return f"- {bench.name}: " + ", ".join(parts)


def side_by_side(name: str, rounds: int, subset: int) -> Row:
    """Time a whole run of two prunings, data loading included, against the ordinary loop."""
    on_disk = data.available("mnist")

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return models.build(name)

    def ours() -> None:
        splits = load("mnist", subset)
        options: dict[str, Any] = {"levels": 2, "epochs": 1, "warmup_epochs": 0, "monitor": True}
        prune(fresh(), splits.train, splits.validation, splits.test, **options)

    def theirs() -> None:
        ordinary.run(fresh(), ordinary.mnist(subset, on_disk), levels=2, epochs=1)

    seconds = interleaved({"ours": ours, "theirs": theirs}, rounds)
    ours_s = f"{median(seconds['ours']):.1f} s"
    note = f"2 levels of 1 epoch on {subset} images; ours, monitoring included: {ours_s}"
    row: Row = {"network": name, "what": "whole run, ordinary loop / infcop_lite", "note": note}
    return row | {"ratio": ratio(seconds["theirs"], seconds["ours"]), "wanted": "≥ 3×"}


def two_processes(num_levels: int) -> Row:
    """Time four runs of the mlp on two processes against the same runs on one."""
    options: dict[str, Any] = {"data": "mnist" if data.available("mnist") else "digits"}
    options |= {"levels": num_levels, "epochs": 1, "warmup_epochs": 1, "threads": 1}
    configs = grid(options, ["seed=0,1,2,3"])

    running_s = {}

    def with_processes(processes: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            if failed := run_many(configs, folder, processes):
                raise RuntimeError(next(iter(failed.values())))
            runs = [records.read(Path(folder) / name)[1]["seconds"] for name in configs]
            running_s[processes] = sum(runs) / processes

    candidates = {n: partial(with_processes, int(n)) for n in ("1", "2")}
    seconds = interleaved(candidates, 1, warm_up=False)
    note = f"4 runs of {num_levels} levels, start of the workers included: {seconds['1'][0]:.0f} s;"
    note += f" without the start: {running_s[1] / running_s[2]:.2f}×;"
    note += f" bare products in two processes: {bare_scaling():.2f}×"
    row: Row = {"network": "mlp", "what": "whole sweep, one process / two", "note": note}
    return row | {"ratio": ratio(seconds["1"], seconds["2"]), "wanted": "≥ 1.8×"}


def bare_scaling() -> float:
    """Return how much two processes get done of a bare product, in units of what one does alone."""
    program = (
        "import time, torch; torch.set_num_threads(1); a = torch.randn(512, 512); t = time.time()\n"
        "while time.time() < t + 5: a @ a; n = globals().get('n', 0) + 1\n"
        "print(n)"
    )
    start = partial(subprocess.Popen, [sys.executable, "-c", program], stdout=subprocess.PIPE)
    alone = int(start().communicate()[0])
    return sum(int(process.communicate()[0]) for process in [start(), start()]) / alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each row in seconds, and noisier")
    parser.add_argument("--threads", type=int, default=None, help="torch's choice unless given")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of results.md and .json")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    subset = 1500 if options.quick else 20_000
    about = machine()
    for name in SHAPES:
        about[name] = "on disk" if data.available(name) else "random tensors of its shapes"
    rows: list[Row] = []
    breakdowns: list[str] = []
    found: list[Size] = []
    for name in NETWORKS:
        bench = Bench.of(name)
        rounds = {"mnist": 5, "cifar10": 1} if options.quick else {"mnist": 15, "cifar10": 5}
        num_rounds = rounds[NETWORKS[name][0]]
        rows += monitoring(bench, num_rounds) + training(bench, max(5, num_rounds))
        breakdowns.append(breakdown(bench, 1 if options.quick else 3))
        tensors = bench.splits.train.inputs, bench.splits.train.targets
        rows += choices(name, bench.model, tensors, NETWORKS[name][2], max(3, num_rounds))
        bench.stepper(num_steps=20 if options.quick else 200)()  # small weights then mean something
        images = bench.splits.test.inputs[:100]
        found += sizes(name, bench.model, images, 3 if options.quick else 15)
        print(*rows[-12:], *found[-4:], sep="\n", flush=True)
    for name in ("lenet5", "mlp"):
        rows.append(side_by_side(name, 1 if options.quick else 2, subset))
    rows.append(two_processes(1 if options.quick else 12))
    if (table := options.out / "results.json").exists():  # those of whole_units.py, which trains
        held = json.loads(table.read_text())["rows"]
        rows += [row for row in held if row["what"].startswith("units")]
    text = as_text(rows, breakdowns, as_table(found), about)
    (options.out / "results.md").write_text(text)
    as_json = {"machine": about, "rows": rows, "breakdowns": breakdowns}
    as_json["sizes"] = [asdict(size) for size in found]
    (options.out / "results.json").write_text(json.dumps(as_json, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()

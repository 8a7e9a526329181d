"""Two of torchvision's networks, pruned by one call each, on a subset of CIFAR-10: chapter 9.

python experiments/own_models.py    finished runs are skipped, one that was killed is resumed

A folder is one network and one seed. rows.csv has the rows of its run; the last one also says what
the compacted network costs, as fractions of the dense one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gather
import torch
from tables import short
from torch import nn
from torchvision import models as zoo

from infcop_lite import compact, data, prune, records
from infcop_lite.cost import cost
from infcop_lite.data import Split

KEPT = gather.ROOT / "runs" / "own"  # what a killed run goes on from, and its network
SHARED: dict[str, Any] = {
    **{"data": "cifar10", "levels": 3, "fraction": 0.5, "stop": "twice-loss"},
    **{
        "warmup_epochs": 1,
        "epochs": 3,
        "last_schedule": "linear",
        "batch_size": 64,
        "probe_size": 200,
    },
    **{"device": "cpu", "threads": 1},
}
NUM_TEST = 2000


def mobilenet() -> nn.Module:
    """Return mobilenet_v3_small whose batch norms forget within ten steps, not a hundred.

    Its own momentum is meant for long training: after a few dozen steps its running statistics
    still hold those of the initial weights, and so does whatever is measured in eval mode.
    """
    model: nn.Module = zoo.mobilenet_v3_small(num_classes=10)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model


NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "mobilenet_v3_small": (mobilenet, {"subset": 2000, "optimizer": "adam", "lr": 0.002}),
    "resnet18": (lambda: zoo.resnet18(num_classes=10), {"subset": 1500, "lr": 0.02}),
}


def run(name: str) -> None:
    """Prune one network and write its rows, unless they are there."""
    build, own = NETWORKS[name]
    options = SHARED | own
    folder, settings = gather.RUNS / "own" / name, settings_of(name)
    if records.begin(folder, settings):
        return
    splits = data.load("cifar10", subset=own["subset"])
    test = Split(splits.test.inputs[:NUM_TEST], splits.test.targets[:NUM_TEST])
    torch.manual_seed(0)
    model = build()
    started = time.process_time()
    pruned = prune(
        *(model, splits.train, splits.validation, test),
        **options | {"monitor": True, "folder": KEPT / name, "progress": True},
    )
    seconds = time.process_time() - started
    print(pruned.summary())
    example = test.inputs[:1]
    dense, small = cost(model, example), cost(compact(pruned.model, pruned.masks), example)
    rows = [asdict(row) for row in pruned.rows]
    for key in dense:
        for row in rows:
            row[key.replace("num_", "compact_")] = float("nan")
        rows[-1][key.replace("num_", "compact_")] = small[key] / dense[key]
    for row in rows:
        del row["elapsed_s"]  # of a machine that others use, too
    table = [{k: short(v) for k, v in row.items()} for row in rows]
    records.save(
        folder, settings, table, "python experiments/own_models.py", finished=True, seconds=seconds
    )


def settings_of(name: str) -> dict[str, Any]:
    """Return what identifies the folder of a network, in the words of the first release."""
    settings = SHARED | NETWORKS[name][1] | {"model": name, "num_test": NUM_TEST}
    del settings["last_schedule"]
    return settings | {"anneal": "last"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the runs missing in this table.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; both unless given")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}; choose from {', '.join(NETWORKS)}")
    gather.restore(lambda name: name.startswith("own/"))
    for name in options.networks or NETWORKS:
        run(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

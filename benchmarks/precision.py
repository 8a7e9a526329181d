"""What a smaller probe costs in precision, and what it saves: both flows, on independent probes.

``python benchmarks/precision.py`` writes precision.md beside this file. Nothing here is asserted.
"""

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, median, stdev

import torch
from timing import machine
from torch import Tensor, nn

from infcop_lite import data
from infcop_lite.config import Config
from infcop_lite.flows import collect_activations, flow_distance, gradient_flow, information_flow
from infcop_lite.level import Trainer
from infcop_lite.masks import Masks

FILE = Path(__file__).with_suffix(".md")
SIZES = (125, 250, 500, 1000, 2000)
NUM_PROBES = 100
CONFIG = Config(
    data="mnist" if data.available("mnist") else "digits",
    model="mlp",
    epochs=2,
    levels=3,
    fraction=0.5,
    threads=1,
    device="cpu",
)


def information(net: nn.Module, inputs: Tensor, _targets: Tensor, _masks: Masks | None) -> Tensor:
    """Return the information flow, called as the gradient flow is."""
    return information_flow(collect_activations(net, inputs))


FLOWS: Mapping[str, Callable[..., Tensor]] = {
    "information": information,
    "gradient": gradient_flow,
}


def pruned_once() -> tuple[Trainer, nn.Module, float]:
    """Return a trainer in the middle of level 1, the snapshot, and the seconds of an epoch."""
    trainer = Trainer.of(CONFIG)
    start = trainer.warm_up()
    snapshot = copy.deepcopy(trainer.model)
    seconds = []
    for level in (0, 1):
        trainer.begin(start)
        started = time.process_time()
        for _ in trainer.train_level(level):
            seconds.append(time.process_time() - started)
            started = time.process_time()
        if level == 0:
            start = trainer.next_start(1, start.weights)
    return trainer, snapshot, median(second for second in seconds if second > 0.01)


def main() -> None:
    torch.set_num_threads(1)
    trainer, snapshot, epoch_s = pruned_once()
    images, generator = trainer.train, torch.Generator().manual_seed(0)
    lines = []
    for name, flow in FLOWS.items():

        def relative(index: Tensor, flow: Callable[..., Tensor] = flow) -> tuple[float, float]:
            probe = images.inputs[index], images.targets[index]
            reference, started = flow(snapshot, *probe, None), time.process_time()
            distance = flow_distance(flow(trainer.model, *probe, trainer.masks), reference)
            seconds = time.process_time() - started
            return distance / reference.norm().item(), seconds

        whole, _ = relative(torch.arange(len(images)))
        for size in SIZES:
            drawn = (torch.randperm(len(images), generator=generator) for _ in range(NUM_PROBES))
            distances, seconds = zip(*(relative(order[:size]) for order in drawn), strict=True)
            spread, cost = stdev(distances) / mean(distances), median(seconds) / epoch_s
            error = mean((distance - whole) ** 2 for distance in distances) ** 0.5
            cells = f"{mean(distances):.3f} | {spread:.0%} | {error:.3f} | {cost:.2%}"
            lines.append(f"| {name} | {size} | {cells} |")
        lines.append(f"| {name} | {len(images):,} | {whole:.3f} | – | – | – |")
    about = "; ".join(f"{key}: {value}" for key, value in machine().items())
    text = [
        "# What a smaller probe costs",
        "",
        f"The {CONFIG.model} on {CONFIG.data}, pruned once and trained for {CONFIG.epochs:g}",
        f"epochs, against its warm-up snapshot: distances on {NUM_PROBES} independent probes, in",
        "units of the reference's norm; their standard deviation over their mean; the root mean",
        "square of their error, held against all images, which falls like 1 / sqrt(images)",
        "({prf:ref}`t2-6`);",
        f"and the processor seconds of a check over those of an epoch of {len(images):,} images.",
        "With fewer images in the epoch a check is as much dearer.",
        "`python benchmarks/precision.py` writes this file.",
        "",
        about,
        "",
        "| flow | images | distance, mean | relative standard error | error | check / epoch |",
        "| --- | --- | --- | --- | --- | --- |",
        *lines,
        "",
    ]
    FILE.write_text("\n".join(text))
    print(FILE.read_text())


if __name__ == "__main__":
    main()

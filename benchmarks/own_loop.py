"""What holding zeros costs in a loop of one's own: `Pruner.step` beside a training step.

``python benchmarks/own_loop.py`` prints both, for resnet18 at batch 64. Nothing here is asserted.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from timing import machine
from torch import nn

from infcop_lite import Pruner, models
from infcop_lite.masks import apply_masks

BATCH, STEPS, SIDE = 64, 5, 32


def seconds(do: Callable[[], object], repeat: int) -> float:
    """Return the median of the processor seconds that a call takes."""
    found = []
    for _ in range(repeat):
        started = time.process_time()
        do()
        found.append(time.process_time() - started)
    return median(found)


def main() -> None:
    """Time a step, what holds the zeros, and what did before there was a pruner."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = models.build("resnet18")
    inputs, targets = torch.randn(BATCH, 3, SIDE, SIDE), torch.randint(10, (BATCH,))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    pruner = Pruner(model, fraction=0.8)
    pruner.snapshot()
    pruner.next_level(optimizer)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    step()
    pruner.step()
    whole = seconds(step, STEPS)
    print(f"{machine()}\nresnet18, {SIDE} pixels, batch {BATCH}, one thread, processor seconds")
    for name, do in {
        "Pruner.step": pruner.step,
        "masks.apply_masks": lambda: apply_masks(model, pruner.masks),
    }.items():
        cost = seconds(do, 4 * STEPS)
        print(f"{name}: {1000 * cost:.1f} ms, {cost / whole:.2%} of a step of {whole:.2f} s")


if __name__ == "__main__":
    main()

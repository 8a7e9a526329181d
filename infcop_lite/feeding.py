"""Endless batches to train a network on, from memory or from anywhere else."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .batches import leaves, pick
from .data import Split
from .train import shuffled_batches


@runtime_checkable
class Source(Protocol):
    """Where the training gets its batches; any object with these members will do.

    A source may also have a ``key``, a text: it stands for the data in the record of a folder.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Return how many batches are one epoch, >= 1."""
        ...

    def batches(self, seed: int) -> Iterator[tuple[Any, Any]]:
        """Yield (inputs, targets) without end, on any device; called anew for every training.

        Args:
            seed: of this level and purpose; equal seeds give equal batches. What is drawn from
                torch's global generator may depend on it too: `level.Trainer` seeds that before it
                asks for a batch.
        """
        ...

    def head(self, num: int) -> tuple[Any, Any]:
        """Return (inputs, targets) of the first samples, always the same ones, for the probe."""
        ...


def check_finite(inputs: Any, where: str) -> None:
    """Check that the inputs of a batch are finite, since one NaN spoils every weight at one step.

    Args:
        inputs: a tensor, or dicts, tuples and lists of such.
        where: said first in the line.

    Raises:
        ValueError: NaN or infinity.

    >>> check_finite({"x": torch.tensor([1.0, float("nan")])}, "step 3")
    Traceback (most recent call last):
    ValueError: step 3: inputs hold NaN or infinity
    """
    for x in leaves(inputs):
        floats = isinstance(x, Tensor) and x.is_floating_point() and x.numel()
        if floats and not torch.stack(torch.aminmax(x.detach())).isfinite().all():
            raise ValueError(f"{where}: inputs hold NaN or infinity")


@dataclass(frozen=True)
class InMemory:
    """A split whose samples are permuted anew every epoch and cut into batches.

    Args:
        split: on the device of the network.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        seed: draws the samples of the head.

    >>> source = InMemory(Split(torch.arange(5.0), torch.arange(5)), 2, seed=0)
    >>> batches = source.batches(seed=1)
    >>> source.steps_per_epoch, [len(next(batches)[1]) for _ in range(4)]
    (3, [2, 2, 1, 2])
    """

    split: Split
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Return the batches of an epoch."""
        return math.ceil(len(self.split) / self.batch_size)

    def batches(self, seed: int) -> Iterator[tuple[Any, Any]]:
        """Yield (inputs, targets) without end."""
        generator = torch.Generator().manual_seed(seed)
        for index in shuffled_batches(len(self.split), self.batch_size, generator):
            yield pick((self.split.inputs, self.split.targets), index)

    def head(self, num: int) -> tuple[Any, Any]:
        """Return so many samples, drawn once."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randperm(len(self.split), generator=generator)[:num]
        return pick((self.split.inputs, self.split.targets), drawn)

"""Data of your own, whatever brings them: tensors, arrays, a DataLoader, a Dataset, dicts.

They are read once and stay in memory: a run passes over them many times. A `Stream` is not; it is
iterated anew each epoch. Augmentation of data in memory is done on the batch, at every step.
"""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import memory
from .batches import detached, named, num_samples, same
from .data import Split, as_split
from .pairs import Adapter, as_pair, as_tensors, reason
from .reading import plan
from .streams import Stream, own_random

__all__ = ["Adapter", "Stream", "flip_shift", "in_memory"]

SHIFT = 2  # pixels


def in_memory(
    part: Any,
    adapter: Adapter | None = None,
    dtype: torch.dtype = torch.float32,
    classes: bool = True,
    batch_size: int | None = None,
) -> Split:
    """Return data of any of the usual kinds as a split in memory, after checking them.

    Args:
        part: a split, a pair (inputs, targets) of tensors, numpy arrays, tables of pandas or lists
            of numbers, a DataLoader, or a map-style Dataset, whose samples torch then collates. A
            loader that shuffles is read in the order of its data set. What is drawn at random is
            drawn alike at every call, so that equal data give equal runs.
        adapter: called with each batch, returns its (inputs, targets); for batches that are no
            such pair, like the dicts of Hugging Face:
            ``lambda batch: (batch["pixel_values"], batch["labels"])``.
        dtype: of the network's weights; inputs that are floating-point must have it too.
        classes: whether targets must be classes, as for cross-entropy.
        batch_size: that of the run, if the loader's is to be held against it.

    Raises:
        ValueError: another kind of data, batches that are no pairs of tensors or differ in shape,
            or an adapter that fails. More data than memory holds, a loader without end, or as for
            `data.as_split`.

    Note:
        A loader is more than its samples. What a single reading loses is said in one warning:
        random augmentation, noticed where samples read twice differ; a sampler that draws other
        samples each time; ``drop_last``; another batch size. A `Stream` keeps them all.

    >>> samples = [{"x": torch.ones(2), "y": 0}, {"x": torch.zeros(2), "y": 1}]
    >>> in_memory(samples, lambda batch: (batch["x"], batch["y"])).targets
    tensor([0, 1])
    """
    if isinstance(part, Split):
        return as_split(part, dtype, classes)
    if isinstance(part, tuple) or (
        isinstance(part, list) and all(isinstance(x, Tensor | np.ndarray) for x in part)
    ):
        return as_split(tuple(map(as_tensors, part)), dtype, classes)
    if isinstance(part, Stream):
        raise ValueError("a Stream is for training; what is measured on is kept: give its loader")
    with own_random(part):  # a loader draws a seed for its workers, even without any
        reading = plan(part, batch_size)
        pairs = (_tensors(batch, adapter) for batch in _batches(reading.batches))
        split = as_split(memory.read(pairs, reading.num_samples), dtype, classes)
        first, *again = (as_pair(batch, adapter) for batch in _batches(reading.twice))
    lost = [] if all(same(first, other) for other in again) else ["a sample read twice differs"]
    if lost := [*lost, *reading.lost]:
        warnings.warn(
            f"a {type(part).__name__} is read once and kept: {'; '.join(lost)}. To train on, give"
            " loaders.Stream(loader), iterated anew each epoch; augment= changes every batch",
            stacklevel=2,
        )
    return split


def flip_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images left to right, and shift each by up to two pixels either way.

    Source: the augmentation of CIFAR-10 since He et al. 2016, arXiv:1512.03385, with two pixels
    for their four; what comes in at the border is a reflection.

    Args:
        images: (sample, channel, height, width), at least 3 pixels a side.
        generator: of the CPU; it decides everything.

    Returns:
        As many images of the same shape; the given ones stay as they are.

    Raises:
        ValueError: what is no batch of images of that size.

    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> flip_shift(x, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 4, 4])
    """
    if images.dim() != 4 or min(images.shape[2:]) <= SHIFT:
        raise ValueError(
            "augment flip-shift is for images (sample, channel, height, width) of at least"
            f" {SHIFT + 1} pixels a side, not {tuple(images.shape)}"
        )
    n, _, height, width = images.shape
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(n, -1)
    rows, columns = torch.arange(height) + down, columns.where(~mirrored, columns.flip(1)) + right
    padded = nn.functional.pad(images, [SHIFT] * 4, mode="reflect")
    sample, channel = torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])
    index = (sample, channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :])
    return padded[tuple(i.to(images.device) for i in index)]


def _batches(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except (TypeError, RuntimeError, KeyError) as error:  # samples that torch cannot put together
        raise ValueError(f"the samples do not make batches: {reason(error)}") from error


def _tensors(batch: Any, adapter: Adapter | None) -> tuple[Any, Any]:
    inputs, targets = pair = as_pair(batch, adapter)
    parts = [*named("inputs", inputs), *named("targets", targets)]
    for name, x in parts:
        if not (isinstance(x, Tensor) and x.dim()):
            kind = "a tensor without rows" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(
                f"a batch must be (inputs, targets), tensors with a row per sample, but {name} is"
                f" {kind}; leave it out by an adapter"
            )
    size, paired = num_samples(inputs), num_samples(targets)
    if size != paired:
        raise ValueError(f"{size} inputs and {paired} targets do not make a batch")
    return detached(pair)

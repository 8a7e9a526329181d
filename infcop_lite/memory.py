"""Batches of any number, read one after the other into tensors that cost no more than they."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import torch  # noqa: F401 - the examples need it
from torch import Tensor

from .batches import filled, named, num_samples

MOST = 1_000_000  # samples of a loader that does not say how many it has
Tensors = dict[str, Tensor]  # the path to a tensor -> the tensor, with a row per sample


def read(pairs: Iterable[tuple[Any, Any]], expected: int | None = None) -> tuple[Any, Any]:
    """Return all inputs and all targets, each as one batch of the same structure.

    Room is made once if the number of samples is known; else it is doubled whenever it is full.

    Args:
        pairs: (inputs, targets), each a batch of any structure; see `batches.num_samples`.
        expected: so many samples; more or fewer may come.

    Raises:
        ValueError: nothing; samples that differ in structure, shape or type; more than memory
            holds; more than `MOST` where nobody has said how many there will be.

    >>> read([(torch.ones(2, 3), torch.zeros(2)), (torch.ones(1, 3), torch.ones(1))])[1]
    tensor([0., 0., 1.])
    """
    first, room, done, limit = (None, None), Tensors(), 0, free()
    for pair in pairs:
        samples, end = _tensors(pair), done + num_samples(pair)
        if not room:
            first = pair
            _check_room(samples, expected or end, limit, expected is not None)
            room = {name: _larger(x[:0], expected or end) for name, x in samples.items()}
        _check_samples(samples, room)
        if expected is None and end > MOST:
            raise endless()
        if end > len(next(iter(room.values()))):
            _check_room(samples, end, limit, False)
            room = {name: _larger(x[:done], max(end, 2 * done)) for name, x in room.items()}
        for name, x in samples.items():
            room[name][done:end] = x
        done = end
    if not room:
        raise ValueError("the loader gives no batches")
    inputs, targets = filled(first, iter([x[:done] for x in room.values()]))
    return inputs, targets


def free() -> int:
    """Return how many bytes of memory may be filled, at least half of all memory.

    >>> free() > 0
    True
    """
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:  # Windows
        return sys.maxsize
    pages = os.sysconf("SC_PHYS_PAGES") // 2  # memory that only buffers files counts as taken
    if "SC_AVPHYS_PAGES" in names:
        pages = max(pages, os.sysconf("SC_AVPHYS_PAGES"))
    return pages * os.sysconf("SC_PAGE_SIZE")


def endless() -> ValueError:
    """Return what to say of a loader that goes on and on."""
    return ValueError(
        f"more than {MOST:,} samples of a loader that does not say how many it has: is it endless?"
        " Wrap it in loaders.Stream(loader, steps_per_epoch=...); with a __len__ it is read whole"
    )


def _tensors(pair: tuple[Any, Any]) -> Tensors:
    parts = [*named("inputs", pair[0]), *named("targets", pair[1])]
    return {name: x for name, x in parts if isinstance(x, Tensor) and x.dim()}


def _check_room(samples: Tensors, num: int, limit: int, is_all: bool) -> None:
    here = [x for x in samples.values() if x.device.type == "cpu"]
    needed = sum(num * x[:1].numel() * x.element_size() for x in here)
    if needed > limit:
        gib, there = needed / 2**30, limit / 2**30
        raise ValueError(
            f"{num:,} samples{'' if is_all else ' or more'} take {gib:.1f} GiB, and {there:.1f} GiB"
            " of memory are free; loaders.Stream(loader) reads them as they are trained on"
        )


def _check_samples(samples: Tensors, room: Tensors) -> None:
    if samples.keys() != room.keys():
        both = [", ".join(each) for each in (room, samples)]
        raise ValueError(f"all batches must have the same parts, not {both[0]} and {both[1]}")
    for name, x in samples.items():
        held = room[name]
        if x.shape[1:] != held.shape[1:]:
            found = sorted(tuple(y.shape[1:]) for y in (x, held))
            raise ValueError(f"the {name} of a sample must have one shape, not {found}")
        if x.dtype != held.dtype:
            raise ValueError(f"the {name} must have one type, not {held.dtype} and {x.dtype}")


def _larger(held: Tensor, num: int) -> Tensor:
    larger = held.new_empty((num, *held.shape[1:]))
    larger[: len(held)] = held
    return larger

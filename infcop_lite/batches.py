"""Batches of any shape: a tensor, or a dict or tuple of several; counted, cut, moved, fed in."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def num_samples(batch: Any) -> int:
    """Return how many samples a batch holds: the length that all its tensors have.

    Args:
        batch: a tensor (sample, ...), or dicts, tuples and lists of such; numbers, None and tensors
            of no dimension belong to every sample.

    Raises:
        ValueError: tensors of different lengths, or none at all.

    >>> num_samples({"ids": torch.zeros(4, 7), "mask": torch.ones(4, 7), "causal": False})
    4
    """
    lengths = {len(tensor) for tensor in _tensors(batch) if tensor.dim()}
    if len(lengths) != 1:
        found = " and ".join(map(str, sorted(lengths))) or "no"
        raise ValueError(f"a batch must hold tensors with a row for each sample, not {found} rows")
    return lengths.pop()


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(part)


def take(batch: Any, start: int, stop: int) -> Any:
    """Return some samples of a batch, of the same structure.

    >>> take((torch.arange(4), None), 1, 3)
    (tensor([1, 2]), None)
    """
    return _each(batch, lambda tensor: tensor[start:stop] if tensor.dim() else tensor)


def pieces(batch: Any, size: int) -> Iterator[Any]:
    """Yield a batch in parts of so many samples, the last with what is left.

    >>> [part.tolist() for part in pieces(torch.arange(3), 2)]
    [[0, 1], [2]]
    """
    for start in range(0, num_samples(batch), size):
        yield take(batch, start, start + size)


def moved(batch: Any, device: torch.device) -> Any:
    """Return a copy of a batch on a device, in plain dicts, tuples and lists.

    >>> moved([torch.zeros(1)], torch.device("meta"))[0].device.type
    'meta'
    """
    return _each(batch, lambda tensor: tensor.detach().to(device, copy=True))


def _each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: _each(part, change) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [_each(part, change) for part in batch]
        return parts if isinstance(batch, list) else tuple(parts)
    return batch


def call(model: nn.Module, inputs: Any) -> Any:
    """Return what a model makes of its inputs: a dict goes in by name, a tuple one by one.

    Args:
        model: any module.
        inputs: a model of one input that is itself a dict takes ``(dict,)``.

    >>> call(nn.Bilinear(1, 1, 1), (torch.ones(2, 1), torch.ones(2, 1))).shape
    torch.Size([2, 1])
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)

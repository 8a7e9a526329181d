"""Batches of any shape, as a tensor or as a dict or tuple of tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn


def num_samples(batch: Any) -> int:
    """Return how many samples a batch holds, which is the length that all its tensors share.

    Args:
        batch: a tensor (sample, ...), or dicts, tuples and lists of such; numbers, None and tensors
            of no dimension belong to every sample.

    Raises:
        ValueError: tensors of different lengths, or none at all.

    >>> num_samples({"ids": torch.zeros(4, 7), "mask": torch.ones(4, 7), "causal": False})
    4
    """
    lengths = {len(x) for x in leaves(batch) if isinstance(x, Tensor) and x.dim()}
    if len(lengths) != 1:
        found = " and ".join(map(str, sorted(lengths))) or "no"
        raise ValueError(f"a batch must hold tensors with a row for each sample, not {found} rows")
    return lengths.pop()


def leaves(batch: Any) -> Iterator[Any]:
    """Yield what a batch is made of, whatever it is.

    >>> list(leaves({"a": 1, "b": (2, None)}))
    [1, 2, None]
    """
    return (part for _, part in named("", batch))


def named(name: str, batch: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a batch is made of, with the path to it.

    >>> dict(named("x", {"a": 1, "b": (2, None)}))
    {'x.a': 1, 'x.b.0': 2, 'x.b.1': None}
    """
    if isinstance(batch, Mapping | tuple | list):
        for key, part in batch.items() if isinstance(batch, Mapping) else enumerate(batch):
            yield from named(f"{name}.{key}", part)
    else:
        yield name, batch


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


def pick(batch: Any, index: Tensor) -> Any:
    """Return the samples of an index, of the same structure.

    Args:
        batch: as for `num_samples`.
        index: (sample,) int64, on any device.

    >>> pick((torch.arange(4), None), torch.tensor([2, 0]))
    (tensor([2, 0]), None)
    """
    return _each(batch, lambda x: x.index_select(0, index.to(x.device)) if x.dim() else x)


def on(batch: Any, device: torch.device | str) -> Any:
    """Return a batch on a device; what is there already is not copied.

    >>> on({"x": torch.zeros(1)}, "meta")["x"].device.type
    'meta'
    """
    return _each(batch, lambda tensor: tensor.to(device))


def joined(parts: Sequence[Any]) -> Any:
    """Return batches of one structure as one; what belongs to every sample is that of the first.

    Args:
        parts: at least one; see `num_samples`.

    Raises:
        ValueError: samples of different shapes.

    >>> joined([(torch.ones(1), None), (torch.zeros(2), None)])
    (tensor([1., 0., 0.]), None)
    """
    first = parts[0]
    if isinstance(first, Tensor):
        if len(shapes := {tuple(part.shape[1:]) for part in parts}) > 1:
            raise ValueError(f"a sample must have one shape, not {sorted(shapes)}")
        return torch.cat(list(parts)) if first.dim() else first
    if isinstance(first, Mapping):
        return {name: joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple | list):
        whole = [joined(several) for several in zip(*parts, strict=True)]
        return whole if isinstance(first, list) else tuple(whole)
    return first


def same(one: Any, other: Any) -> bool:
    """Return whether all tensors of two batches are equal, bit by bit where they are numbers.

    >>> same((torch.ones(1), 3), (torch.ones(1), 4)), same(torch.ones(1), torch.zeros(1))
    (True, False)
    """
    pairs = list(zip_longest(_tensors(one), _tensors(other)))
    return all(a is not None and b is not None and _equal(a, b) for a, b in pairs)


def _tensors(batch: Any) -> Iterator[Tensor]:
    return (part for part in leaves(batch) if isinstance(part, Tensor))


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


def detached(batch: Any) -> Any:
    """Return a batch without the history of its tensors, which are not copied.

    >>> detached([torch.ones(1, requires_grad=True)])[0].requires_grad
    False
    """
    return _each(batch, torch.Tensor.detach)


def moved(batch: Any, device: torch.device) -> Any:
    """Return a copy of a batch on a device, in plain dicts, tuples and lists.

    >>> moved([torch.zeros(1)], torch.device("meta"))[0].device.type
    'meta'
    """
    return _each(batch, lambda tensor: tensor.detach().to(device, copy=True))


def _each(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: _each(part, change) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [_each(part, change) for part in batch]
        return parts if isinstance(batch, list) else tuple(parts)
    return batch


def filled(batch: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a batch with other tensors in the places of those that have a row per sample.

    >>> filled({"x": torch.zeros(1), "flag": True}, iter([torch.ones(2)]))
    {'x': tensor([1., 1.]), 'flag': True}
    """
    return _each(batch, lambda tensor: next(tensors) if tensor.dim() else tensor)


def shapes(batch: Any) -> Any:
    """Return the shapes of a batch, for a message.

    >>> shapes({"x": torch.zeros(1, 2), "y": None})
    {'x': (1, 2), 'y': None}
    """
    return _each(batch, lambda tensor: tuple(tensor.shape))


def call(model: nn.Module, inputs: Any) -> Any:
    """Return a model's output; a dict of inputs goes in by name, a tuple one by one.

    Args:
        model: any module.
        inputs: a model of one input that is itself a dict takes ``(dict,)``.

    >>> call(nn.Bilinear(1, 1, 1), (torch.ones(2, 1), torch.ones(2, 1))).shape
    torch.Size([2, 1])
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)

"""A pair (inputs, targets) of tensors out of arrays, tables, lists or dicts."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Adapter = Callable[[Any], tuple[Any, Any]]


def as_pair(batch: Any, adapter: Adapter | None = None) -> tuple[Any, Any]:
    """Return the (inputs, targets) of a batch, as `as_tensors` makes them.

    Args:
        batch: of a loader.
        adapter: makes a pair of a batch that is none, such as a dict.

    Raises:
        ValueError: no pair, an adapter that fails, or as for `as_tensors`.

    >>> as_pair({"x": np.ones(2), "y": [0, 1]}, lambda batch: (batch["x"], batch["y"]))[1]
    tensor([0, 1])
    """
    try:
        pair = batch if adapter is None else adapter(batch)
    except Exception as error:  # somebody else's function
        raise ValueError(f"the adapter fails on {describe(batch)}: {reason(error)}") from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        hint = "; give an adapter that makes one of it" if adapter is None else ""
        raise ValueError(f"a batch must be (inputs, targets), not {describe(pair)}{hint}")
    return as_tensors(pair[0]), as_tensors(pair[1])


def as_tensors(value: Any) -> Any:
    """Return arrays, tables of pandas and lists of numbers as tensors, inside dicts and lists, too.

    Args:
        value: tensors stay what they are, and share their memory; so does all that is no number.

    Raises:
        ValueError: an array of something that is no number.

    >>> as_tensors({"ids": np.arange(2), "lengths": [3, 4]})
    {'ids': tensor([0, 1]), 'lengths': tensor([3, 4])}
    """
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "to_numpy"):  # a table or a column of pandas
        value = value.to_numpy()
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, Mapping):
        return {name: as_tensors(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        if value and _all_numbers(value):
            return _from_array(np.array(value, None if _whole(value) else np.float32))
        parts = [as_tensors(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def _from_array(array: Any) -> Tensor:
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
    try:
        return torch.from_numpy(np.ascontiguousarray(array) if array.ndim else array)
    except (TypeError, ValueError) as error:
        hint = "turn it into numbers first, such as array.astype('float32')"
        raise ValueError(f"an array of {array.dtype} is no tensor; {hint}") from error


def _all_numbers(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return all(map(_all_numbers, values))
    return isinstance(values, int | float | np.number)


def _whole(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return all(map(_whole, values))
    return isinstance(values, int | np.integer)


def describe(batch: Any) -> str:
    """Return what a batch is, in a few words.

    >>> describe({"image": 1, "label": 2})
    'a dict with the keys image, label'
    """
    if isinstance(batch, Mapping):
        return f"a {type(batch).__name__} with the keys {', '.join(map(str, batch))}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {', '.join(type(x).__name__ for x in batch[:5])}"
    return f"a {type(batch).__name__}"


def reason(error: Exception) -> str:
    """Return what went wrong in somebody else's code, as one line.

    >>> reason(KeyError("image"))
    "KeyError: 'image'"
    """
    return " ".join(f"{type(error).__name__}: {error}".split())

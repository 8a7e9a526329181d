"""What `make test` takes of a long list, and `make soak` takes whole."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest

REST = [pytest.mark.slow, pytest.mark.soak]


def lot(name: str) -> str:
    """The place of a name in an order drawn once: the same everywhere, whatever is added."""
    return hashlib.sha256(name.encode()).hexdigest()


def sampled(
    values: Iterable[Any],
    most: int,
    *,
    always: Iterable[Any] = (),
    name: Callable[[Any], str] = str,
) -> list[Any]:
    """Parameters for pytest: `always` and the first of the lot, `most` together; the rest is soak.

    >>> [bool(p.marks) for p in sampled("abcd", 2, always="d")]
    [True, True, False, False]
    """
    values, first = list(values), list(always)
    kept = [value for value in values if value in first]
    drawn = sorted((v for v in values if v not in kept), key=lambda value: lot(name(value)))
    kept += drawn[: max(most - len(kept), 0)]
    return [
        pytest.param(value, id=name(value), marks=[] if value in kept else REST) for value in values
    ]

"""Numbers about a network that a function of one's own returns, and their checks."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from .checks import READS, Check
from .train import evaluating

#: Names that no number of one's own may have, those of other measurements and of a check's fields.
TAKEN = (READS | {f.name for f in fields(Check)}) - {"accuracy"}


def evaluated(
    model: nn.Module, evaluate: Callable[[nn.Module], Mapping[str, Any]]
) -> dict[str, float]:
    """Return the numbers that a function of one's own makes of a model in eval mode.

    It draws its random numbers from the same state of torch's generator every time, and leaves that
    generator as it was.

    Args:
        model: left in the mode it had.
        evaluate: called with the model, without gradients; returns name -> number.

    Raises:
        ValueError: no mapping, a number that is not finite, or a name that means something else.

    >>> evaluated(nn.Linear(1, 1), lambda model: {"f1": torch.tensor(0.5)})
    {'f1': 0.5}
    """
    with torch.random.fork_rng(), torch.no_grad(), evaluating(model):
        torch.manual_seed(0)
        given = evaluate(model)
    if not isinstance(given, Mapping):
        raise ValueError(f"evaluate must return name -> number, not a {type(given).__name__}")
    numbers = {}
    for name, value in given.items():
        if not isinstance(name, str) or name in TAKEN:
            raise ValueError(f"evaluate calls a number {name!r}, which has a meaning: rename it")
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError, RuntimeError):
            kind = type(value).__name__
            raise ValueError(f"evaluate must give one number as {name}, not a {kind}") from None
        if not math.isfinite(numbers[name]):
            raise ValueError(f"evaluate must give finite numbers, but {name} is {numbers[name]}")
    if not 0 <= numbers.get("accuracy", 0) <= 1:
        raise ValueError(f"evaluate must give an accuracy in [0, 1], not {numbers['accuracy']}")
    return numbers

"""What a stop rule is, and the checks it sees, those of one level with the oldest first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, Protocol

import numpy as np

from .limits import expect, is_number, number, shown
from .never import Never

#: What can be measured at a check.
READS = frozenset({"accuracy", "information", "gradient", "mask"})
#: What is measured, beside a flow, for rules that ask how exactly a distance is known.
ERRORS = frozenset({"information-error"})
#: What of a check has names of its own.
NAMED = ("distances", "reference_norms", "metrics", "distance_errors", "relative_errors")
READS |= ERRORS


@dataclass(frozen=True)
class Check:
    """The numbers measured at one check of a level; numbers that no rule reads may be missing.

    A rule that reads a number which was never given raises ValueError. A number that was measured
    and is NaN, as for a dead network, never stops a level.

    Args:
        epoch: epochs trained in this level so far, >= 0; the first check of a level has 0.
        level: prunings so far, >= 0.
        train_loss: mean over the steps since the check before, in nats.
        validation_accuracy: in [0, 1].
        distances: flow name -> distance to the reference flow.
        reference_norms: flow name -> norm of the reference flow.
        gradient_norm: norm of the masked gradient.
        mask_distance: fraction, in [0, 1], of the surviving weights that the next mask treats
            differently than at the check before; with doubling checks, than at half the training.
        metrics: name -> any other number, for rules that read it by its name.
        distance_errors: flow name -> standard error of the logarithm of that distance, on the
            probe; see `precision.distance_error`.
        relative_errors: likewise, of the distance in units of the reference flow's norm.

    Raises:
        ValueError: something that is no number, or no mapping from names to numbers.

    >>> Check(epoch=1.0, validation_accuracy=0.9).mask_distance
    nan
    """

    epoch: float
    validation_accuracy: float = Never("validation_accuracy")
    distances: Mapping[str, float] = field(default_factory=dict)
    reference_norms: Mapping[str, float] = field(default_factory=dict)
    gradient_norm: float = Never("gradient_norm")
    mask_distance: float = Never("mask_distance")
    level: int = 0
    train_loss: float = Never("train_loss")
    metrics: Mapping[str, float] = field(default_factory=dict)
    distance_errors: Mapping[str, float] = field(default_factory=dict)
    relative_errors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect("level", self.level, Integral, "a whole number")
        for name, value in vars(self).items():
            if name not in NAMED:
                number(name, value)
                continue
            expect(name, value, Mapping, "name -> number")
            for key, one in value.items():
                number(f"{name}[{key!r}]", one)


class Rule(Protocol):
    """What every stop rule offers; any object with these two members will do.

    A rule may also have a ``kind``, one of `labels.KINDS`; without one, its kind is "own". A rule
    that knows beforehand after how many epochs a level ends has a method ``length(level)``.
    """

    @property
    def reads(self) -> frozenset[str]:
        """Return what the rule needs, of `READS`, or names of `Check.metrics`."""
        ...

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the level may stop, given its checks so far, oldest first."""
        ...


def positive(name: str, value: float) -> None:
    """Check that a number is finite and above 0.

    Raises:
        ValueError: it is not, in one line that names it.

    >>> positive("epsilon", 0.5)
    """
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a positive number, not {shown(value)}")


def count(name: str, value: int) -> None:
    """Check that a number of checks is whole and above 0.

    Raises:
        ValueError: it is not, in one line that names it.

    >>> count("patience", 2)
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number of checks, not {shown(value)}")


def plain(rule: Any) -> None:
    """Turn numpy numbers among a rule's settings into Python's, since repr tells rules apart.

    >>> from .prices import PriceOfTime
    >>> PriceOfTime(np.float32(0.5))
    PriceOfTime(price=0.5)
    """
    for setting in fields(rule):
        value = getattr(rule, setting.name)
        if isinstance(value, np.generic):
            object.__setattr__(rule, setting.name, value.item())


def trained(checks: Sequence[Check]) -> bool:
    """Say whether the level has been trained at all.

    As in the published code, a rule is first asked after some training; `stopping.FixedEpochs` of 0
    is the one way to train not at all.

    >>> trained([Check(0.0)])
    False
    """
    return checks[-1].epoch > 0

"""What a stop rule is, and what it sees: the checks of one level, oldest first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from .limits import is_number, shown
from .never import Never

#: What can be measured at a check.
READS = frozenset({"accuracy", "information", "gradient", "mask"})
#: What is measured, beside a flow, for rules that ask how exactly a distance is known.
ERRORS = frozenset({"information-error"})
READS |= ERRORS


@dataclass(frozen=True)
class Check:
    """What was measured at one check of a level; what no rule reads may be missing.

    A rule that reads what was never given raises ValueError; what was measured and is NaN, as of a
    dead network, never stops a level.

    Args:
        epoch: epochs trained in this level so far, >= 0; the first check of a level has 0.
        level: prunings so far, >= 0.
        train_loss: mean over the steps since the check before, in nats.
        validation_accuracy: in [0, 1].
        distances: flow name -> distance to the reference flow.
        reference_norms: flow name -> norm of the reference flow.
        gradient_norm: norm of the masked gradient.
        mask_distance: fraction of surviving weights whose fate in the next mask has changed since
            the check before, or with doubling checks since half the training, in [0, 1].
        metrics: name -> any other number, for rules that read it by its name.
        distance_errors: flow name -> standard error of the logarithm of that distance, on the
            probe; see `precision.distance_error`.
        relative_errors: likewise, of the distance in units of the reference flow's norm.

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


class Rule(Protocol):
    """What every stop rule offers; any object with these two members will do.

    A rule may also have a ``kind``, one of `labels.KINDS`; without it the kind is "own". A rule
    that knows beforehand after how many epochs a level ends may say so in a method
    ``length(level)``.
    """

    @property
    def reads(self) -> frozenset[str]:
        """Return what the rule needs, of `READS`, or names of `Check.metrics`."""
        ...

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the level may stop, given its checks so far, oldest first."""
        ...


def positive(name: str, value: float) -> None:
    """Refuse what is no finite number above 0, in one line that names it.

    >>> positive("epsilon", 0.5)
    """
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a positive number, not {shown(value)}")


def count(name: str, value: int) -> None:
    """Refuse what is no whole number above 0, in one line that names it.

    >>> count("patience", 2)
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number of checks, not {shown(value)}")


def plain(rule: Any) -> None:
    """Turn numbers of numpy among a rule's settings into Python's own: repr tells rules apart.

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

"""Rules that know beforehand after how many epochs a level ends, the controls of the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import Check, plain
from .limits import is_number, shown


@dataclass(frozen=True)
class FixedEpochs:
    """Stop after a fixed number of epochs; 0 makes the whole run one-shot pruning (T5.4).

    Source: this is the control that the published comparison lacks.

    Args:
        n: epochs per level, >= 0; may be a fraction when checks come several times an epoch.

    Raises:
        ValueError: a number that is negative or infinite, or no number.

    >>> FixedEpochs(1).stop([Check(0.0), Check(1.0)])
    True
    """

    n: float
    kind = "constant"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        plain(self)
        if not (is_number(self.n) and 0 <= self.n < math.inf):
            raise ValueError(f"n must be a number of epochs, not {shown(self.n)}")

    def length(self, level: int) -> float:
        """Return the epochs of a level, known beforehand."""
        return self.n

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether n epochs are done."""
        return checks[-1].epoch >= self.n


@dataclass(frozen=True)
class Schedule:
    """Stop after a number of epochs that was set for each level beforehand.

    This is a control. All that a rule can do better than `FixedEpochs` is to spread the same epochs
    over the levels in another way.

    Args:
        epochs: epochs of level 0, 1, 2, ..., each >= 0; the last holds for all further levels.

    Raises:
        ValueError: no epochs, or some that are negative, infinite or no numbers.

    >>> late = Schedule((1, 2, 4))
    >>> [late.stop([Check(2.0, level=level)]) for level in range(3)]
    [True, True, False]
    """

    epochs: tuple[float, ...]
    kind = "schedule"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        given: Any = self.epochs
        try:
            epochs = tuple(n.item() if isinstance(n, np.generic) else n for n in given)
        except TypeError:  # one number, or nothing
            epochs = ()
        if not epochs or not all(is_number(n) and 0 <= n < math.inf for n in epochs):
            raise ValueError(f"epochs must be numbers of epochs, not {shown(self.epochs)}")
        object.__setattr__(self, "epochs", epochs)

    def length(self, level: int) -> float:
        """Return the epochs of a level, known beforehand."""
        return self.epochs[min(level, len(self.epochs) - 1)]

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the epochs of this level are done."""
        return checks[-1].epoch >= self.length(checks[-1].level)

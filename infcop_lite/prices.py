"""Rules with a price: an epoch costs so many nats, and training stops when it is not worth more.

They read the training loss, which is known anyway, so that a look costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .checks import Check, plain, positive, trained
from .limits import is_number, shown


@dataclass(frozen=True)
class PriceOfTime:
    """Stop when an epoch lowers the training loss by less than an epoch is worth.

    Source: T7.9; that small steps of gradient descent have a convex sequence of losses is known,
    Barzilai, Shamir & Zamani 2025, arXiv:2503.10138.

    The loss of a check is a mean over the steps since the check before, so it is that of the middle
    of its interval. The slope is taken between the middles of the last two intervals, which need
    not be equally long. Let the losses of the steps fall and form a convex sequence. Then the rule
    never stops before the best moment, where ``loss + price * epochs`` is least. It always stops
    within three intervals of it. What that costs is at most the price of these intervals.

    Args:
        price: nats per epoch, > 0. Losses in other units have a price in those.

    Note:
        On a noisy curve one flat stretch is enough. The noise of the slope is that of two interval
        means, divided by the time between them: checks that come less often are the remedy. On the
        recorded runs of this book a window of a quarter or half an epoch did no better, since it
        waits longer.
        The first two checks of a level cannot stop it, if the level is checked before training.

    >>> losses = enumerate([float("nan"), 1.0, 0.5, 0.25, 0.2])
    >>> checks = [Check(float(epoch), train_loss=loss) for epoch, loss in losses]
    >>> [PriceOfTime(0.3).stop(checks[:n]) for n in (2, 3, 4)]
    [False, False, True]
    """

    price: float
    kind = "loss"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        plain(self)
        positive("price", self.price)

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the loss fell by no more than the price between the last two intervals."""
        intervals = [check for check in checks if check.epoch > 0]
        known = [check.train_loss < float("inf") for check in intervals]  # or refused by name
        if len(intervals) < 2 or not all(known[-2:]):
            return False
        before, now = intervals[-2:]
        begin = intervals[-3].epoch if len(intervals) > 2 else 0.0
        passed = (now.epoch - begin) / 2  # from the middle of one interval to that of the next
        return now.train_loss >= before.train_loss - self.price * passed


@dataclass(frozen=True)
class BreakEven:
    """Stop when as much has been paid as is left to gain: at most twice the least total.

    Source: T7.11; ski rental.

    Whatever the shape of the loss, if it does not rise: ``loss + price * epochs`` is at most twice
    the least there is, and the price of the last two intervals between checks. One would be enough
    if the loss at the check itself were known, but a check has the mean since the one before. No
    rule that sees only the past has a factor below 2.

    Args:
        price: nats per epoch, > 0.
        floor: a loss that no training goes below, >= 0; the factor then holds for what is above it.

    Note:
        Of a loss that rises again it knows nothing, and restores no weights.

    >>> losses = enumerate([float("nan"), 1.0, 0.5, 0.25, 0.2])
    >>> checks = [Check(float(epoch), train_loss=loss) for epoch, loss in losses]
    >>> [BreakEven(0.1).stop(checks[:n]) for n in (2, 3, 4)]
    [False, False, True]
    """

    price: float
    floor: float = 0.0
    kind = "loss"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        plain(self)
        positive("price", self.price)
        if not (is_number(self.floor) and 0 <= self.floor < float("inf")):
            raise ValueError(f"floor must be a loss of at least 0, not {shown(self.floor)}")

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the epochs of this level have cost what is left of the loss."""
        last = checks[-1]
        return trained(checks) and last.train_loss <= self.price * last.epoch + self.floor

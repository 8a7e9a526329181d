"""How long a level of pruning must be, with and without rewinding, and what time is worth (T7).

A level's *excess* is its loss less the least loss on its mask. *Going on* begins a level with the
weights of the one before, *rewinding* with the snapshot's. Time is that of gradient flow.
"""

import math
from collections.abc import Sequence

from .schedules import _least_zero, _positive


def excess_bound(
    jumps: Sequence[float], lengths: Sequence[float], pl: Sequence[float], first: float = 0.0
) -> float:
    """Return a bound on the excess after the last level, if every level goes on.

    Source: (T7.18); derived here. Each level's excess is at most ``e^(-2 mu tau)`` times that
    before it plus the rise of the loss by its prune.

    Args:
        jumps: (level,) rise of the loss by each prune; may be negative.
        lengths: (level,) times, >= 0.
        pl: (level,) the Polyak-Lojasiewicz constants within the masks, >= 0.
        first: excess before the first prune, >= 0.

    Raises:
        ValueError: different numbers of levels, or a negative number.

    >>> excess_bound([1.0], [0.5], [math.log(2)], first=2.0)
    1.5
    """
    _least_zero(first=first)
    excess = first
    for jump, length, mu in zip(jumps, lengths, pl, strict=True):
        _least_zero(length=length, pl=mu)
        excess = math.exp(-2 * mu * length) * (excess + jump)
    return excess


def jump_bound(removed: float, excess: float, smoothness: float) -> float:
    """Return a bound on the rise of the loss when weights are removed.

    Source: (T7.18); derived here. ``e sqrt(2 beta u) + beta e^2 / 2``.

    Args:
        removed: e, Euclidean norm of the weights that go, >= 0.
        excess: u, of the level that ends with this prune, >= 0.
        smoothness: beta of the loss, > 0.

    Raises:
        ValueError: a number out of its range.

    >>> jump_bound(2.0, 0.5, 1.0)
    4.0
    """
    _least_zero(removed=removed, excess=excess)
    _positive(smoothness=smoothness)
    return removed * math.sqrt(2 * smoothness * excess) + smoothness * removed**2 / 2


def level_length(jump: float, tolerance: float, pl: float) -> float:
    """Return a time after which a level that goes on has an excess within the tolerance again.

    Source: (T7.19); derived here. ``log(1 + J / d) / (2 mu)``; enough, not always needed.

    Args:
        jump: J, rise of the loss by the prune; a fall counts as 0.
        tolerance: d > 0; the excess before the prune is within it.
        pl: mu > 0 within the mask.

    Raises:
        ValueError: a number that is not positive.

    >>> round(level_length(3.0, 1.0, pl=0.5), 4)
    1.3863
    """
    _positive(tolerance=tolerance, pl=pl)
    return math.log1p(max(jump, 0.0) / tolerance) / (2 * pl)


def rewound_length(gap: float, tolerance: float, smoothness: float) -> float:
    """Return the time without which no rewound level has an excess within the tolerance.

    Source: (T7.19); derived here. ``log(G / d) / (2 beta)``; needed, not always enough.

    Args:
        gap: G, excess of the rewound weights, >= 0.
        tolerance: d > 0.
        smoothness: beta > 0.

    Raises:
        ValueError: a number out of its range.

    >>> round(rewound_length(math.e**2, 1.0, smoothness=0.5), 4), rewound_length(0.5, 1.0, 0.5)
    (2.0, 0.0)
    """
    _least_zero(gap=gap)
    _positive(tolerance=tolerance, smoothness=smoothness)
    return math.log(max(gap / tolerance, 1.0)) / (2 * smoothness)


def total_length_bound(
    num_levels: int, energy: float, tolerance: float, smoothness: float, pl: float
) -> float:
    """Return a bound on the time of all levels that go on, at most of order sqrt(num_levels).

    Source: (T7.19); derived here. ``R / (2 mu) log(1 + x + x^2 / 4)``, ``x^2 = 2 beta E / (R d)``.

    Args:
        num_levels: R >= 1, those after a prune.
        energy: E, sum over the prunes of the squared norm of what each removes, >= 0.
        tolerance: d > 0, of the excess at every level's end.
        smoothness, pl: beta and mu > 0, the same at every level.

    Raises:
        ValueError: a number out of its range.

    >>> round(total_length_bound(1, 2.0, 1.0, smoothness=1.0, pl=0.5), 4)  # log(1 + 2 + 1)
    1.3863
    """
    _positive(num_levels=num_levels, tolerance=tolerance, smoothness=smoothness, pl=pl)
    _least_zero(energy=energy)
    x = math.sqrt(2 * smoothness * energy / (num_levels * tolerance))
    return num_levels * math.log1p(x + x**2 / 4) / (2 * pl)


def rewinding_ratio(lengths: Sequence[float]) -> float:
    """Return how many times dearer rewinding is, where it passes through the same networks.

    Source: (T7.20); derived here, for uncorrelated inputs: a rewound level must last as long as
    all levels so far together. The mean of these sums over the last, times their number.

    Args:
        lengths: (level,) times of the levels that go on, >= 0, not all 0.

    Returns:
        A number from 1 to the number of levels.

    Raises:
        ValueError: a negative length, or no time at all.

    >>> rewinding_ratio([1.0] * 9), round(rewinding_ratio([2.0**r for r in range(30)]), 4)
    (5.0, 2.0)
    """
    for length in lengths:
        _least_zero(length=length)
    total = sum(lengths)
    _positive(total_length=total)
    return sum(sum(lengths[: r + 1]) for r in range(len(lengths))) / total

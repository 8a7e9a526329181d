"""How much to prune, with the effective number of weights behind SAP, its bound and guarantee.

All of it is about one vector of weights, in double precision; signs and order never matter.
"""

import math

import torch
from torch import Tensor

from ..amounts import _check_orders, _magnitudes, pq_index, sap_fraction

_SEARCH_LIMIT = 2**22


def effective_number(weights: Tensor, p: float, q: float) -> float:
    """Return the effective number of weights, as many equal ones as would have this PQ index.

    Source: (T1.7); derived from the count of Diao et al. 2023, arXiv:2302.05601; for p = 1 and
    q = 2 the participation ratio, in general the Hill number of order q / p.
    ``N = (sum |w|^p)^(q/(q-p)) / (sum |w|^q)^(p/(q-p)) = d (1 - I)^(pq/(q-p))``.

    Args:
        weights: (weight,), finite, not all zero; zeros do not count.
        p, q: norm orders, 0 < p < q.

    Returns:
        A number from 1 to the number of non-zero weights.

    Raises:
        ValueError: orders out of range, or weights that are empty, all zero or not finite.

    >>> round(effective_number(torch.tensor([4.0, 1.0, 1.0]), 1, 2), 6)
    2.0
    """
    _check_orders(p, q)
    w = _magnitudes(weights)
    w = w / w.max()  # N does not depend on scale; this keeps the powers in range
    log_p, log_q = (math.log(w.pow(s).sum().item()) for s in (p, q))
    return math.exp((q * log_p - p * log_q) / (q - p))


def retained_bound(weights: Tensor, p: float, q: float, eta: float = 0.0) -> float:
    """Return the least number of weights that can carry all but eta of the p-mass.

    Source: (T1.6); Diao et al. 2023, arXiv:2302.05601. N (1 + eta)^(-q/(q-p)); SAP rounds it up.

    Args:
        weights: (weight,), finite, not all zero.
        p, q: norm orders, 0 < p < q.
        eta: allowed ratio of removed to kept sum of ``|w|^p``, >= 0.

    Returns:
        A lower bound on the size of every such set. It is necessary, not sufficient; see
        `least_kept` for the size that is needed.

    Raises:
        ValueError: a negative eta, or as for `effective_number`.

    >>> round(retained_bound(torch.tensor([4.0, 1.0, 1.0]), 1, 2, eta=1.0), 6)
    0.5
    """
    _check_eta(eta)
    return effective_number(weights, p, q) * (1 + eta) ** (-q / (q - p))


def least_kept(weights: Tensor, p: float, eta: float = 0.0) -> int:
    """Return how many of the largest weights must stay for the p-mass condition to hold.

    Source: (T1.6); the smallest r whose r largest weights leave at most eta times their own
    sum of ``|w|^p`` behind. No other set of r weights does better.

    Args:
        weights: (weight,), finite, not all zero.
        p: order of the mass, > 0.
        eta: allowed ratio of removed to kept mass, >= 0.

    Raises:
        ValueError: p or eta out of range, or as for `effective_number`.

    >>> least_kept(torch.tensor([4.0, 1.0, 1.0]), 1, eta=0.5)
    1
    """
    _check_eta(eta)
    if not 0 < p < math.inf:
        raise ValueError(f"the order of the mass must be positive and finite, not p={p}")
    removed = _removed_mass(weights, p)
    allowed = eta / (1 + eta) * removed[0]  # removed <= eta * kept
    return int((removed > allowed * (1 + 1e-12)).sum())


def discarded_share(weights: Tensor, kept: int, q: float) -> float:
    """Return the share of the sum of ``|w|^q`` that is lost when the largest weights are kept.

    Source: (T1.8); the error of the best k-term approximation, to the power q.

    Args:
        weights: (weight,), finite, not all zero.
        kept: how many weights stay, from 0 to all of them.
        q: order of the mass, > 0; 2 is the energy.

    Raises:
        ValueError: too many or too few kept, q out of range, or as for `effective_number`.

    >>> discarded_share(torch.tensor([4.0, 1.0, -1.0]), 2, 1) * 6
    1.0
    """
    if not 0 < q < math.inf:
        raise ValueError(f"the order of the mass must be positive and finite, not q={q}")
    removed = _removed_mass(weights, q)
    if not 0 <= kept < len(removed):
        raise ValueError(f"cannot keep {kept} of {len(removed) - 1} weights")
    return (removed[kept] / removed[0]).item()


def stechkin_constant(p: float, q: float) -> float:
    """Return the best constant of the best k-term approximation in q-norm by the p-norm.

    Source: (T1.8); sharp Stechkin inequality, Foucart & Rauhut 2013, Theorem 2.5.
    ``c = (p/q)^(1/q) (1 - p/q)^(1/p - 1/q)``, ``|w - w_k|_q <= c k^(1/q - 1/p) |w|_p``.

    Args:
        p, q: norm orders, 0 < p < q.

    Returns:
        A number in (0, 1). Its q-th power is the share that SAP's count may discard; it depends
        on q / p alone and is 1/4 for both published pairs.

    Raises:
        ValueError: orders out of range.

    >>> round(stechkin_constant(1, 2) ** 2, 9), stechkin_constant(0.5, 1)
    (0.25, 0.25)
    """
    _check_orders(p, q)
    return (p / q) ** (1 / q) * (1 - p / q) ** (1 / p - 1 / q)


def stechkin_extremal(size: int, p: float, q: float) -> Tensor:
    """Return weights that make the guarantee of SAP's count as tight as their size allows.

    Source: (T1.8); derived: one large weight and size * q / (q - p) equal ones.

    Args:
        size: about the effective number of the weights to build, >= 1; larger is tighter.
        p, q: norm orders, 0 < p < q.

    Returns:
        (weight,), the large one first.

    Raises:
        ValueError: size below 1, or orders out of range.

    >>> stechkin_extremal(2, 1, 2)
    tensor([2., 1., 1., 1., 1.], dtype=torch.float64)
    """
    _check_orders(p, q)
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    ratio = q / (q - p)
    flat = torch.ones(round(size * ratio), dtype=torch.float64)
    large = ((ratio ** (q / p) - ratio) * size) ** (1 / q)
    return torch.cat([torch.tensor([large], dtype=torch.float64), flat])


def gates_threshold(others: Tensor, p: float, q: float) -> float:
    """Return the size above which a growing weight makes the vector more unequal.

    Source: (T1.4); "Bill Gates" of Hurley & Rickard 2009, arXiv:0811.4706, with its threshold.
    ``x* = (sum |w_j|^q / sum |w_j|^p)^(1/(q-p))`` over the other weights.

    Args:
        others: (weight - 1,), the weights that stay fixed; finite, not all zero.
        p, q: norm orders, 0 < p < q.

    Returns:
        A number between the smallest and the largest non-zero magnitude of the others.

    Raises:
        ValueError: as for `effective_number`.

    >>> round(gates_threshold(torch.tensor([3.0, 3.0]), 1, 2), 6)
    3.0
    """
    _check_orders(p, q)
    w = _magnitudes(others)
    largest = w.max().item()
    log_p, log_q = (math.log((w / largest).pow(s).sum().item()) for s in (p, q))
    return largest * math.exp((log_q - log_p) / (q - p))


def transfer_slope(weights: Tensor, giver: int, taker: int, p: float, q: float) -> float:
    """Return the derivative of log(1 - I) when mass flows from one weight to another.

    Source: (T1.5); negative where a Robin Hood transfer makes the PQ index larger.
    g(w_j) - g(w_i) with g(x) = x^(p-1) / sum w^p - x^(q-1) / sum w^q.

    Args:
        weights: (weight,), finite; the two that take part are positive.
        giver, taker: the indices i and j; mass flows from i to j.
        p, q: norm orders, 0 < p < q.

    Raises:
        ValueError: one of the two weights is not positive, or as for `effective_number`.

    >>> transfer_slope(torch.tensor([10.0, 2.0, 1.0]), 1, 2, 2, 3) < 0
    True
    """
    _check_orders(p, q)
    w = _magnitudes(weights)
    pair = weights.detach().flatten().to(torch.float64)[[giver, taker]]
    if not (pair > 0).all():
        raise ValueError("a transfer needs a giver and a taker that are positive")
    largest = w.max()  # g has the unit 1 / weight; this keeps the powers in range
    w, pair = w / largest, pair / largest
    g = pair.pow(p - 1) / w.pow(p).sum() - pair.pow(q - 1) / w.pow(q).sum()
    return ((g[1] - g[0]) / largest).item()


def robin_hood_counterexample(p: float, q: float) -> tuple[Tensor, Tensor]:
    """Return weights that become *more* unequal by the PQ index when the rich gives to the poor.

    Source: (T1.5); derived. The transfer is from 2 to 1. For p > 1 one huge weight is added, for
    q < 1 a crowd of tiny ones. What is added grows until the transfer raises the index.

    Args:
        p, q: norm orders, 0 < p < q, both above 1 or both below.

    Returns:
        The weights before and after the transfer; the index of the second is larger.

    Raises:
        ValueError: p <= 1 <= q, where no counterexample exists; orders so near to 1 that none
            is found among reasonable sizes.

    >>> before, after = robin_hood_counterexample(2, 3)
    >>> before
    tensor([2., 1., 4.], dtype=torch.float64)
    >>> pq_index(after, 2, 3) > pq_index(before, 2, 3)
    True
    """
    _check_orders(p, q)
    if p <= 1 <= q:
        raise ValueError(f"p <= 1 <= q, so Robin Hood holds for p={p}, q={q}")
    size = 2
    while (size := 2 * size) <= _SEARCH_LIMIT:
        if p > 1:
            crowd = torch.tensor([size], dtype=torch.float64)
        else:
            crowd = torch.full((size,), size ** (-1 / (2 * p)), dtype=torch.float64)
        before, after = (
            torch.cat([torch.tensor(pair, dtype=torch.float64), crowd])
            for pair in ([2.0, 1.0], [1.75, 1.25])
        )
        if pq_index(after, p, q) > pq_index(before, p, q) + 1e-13:
            return before, after
    raise ValueError(f"no counterexample of reasonable size for p={p}, q={q}: too near to 1")


def gaussian_share(density: float, p: float, q: float) -> float:
    """Return N / d for the largest weights of a large Gaussian vector.

    Source: (T1.7, T1.9); moments of ``|g|`` beyond a threshold, by incomplete gamma functions.

    Args:
        density: which fraction of the weights, the largest, is left, in [1e-300, 1].
        p, q: norm orders, 0 < p < q.

    Returns:
        A number in (0, 1); 1 minus it is the fraction that SAP removes next.

    Raises:
        ValueError: a density outside [1e-300, 1], where a tail underflows, or orders out of range.

    >>> round(gaussian_share(1.0, 1, 2), 6) == round(2 / math.pi, 6)
    True
    """
    _check_orders(p, q)
    if not 1e-300 <= density <= 1:
        raise ValueError(f"density must be in (0, 1], and at least 1e-300, not {density}")
    x = _half_square(density)

    def log_mean(s: float) -> float:  # of |g|^s / 2^(s/2) among the survivors; scale cancels
        a = torch.tensor((s + 1) / 2, dtype=torch.float64)
        tail = torch.special.gammaincc(a, x).log() + torch.lgamma(a)
        return tail.item() - math.log(math.pi) / 2 - math.log(density)

    return math.exp((q * log_mean(p) - p * log_mean(q)) / (q - p))


def gaussian_densities(num_levels: int, p: float, q: float) -> list[float]:
    """Return the densities that SAP walks through on Gaussian weights that are never retrained.

    Source: (T1.9); density -> density * N / d, with eta = 0, gamma = 1, d large.

    Args:
        num_levels: number of prunings, >= 0.
        p, q: norm orders, 0 < p < q.

    Returns:
        num_levels + 1 densities, the first one 1.

    Raises:
        ValueError: a negative number of levels, or orders out of range.

    >>> [round(density, 3) for density in gaussian_densities(2, 1, 2)]
    [1.0, 0.637, 0.523]
    """
    _check_levels(num_levels)
    densities = [1.0]
    for _ in range(num_levels):
        densities.append(densities[-1] * gaussian_share(densities[-1], p, q))
    return densities


def untrained_fractions(weights: Tensor, p: float, q: float, num_levels: int) -> list[float]:
    """Return what SAP removes of what is left, level by level, if nothing is ever retrained.

    Source: (T1.9); Diao et al. 2023, arXiv:2302.05601, with eta = 0, gamma = 1, beta = 0.9.

    Args:
        weights: (weight,), finite, not all zero.
        p, q: norm orders, 0 < p < q.
        num_levels: number of prunings, >= 0.

    Returns:
        num_levels pruning fractions.

    Raises:
        ValueError: a negative number of levels, or as for `effective_number`.

    >>> untrained_fractions(torch.tensor([1.0, 4.0, -4.0, 0.0]), 1, 2, num_levels=3)
    [0.25, 0.0, 0.0]
    """
    _check_levels(num_levels)
    left, fractions = _magnitudes(weights).sort(descending=True).values, []
    for _ in range(num_levels):
        fractions.append(sap_fraction(left, p, q))
        left = left[: len(left) - round(fractions[-1] * len(left))]
    return fractions


def _half_square(density: float) -> Tensor:
    """Return x = threshold^2 / 2 with P(|g| > threshold) = density, by bisection."""
    low, high = 0.0, 700.0
    for _ in range(200):
        x = torch.tensor((low + high) / 2, dtype=torch.float64)
        above = torch.special.erfc(x.sqrt()).item() > density
        low, high = (x.item(), high) if above else (low, x.item())
    return torch.tensor(low, dtype=torch.float64)


def _removed_mass(weights: Tensor, s: float) -> Tensor:
    """Return (weight + 1,), the sums of |w|^s over all but the r largest, for r = 0, 1, ..."""
    w = _magnitudes(weights)
    mass = (w / w.max()).pow(s).sort().values.cumsum(0).flip(0)
    return torch.cat([mass, mass.new_zeros(1)])


def _check_eta(eta: float) -> None:
    if not 0 <= eta < math.inf:
        raise ValueError(f"eta must be 0 or more, not {eta}")


def _check_levels(num_levels: int) -> None:
    if num_levels < 0:
        raise ValueError(f"num_levels must be 0 or more, not {num_levels}")

"""What a mask keeps and what it costs, in best k terms, output error, counts, loss barriers."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor


def _threshold(scores: Tensor, kept: int) -> Tensor:
    """Return the smallest of the `kept` largest scores."""
    if scores.dim() != 1 or not 1 <= kept <= len(scores):
        raise ValueError(f"kept must be 1 to the number of survivors, not {kept}")
    return scores.topk(kept).values[-1]


def k_term_error(weights: Tensor, kept: int, p: float = 2.0) -> float:
    """Return the smallest l_p distance from a vector to the vectors with so many non-zeros.

    Source: (T6.1); Foucart & Rauhut 2013, section 2.1. Keeping the largest magnitudes attains it.

    Args:
        weights: (survivor,).
        kept: k, 0 to the number of survivors.
        p: in (0, inf].

    Returns:
        A number >= 0, the l_p (quasi-)norm of the smallest magnitudes.

    Raises:
        ValueError: a count or an order out of its range.

    >>> k_term_error(torch.tensor([3.0, -1.0, 2.0, -4.0]), 2, p=1)
    3.0
    """
    w = weights.detach().flatten().to(torch.float64).abs()
    if not 0 <= kept <= len(w) or not p > 0:
        raise ValueError(f"kept must be 0 to {len(w)} and p > 0, not {kept} and {p}")
    removed = w.sort().values[: len(w) - kept]
    largest = removed[-1].item() if len(removed) else 0.0
    if math.isinf(p) or largest == 0:
        return largest
    return largest * (removed / largest).pow(p).sum().pow(1 / p).item()  # no power out of range


def output_error(weight: Tensor, other: Tensor, second_moment: Tensor) -> float:
    """Return the mean squared change of a layer's output when its weights change.

    Source: (T6.2); derived here.
    ``E ||(W - V) a||^2 = tr((W - V) S (W - V)^T)``, ``S = E a a^T``.

    Args:
        weight, other: (unit, input).
        second_moment: (input, input), symmetric.

    Returns:
        A number >= 0.

    Raises:
        ValueError: shapes that do not fit.

    >>> w = torch.tensor([[2.0, 1.0]])
    >>> output_error(w, torch.tensor([[2.0, 0.0]]), torch.diag(torch.tensor([1.0, 9.0])))
    9.0
    """
    size = weight.shape[-1]
    if weight.shape != other.shape or weight.dim() != 2 or second_moment.shape != (size, size):
        raise ValueError("weights must be (unit, input), the second moment (input, input)")
    difference = (weight - other).detach().to(torch.float64)
    return (difference @ second_moment.to(torch.float64) * difference).sum().item()


def condition_number(second_moment: Tensor) -> float:
    """Return by how much the magnitude mask can miss the least output error.

    Source: (T6.2); derived here. cond(S) = largest / smallest eigenvalue.

    Args:
        second_moment: (input, input), symmetric, positive semi-definite.

    Returns:
        A number >= 1; infinite if an input direction never occurs, up to round-off.

    Raises:
        ValueError: not a square matrix.

    >>> condition_number(torch.diag(torch.tensor([1.0, 9.0])))
    9.0
    >>> condition_number(torch.diag(torch.tensor([1.0, 0.0])))
    inf
    """
    if second_moment.dim() != 2 or second_moment.shape[0] != second_moment.shape[1]:
        raise ValueError("a second moment must be (input, input)")
    eigenvalues = torch.linalg.eigvalsh(second_moment.to(torch.float64))
    smallest, largest = eigenvalues[0].item(), eigenvalues[-1].item()
    round_off = len(eigenvalues) * torch.finfo(second_moment.dtype).eps * largest
    return largest / smallest if smallest > round_off else math.inf


def activation_scores(weight: Tensor, second_moment: Tensor) -> Tensor:
    """Return the scores ``|w_ij| sqrt(E a_j^2)``, the best ones for uncorrelated-moment inputs.

    Source: (T6.2); Sun et al. 2024 (Wanda), arXiv:2306.11695, who rank within each row.

    Args:
        weight: (unit, input).
        second_moment: (input, input).

    Returns:
        (unit, input), >= 0.

    >>> activation_scores(torch.tensor([[2.0, -1.0]]), torch.diag(torch.tensor([1.0, 9.0])))
    tensor([[2., 3.]])
    """
    return weight.detach().abs() * second_moment.diagonal().sqrt()


def refit(weight: Tensor, mask: Tensor, second_moment: Tensor) -> Tensor:
    """Return the weights on a given mask with the least output error.

    Source: (T6.2); the normal equations, row by row, as in Hassibi & Stork 1993.

    Args:
        weight: (unit, input).
        mask: (unit, input) boolean, True = kept.
        second_moment: (input, input), positive definite.

    Returns:
        (unit, input) float64, zero where the mask is False.

    Raises:
        ValueError: a mask of another shape, or not boolean.

    >>> s = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> refit(torch.tensor([[2.0, 1.0]]), torch.tensor([[True, False]]), s)
    tensor([[2.5000, 0.0000]], dtype=torch.float64)
    """
    if mask.shape != weight.shape or mask.dtype != torch.bool:
        raise ValueError("the mask must be boolean and of the weight's shape")
    w, s = weight.detach().to(torch.float64), second_moment.to(torch.float64)
    fitted = torch.zeros_like(w)
    for row, kept in enumerate(mask):
        if kept.any():
            fitted[row, kept] = torch.linalg.solve(s[kept][:, kept], s[kept] @ w[row])
    return fitted


def lth_count(num_survivors: int, fraction: float = 0.2) -> int:
    """Return how many weights the published lottery-ticket code removes from a layer.

    Source: (T6.3); published code. ceil(fraction (k - 1)) of k distinct magnitudes lie strictly
    below their linearly interpolated quantile.

    Args:
        num_survivors: k >= 1.
        fraction: in [0, 1], taken as the decimal number it prints as.

    Returns:
        At most k - 1, for the last weight is never removed.

    Raises:
        ValueError: no survivors, or a fraction outside [0, 1].

    >>> [lth_count(k) for k in (1, 2, 6, 7, 100)]
    [0, 1, 1, 2, 20]
    """
    if num_survivors < 1 or not 0 <= fraction <= 1:
        raise ValueError(f"{fraction} of {num_survivors} survivors cannot be removed")
    return math.ceil(Fraction(str(fraction)) * (num_survivors - 1))


def collapse_scale(weights: Sequence[Tensor], layer: int) -> float:
    """Return a factor below which a layer lies under every other weight of the network.

    Source: (T6.4); derived here. min(1, smallest other magnitude / largest of the layer).

    Args:
        weights: one tensor of surviving weights per layer, none of them zero in the other layers.
        layer: index of the layer that is scaled down.

    Returns:
        A number in (0, 1]; any positive factor smaller than it will do.

    Raises:
        ValueError: one layer alone, a zero in another layer, or a layer of zeros.

    >>> round(collapse_scale([torch.tensor([4.0, 1.0]), torch.tensor([2.0, -3.0])], 0), 3)
    0.5
    """
    magnitudes = [w.detach().abs().to(torch.float64) for w in weights]
    largest = magnitudes.pop(layer).max().item()
    smallest = min((m.min().item() for m in magnitudes), default=0.0)
    if not (smallest > 0 and largest > 0):
        raise ValueError("needs other layers, without zeros, and a layer that is not zero")
    return min(1.0, smallest / largest)


def mask_difference_bound(
    weights: Tensor, later: Tensor, kept: int, gamma: float | None = None
) -> float:
    """Return a bound on the entries in which the magnitude masks of two weight vectors differ.

    Source: (T5.5); derived here. With h_i the change of magnitude i, theta the k-th largest
    magnitudes and delta their difference: #{gap_i <= h_i + delta}, or, coarser, for gamma > delta,
    ``#{gap_i <= gamma} + ||w - w'||^2 / (gamma - delta)^2``, whichever is less.

    Args:
        weights: (survivor,) at the check.
        later: (survivor,) the same weights at the end of the level, whose gaps count.
        kept: k, how many both masks keep, 1 to the number of survivors.
        gamma: gives the coarser form; above delta.

    Returns:
        Number of entries; a swap of two weights counts as two.

    Raises:
        ValueError: different shapes, a count out of range, or gamma not above delta.

    >>> w, later = torch.tensor([3.0, 1.0, 0.2]), torch.tensor([3.0, 1.1, 0.9])
    >>> mask_difference_bound(w, later, 1), mask_difference_bound(w, later, 2)
    (1.0, 2.0)
    """
    if weights.shape != later.shape:
        raise ValueError("two masks of one network need weights of one shape")
    u, v = weights.detach().to(torch.float64), later.detach().to(torch.float64)
    threshold, threshold_later = _threshold(u.abs(), kept), _threshold(v.abs(), kept)
    delta = (threshold - threshold_later).abs().item()
    gap = (v.abs() - threshold_later).abs()
    slack = 1e-12 * v.abs().max().item()  # round-off must not make the bound too small
    sharp = float((gap <= (u.abs() - v.abs()).abs() + delta + slack).sum())
    if gamma is None:
        return sharp
    if not gamma > delta:
        raise ValueError(f"gamma must be above the change of the threshold {delta}, not {gamma}")
    moved = (u - v).square().sum().item() / (gamma - delta) ** 2
    return min(sharp, float((gap <= gamma).sum()) + moved)


def loss_barrier(losses: Tensor) -> float:
    """Return the largest rise of the loss above the chord between two networks.

    Source: (T6.5); Frankle et al. 2020, arXiv:1912.05671, for the loss instead of the error.

    Args:
        losses: (point,) at evenly spaced points of the segment, both ends included.

    Returns:
        A number >= 0, a lower estimate of the barrier over the whole segment.

    Raises:
        ValueError: fewer than two points.

    >>> loss_barrier(torch.tensor([1.0, 2.5, 2.0]))
    1.0
    """
    if losses.dim() != 1 or len(losses) < 2:
        raise ValueError("losses must be (point,), at least the two ends")
    y = losses.detach().to(torch.float64)
    share = torch.linspace(0, 1, len(y), dtype=torch.float64)
    return (y - torch.lerp(y[0], y[-1], share)).max().clamp_min(0).item()


def barrier_bound(
    distance: float, lipschitz: float = math.inf, weak_convexity: float = math.inf
) -> float:
    """Return a bound on the loss barrier from the distance of two networks.

    Source: (T6.5); derived here. min(G D / 2, nu D^2 / 8).

    Args:
        distance: D, Euclidean, >= 0.
        lipschitz: G, of the loss on the segment, >= 0; infinite if not known.
        weak_convexity: nu >= 0 such that ``loss + nu/2 ||.||^2`` is convex there; likewise.

    Returns:
        A number >= 0; infinite if neither constant is known.

    Raises:
        ValueError: a negative number.

    >>> barrier_bound(0.5, lipschitz=2.0), barrier_bound(0.5, 2.0, weak_convexity=4.0)
    (0.5, 0.125)
    """
    if not all(value >= 0 for value in (distance, lipschitz, weak_convexity)) or math.isinf(
        distance
    ):
        raise ValueError("distance, lipschitz and weak_convexity must be 0 or more")
    if distance == 0:
        return 0.0
    return min(lipschitz * distance / 2, weak_convexity * distance**2 / 8)

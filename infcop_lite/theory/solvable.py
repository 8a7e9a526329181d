"""Linear regression on a mask, one solvable model, with its flow, resting distance and price (T7).

Outputs are ``W x``; the loss is half the mean squared error, ``best`` its minimiser over all
weights and ``second_moment`` the mean of ``x x^T``. A bias is one more input that is always 1. Time
is that of gradient flow: a step of size h is h units of it. Everything is computed in float64.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .schedules import _least_zero, _positive
from .selection import condition_number, output_error, refit


def _moment(second_moment: Tensor, size: int) -> Tensor:
    if second_moment.shape != (size, size):
        raise ValueError(
            f"second_moment must be ({size}, {size}), not {tuple(second_moment.shape)}"
        )
    return second_moment.detach().double()


# --- the information flow as a gradient ---


def label_flow_gap(features: Tensor, probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the last layer's gradient, the flow to the predictions less that to the labels.

    Source: (T7.1); the chain rule, for cross-entropy or half the squared error.

    Args:
        features: (sample, unit), what the last layer reads.
        probabilities: (sample, class) softmax of the logits; the outputs, for the squared error.
        targets: (sample, class), one-hot or smoothed; or (sample,) whole numbers.

    Returns:
        (class, unit) in float64, ``E[(p - y) a^T]``.

    Raises:
        ValueError: different numbers of samples or classes.

    >>> p = torch.tensor([[0.25, 0.75]])
    >>> label_flow_gap(torch.tensor([[2.0]]), p, torch.tensor([1]))
    tensor([[ 0.5000],
            [-0.5000]], dtype=torch.float64)
    """
    a, p = features.detach().double(), probabilities.detach().double()
    if targets.dim() == 1:
        targets = torch.nn.functional.one_hot(targets, p.shape[1])
    if a.dim() != 2 or p.shape != targets.shape or len(a) != len(p) or len(a) == 0:
        shapes = [tuple(t.shape) for t in (features, probabilities, targets)]
        raise ValueError(f"features, probabilities and targets must share samples, not {shapes}")
    return (p - targets.double()).T @ a / len(a)


def frozen_loss_interval(
    distance: float, second_moment: Tensor, offset: float
) -> tuple[float, float]:
    """Return where the cross-entropy lies above its minimum if only the last layer has changed.

    Source: (T7.2); derived here, with Boehning 1992 for the bound 1/2 on the curvature.

    Args:
        distance: of the flow E[p a^T] from that of the best last layer, Frobenius, >= 0.
        second_moment: (unit, unit), E[a a^T] of the features, the same in both networks.
        offset: Frobenius distance of the two last layers' weights, >= 0.

    Returns:
        Lower and upper end in nats, ``D^2 / lambda_max`` and ``D ||W - W*||``.

    Raises:
        ValueError: a negative number, or features that are all 0.

    >>> frozen_loss_interval(0.5, torch.eye(1), 2.0)
    (0.25, 1.0)
    """
    _least_zero(distance=distance, offset=offset)
    largest = torch.linalg.eigvalsh(_moment(second_moment, len(second_moment)))[-1].item()
    _positive(largest_eigenvalue=largest)
    return distance**2 / largest, distance * offset


def flow_gap(weight: Tensor, reference: Tensor, second_moment: Tensor) -> float:
    """Return the distance of the full flows of two linear maps, ``||(W - W_r) S||``.

    Source: (T7.3). From the minimiser of the loss it is the norm of the *unmasked* gradient.

    Args:
        weight, reference: (output, input).
        second_moment: S, (input, input).

    Raises:
        ValueError: shapes that do not fit.

    >>> flow_gap(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]), torch.eye(2) * 2)
    10.0
    """
    if weight.shape != reference.shape or weight.dim() != 2:
        raise ValueError(f"maps differ: {tuple(weight.shape)} and {tuple(reference.shape)}")
    moment = _moment(second_moment, weight.shape[1])
    return ((weight.detach().double() - reference.detach().double()) @ moment).norm().item()


def loss_interval(
    distance: float, second_moment: Tensor, reference_gradient: float = 0.0
) -> tuple[float, float]:
    """Return where the loss lies above its minimum, given the distance of the full flows.

    Source: (T7.3); derived here. ``D^2 / (2 lambda_max)`` to ``D^2 / (2 lambda_min)``.

    Args:
        distance: `flow_gap` to the reference, >= 0.
        second_moment: (input, input); of a singular one the smallest positive eigenvalue counts.
        reference_gradient: norm of the unmasked gradient at the reference; 0 if it has converged.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: a negative number, or a second moment that is 0.

    >>> loss_interval(2.0, torch.diag(torch.tensor([1.0, 4.0])))
    (0.5, 2.0)
    """
    _least_zero(distance=distance, reference_gradient=reference_gradient)
    values = torch.linalg.eigvalsh(_moment(second_moment, len(second_moment)))
    largest = values[-1].item()
    _positive(largest_eigenvalue=largest)
    smallest = values[values > len(values) * torch.finfo(values.dtype).eps * largest][0].item()
    low, high = max(distance - reference_gradient, 0.0), distance + reference_gradient
    return low**2 / (2 * largest), high**2 / (2 * smallest)


def layer_gradient_bound(distance: float, weights: Sequence[Tensor], layer: int) -> float:
    """Return a bound on the gradient of one layer of a deep linear network.

    Source: (T7.6); derived here. D times the operator norms of the other layers.

    Args:
        distance: `flow_gap` of the end-to-end map to the best map, >= 0.
        weights: (unit_next, unit) of each layer, first to last.
        layer: index of the layer whose gradient is bounded.

    Raises:
        ValueError: a negative distance.

    >>> layer_gradient_bound(2.0, [torch.eye(2) * 3, torch.eye(2), torch.eye(2) * 5], 0)
    10.0
    """
    _least_zero(distance=distance)
    norms = [torch.linalg.matrix_norm(w.detach().double(), 2).item() for w in weights]
    del norms[layer]
    return distance * math.prod(norms)


# --- training on a mask, in closed form ---


def _modes(
    start: Tensor, best: Tensor, mask: Tensor, second_moment: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield for each row the kept inputs, eigenvalues and eigenvectors there, and the offset."""
    if not start.shape == best.shape == mask.shape or mask.dtype != torch.bool:
        raise ValueError("start and best must be (output, input), the mask boolean of that shape")
    moment = _moment(second_moment, start.shape[1])
    resting = refit(best, mask, moment)
    for row, kept in enumerate(mask):
        values, vectors = torch.linalg.eigh(moment[kept][:, kept])
        offset = start[row, kept].detach().double() - resting[row, kept]
        yield kept, values, vectors, vectors.T @ offset


def masked_path(
    start: Tensor,
    best: Tensor,
    mask: Tensor,
    second_moment: Tensor,
    times: Tensor,
    step: float | None = None,
) -> Tensor:
    """Return the weights during training on a mask.

    Source: (T7.4); the closed form is classical. Each row goes to its `selection.refit` along
    ``exp(-t S_alive)``, or ``(I - h S_alive)^k`` after k steps of size h.

    Args:
        start: (output, input), where training begins; removed weights are set to 0.
        best: (output, input), the minimiser of the loss over all weights.
        mask: (output, input) boolean, True = kept.
        second_moment: (input, input), positive definite.
        times: (time,), >= 0; numbers of steps if a step is given.
        step: size of a step of gradient descent; None is gradient flow.

    Returns:
        (time, output, input) in float64.

    Raises:
        ValueError: shapes that do not fit, or a mask that is not boolean.

    >>> start, best = torch.zeros(1, 2), torch.tensor([[1.0, 1.0]])
    >>> mask, s = torch.tensor([[True, False]]), torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> masked_path(start, best, mask, s, torch.tensor([0.0, math.log(2)]))[:, 0, 0]
    tensor([0.0000, 0.7500], dtype=torch.float64)
    """
    t = times.detach().double()[:, None]
    path = refit(best, mask, _moment(second_moment, best.shape[1])).repeat(len(t), 1, 1)
    for row, (kept, values, vectors, c) in enumerate(_modes(start, best, mask, second_moment)):
        left = torch.exp(-t * values) if step is None else (1 - step * values) ** t
        path[:, row, kept] += (left * c) @ vectors.T
    return path


def mask_price(best: Tensor, mask: Tensor, second_moment: Tensor) -> float:
    """Return how far the best loss on a mask lies above the best loss of all.

    Source: (T7.4); ``1/2 w^T Q w`` over the removed weights w, Q as in `removed_moment`.

    Args:
        best, mask, second_moment: as for `masked_path`.

    Raises:
        ValueError: as for `masked_path`.

    >>> s = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> mask_price(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, False]]), s)
    1.5
    """
    moment = _moment(second_moment, best.shape[1])
    return output_error(best.double(), refit(best, mask, moment), moment) / 2


def resting_distance(best: Tensor, mask: Tensor, second_moment: Tensor) -> float:
    """Return the flow distance at which training on a mask comes to rest.

    Source: (T7.4); derived here. ``||Q w||`` over the removed weights w.

    Args:
        best, mask, second_moment: as for `masked_path`.

    Raises:
        ValueError: as for `masked_path`.

    >>> s = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> resting_distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, False]]), s)
    1.5
    """
    moment = _moment(second_moment, best.shape[1])
    return flow_gap(refit(best, mask, moment), best.double(), moment)


def removed_moment(second_moment: Tensor, kept: Tensor) -> Tensor:
    """Return Q, what of the removed inputs the kept ones do not explain.

    Source: (T7.4), the Schur complement. For one row, `loss_interval` of the resting distance and
    Q encloses the price of the mask.

    Args:
        second_moment: (input, input), positive definite.
        kept: (input,) boolean, True = kept.

    Returns:
        (removed, removed) in float64.

    Raises:
        ValueError: shapes that do not fit.

    >>> s = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> removed_moment(s, torch.tensor([True, False]))
    tensor([[0.7500]], dtype=torch.float64)
    """
    moment = _moment(second_moment, len(kept))
    inside = torch.linalg.solve(moment[kept][:, kept], moment[kept][:, ~kept])
    return moment[~kept][:, ~kept] - moment[~kept][:, kept] @ inside


def decay_bound(
    start: Tensor, best: Tensor, mask: Tensor, second_moment: Tensor
) -> tuple[float, float, float]:
    """Return c, mu and phi such that the flow distance stays within ``c e^(-mu t)`` of phi.

    Source: (T7.4); derived here. A bound; the distance itself need not fall as (T5.3b) supposes.

    Args:
        start, best, mask, second_moment: as for `masked_path`.

    Returns:
        Amplitude and rate, both >= 0, and the resting distance; the rate is infinite if no weight
        is left.

    Raises:
        ValueError: as for `masked_path`.

    >>> start, best = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]])
    >>> mask = torch.tensor([[True, False]])
    >>> decay_bound(start, best, mask, torch.diag(torch.tensor([3.0, 1.0])))
    (3.0, 3.0, 2.0)
    """
    moment, square, rate = _moment(second_moment, best.shape[1]), 0.0, math.inf
    for kept, values, _, c in _modes(start, best, mask, second_moment):
        if len(values):
            norm = torch.linalg.matrix_norm(moment[:, kept], 2).item()
            square += (norm * c.norm().item()) ** 2
            rate = min(rate, values[0].item())
    return math.sqrt(square), rate, resting_distance(best, mask, moment)


def overshoot_bound(second_moment: Tensor) -> float:
    """Return how many times the smallest distance on a path the resting distance can be.

    Source: (T7.5); derived here from Kantorovich's inequality. ``(kappa + 1) / (2 sqrt(kappa))``.

    Args:
        second_moment: (input, input).

    Returns:
        A number >= 1, attained in two dimensions; infinite if the second moment is singular.

    Raises:
        ValueError: not a square matrix.

    >>> overshoot_bound(torch.diag(torch.tensor([1.0, 4.0])))
    1.25
    """
    kappa = condition_number(second_moment.double())
    return (math.sqrt(kappa) + 1 / math.sqrt(kappa)) / 2


def start_excess(
    start: Tensor, best: Tensor, mask: Tensor, second_moment: Tensor, times: Tensor
) -> Tensor:
    """Return how far the loss lies above the best on the mask, at each time from a start.

    Source: (T7.21); derived here. Of two starts, say the pruned weights and the rewound ones, the
    one with the smaller number at the time of the stop is the better.

    Args:
        start, best, mask, second_moment, times: as for `masked_path`.

    Returns:
        (time,) in float64, >= 0, non-increasing.

    Raises:
        ValueError: as for `masked_path`.

    >>> best, mask = torch.tensor([[1.0, 0.9]]), torch.tensor([[True, False]])
    >>> s, now = torch.tensor([[1.0, -0.9], [-0.9, 1.0]]), torch.zeros(1)
    >>> [round(start_excess(w, best, mask, s, now).item(), 4) for w in (best, 0 * best)]
    [0.328, 0.0181]
    """
    t = times.detach().double()[:, None]
    excess = torch.zeros(len(t), dtype=torch.float64)
    for _, values, _, c in _modes(start, best, mask, second_moment):
        excess += (values * torch.exp(-2 * t * values) * c.square()).sum(1) / 2
    return excess


def best_stop(
    start: Tensor, best: Tensor, mask: Tensor, second_moment: Tensor, price: float
) -> float:
    """Return the time at which loss plus price times time is least in the solvable model.

    Source: (T7.7); derived here: the first time at which the squared masked gradient is at most
    the price. Bisection, since that square does not increase.

    Args:
        start, best, mask, second_moment: as for `masked_path`.
        price: nats per unit of time, > 0.

    Raises:
        ValueError: as for `masked_path`, or a price that is not positive.

    >>> start, best = torch.zeros(1, 1), torch.ones(1, 1)
    >>> mask = torch.ones(1, 1, dtype=torch.bool)
    >>> round(best_stop(start, best, mask, torch.eye(1), price=math.exp(-2)), 6)
    1.0
    """
    _positive(price=price)
    modes = [(s, c) for _, s, _, c in _modes(start, best, mask, second_moment)]

    def energy(t: float) -> float:
        return sum((s * torch.exp(-t * s) * c).square().sum().item() for s, c in modes)

    low, high = 0.0, 1.0
    if energy(low) <= price:
        return low
    while energy(high) > price:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if energy(middle) > price else (low, middle)
    return high

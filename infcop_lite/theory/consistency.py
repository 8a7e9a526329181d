"""What consistent flows guarantee, by bounds from flows to functions and from there to losses.

A tilde of the text is called *other* here: the pruned or retrained network, on the same inputs. A
layer is a pair (weight, bias); statistics are those of the given samples, in float64.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _moved
from ..flows import _standardise

Layer = tuple[Tensor, Tensor]


def _norm(weight: Tensor) -> float:
    """Return the operator norm of a matrix."""
    return torch.linalg.matrix_norm(weight.double(), 2).item()


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.numel() == 0:
        raise ValueError(f"two networks must be alike: {tuple(a.shape)} and {tuple(b.shape)}")


# --- from functions to losses ---


def rms_distance(f: Tensor, other: Tensor) -> float:
    """Return the root mean square distance between two networks' outputs on the same samples.

    Source: (T3.0), the norm of L2; classical.

    Args:
        f, other: (sample, unit) or any shape whose first dimension is the sample.

    Raises:
        ValueError: different shapes, or no samples.

    >>> rms_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    5.0
    """
    _same_shape(f, other)
    return (f.double() - other.double()).flatten(1).square().sum(1).mean().sqrt().item()


def cross_entropy_gap(distance: float) -> float:
    """Return how far two mean cross-entropies can lie apart.

    Source: (T3.0): the cross-entropy is sqrt(2)-Lipschitz in the logits; classical.

    Args:
        distance: `rms_distance` of the logits, >= 0.

    Returns:
        sqrt(2) times the distance, in nats.

    Raises:
        ValueError: a negative distance or NaN.

    >>> round(cross_entropy_gap(1.0), 4)
    1.4142
    """
    return math.sqrt(2) * _distance(distance)


def squared_loss_gap(distance: float, loss: float) -> float:
    """Return how far two squared losses, half the mean squared error, can lie apart.

    Source: (T3.0), (T3.1): the triangle inequality in L2; classical.

    Args:
        distance: `rms_distance` of the outputs, >= 0.
        loss: the loss of one of the two networks, >= 0.

    Returns:
        distance * sqrt(2 loss) + distance^2 / 2.

    Raises:
        ValueError: a negative number or NaN.

    >>> squared_loss_gap(1.0, 2.0)
    2.5
    """
    return _distance(distance) * math.sqrt(2 * _distance(loss)) + distance**2 / 2


def _distance(value: float) -> float:
    if not value >= 0:
        raise ValueError(f"a distance or a loss must be 0 or more, not {value}")
    return value


def leads(logits: Tensor) -> Tensor:
    """Return how far the largest logit lies above the second, sample by sample.

    Source: (T3.0); classical.

    Args:
        logits: (sample, class), at least two classes.

    Returns:
        (sample,), each >= 0.

    Raises:
        ValueError: not (sample, class), or one class.

    >>> leads(torch.tensor([[1.0, 4.0, 2.0]]))
    tensor([2.])
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must be (sample, class), not {tuple(logits.shape)}")
    top = logits.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def disagreement_bound(logits: Tensor, distance: float) -> float:
    """Return the largest fraction of samples on which two networks can predict differently.

    Source: (T3.0): P(lead < gamma) + 2 distance^2 / gamma^2, at the best gamma; derived here.

    Args:
        logits: (sample, class) of one of the two networks.
        distance: `rms_distance` of the logits of the two, >= 0.

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: as for `leads`, or a negative distance.

    >>> disagreement_bound(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), 1.0)
    0.5
    """
    gammas = leads(logits).double().sort().values
    if distance == 0:
        return 0.0  # equal logits have equal largest entries, also where two are tied
    bounds = torch.arange(len(gammas)).double() / len(gammas)  # of the leads, those below
    bounds += 2 * _distance(distance) ** 2 / gammas.clamp_min(1e-300).square()
    return min(1.0, bounds.min().item())


# --- from flows to functions: fully connected networks ---


def covariance(a: Tensor, b: Tensor) -> Tensor:
    """Return the covariance matrix of two layers over the samples, divided by their number.

    Args:
        a: (sample, unit_a).
        b: (sample, unit_b), the same samples.

    Returns:
        (unit_a, unit_b) in float64.

    Raises:
        ValueError: not matrices, or different numbers of samples.

    >>> covariance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    tensor([[1., 0.]], dtype=torch.float64)
    """
    if a.dim() != 2 or b.dim() != 2 or len(a) != len(b) or len(a) == 0:
        raise ValueError(f"layers must share samples: {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = a.double(), b.double()
    return (a - a.mean(0)).T @ (b - b.mean(0)) / len(a)


def weights_from_correlations(p: Tensor, r: Tensor, sd_next: Tensor, sd: Tensor) -> Tensor:
    """Return the weights of a linear layer from correlations and standard deviations.

    Source: (T3.1): W = D' P^T R^-1 D^-1; ordinary least squares, classical.

    Args:
        p: (unit, unit_next), correlations between the layers.
        r: (unit, unit), correlations within the first layer, invertible.
        sd_next: (unit_next,) standard deviations.
        sd: (unit,) standard deviations, > 0.

    Returns:
        (unit_next, unit).

    Raises:
        ValueError: a singular r, or a dead unit.

    >>> one = torch.eye(1)
    >>> weights_from_correlations(one, one, torch.tensor([6.0]), torch.tensor([2.0]))
    tensor([[3.]])
    """
    if not (sd > 0).all() or torch.linalg.matrix_rank(r) < len(r):
        raise ValueError("the correlations within the layer must be invertible, no unit dead")
    return sd_next[:, None] * torch.linalg.solve(r, p).T / sd


def linear_weight_bound(
    weight: Tensor, cross: Tensor, other_cross: Tensor, cov: Tensor, other_cov: Tensor
) -> float:
    """Return how far apart two linear layers' weights can lie, given their covariances.

    Source: (T3.1); derived here.
    ``(|cross - other| + |W| |cov - other|) / smallest eigenvalue``.

    Args:
        weight: (unit_next, unit) of the reference.
        cross, other_cross: (unit_next, unit), Cov(output, input) of the two networks.
        cov, other_cov: (unit, unit), Cov(input) of the two networks.

    Returns:
        A bound on the operator norm of the difference; infinity if other_cov is singular.

    Raises:
        ValueError: different shapes.

    >>> eye = torch.eye(2)
    >>> linear_weight_bound(eye, eye, 3 * eye, eye, eye)
    2.0
    """
    _same_shape(cross, other_cross)
    _same_shape(cov, other_cov)
    difference = _norm(cross - other_cross) + _norm(weight) * _norm(cov - other_cov)
    smallest = _smallest_eigenvalue(other_cov)
    return difference / smallest if smallest > 0 else math.inf


def _smallest_eigenvalue(cov: Tensor) -> float:
    """Return the smallest eigenvalue of a covariance matrix; 0 if it is round-off."""
    values = torch.linalg.eigvalsh(cov.double())
    floor = len(cov) * torch.finfo(values.dtype).eps * values[-1].item()
    return values[0].item() if values[0].item() > floor else 0.0


def unroll(norms: Sequence[float], errors: Sequence[float]) -> float:
    """Return the sum of local errors, each times the norms of the layers above it.

    Source: (T3.2), (T3.5), (T3.8); derived here.

    Args:
        norms: (layer,) Lipschitz constants of the reference's layers, first to last.
        errors: (layer,) local errors.

    Raises:
        ValueError: different numbers of layers.

    >>> unroll([5.0, 2.0, 3.0], [1.0, 1.0, 1.0])  # 2 * 3 + 3 + 1
    10.0
    """
    total = 0.0
    for norm, error in zip(norms, errors, strict=True):
        total = total * norm + error
    return total


def linear_map_bound(
    weights: Sequence[Tensor], others: Sequence[Tensor], errors: Sequence[float]
) -> float:
    """Return how far apart the maps of two linear networks can lie, in operator norm.

    Source: (T3.1), the telescope; derived here.

    Args:
        weights, others: first to last, (unit_next, unit) each.
        errors: (layer,) bounds on the operator norms of the differences.

    Raises:
        ValueError: different numbers of layers.

    >>> linear_map_bound([torch.eye(1) * 2] * 2, [torch.eye(1)] * 2, [1.0, 1.0])
    3.0
    """
    below = [1.0]
    for other in others:
        below.append(below[-1] * _norm(other))
    local = [error * b for error, b in zip(errors, below[:-1], strict=True)]
    return unroll([_norm(weight) for weight in weights], local)


class LayerGap(NamedTuple):
    """The local comparison of one layer in two networks; fields as in (T3.2).

    Source: (T3.2); derived here.

    Args:
        delta: difference of the covariance flows.
        nu: difference of the means.
        local: the local error itself, both layers fed the other network's input.
        bound: ``sqrt(delta |W - W~| + nu^2)``, an upper bound of it.
        strong: sqrt(delta^2 / mu + nu^2); infinity where the covariance is singular.
        norm: operator norm of the reference's weight.

    >>> LayerGap(0.0, 3.0, 3.0, 3.0, 3.0, 1.0).nu
    3.0
    """

    delta: float
    nu: float
    local: float
    bound: float
    strong: float
    norm: float


def layer_gap(layer: Layer, other: Layer, a: Tensor, a_other: Tensor) -> LayerGap:
    """Return what the flows of one layer say about its local error.

    Source: (T3.2); derived here.

    Args:
        layer, other: (weight, bias) in the two networks.
        a, a_other: (sample, unit), the inputs of the layer in the two networks.

    Raises:
        ValueError: layers or inputs of different shapes.

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> layer_gap((torch.eye(1) * 2, torch.zeros(1)), (torch.eye(1), torch.zeros(1)), x, x).bound
    1.0
    """
    _same_shape(layer[0], other[0])
    _same_shape(a, a_other)
    w, b = layer[0].double(), layer[1].double()
    w_other, b_other = other[0].double(), other[1].double()
    a, a_other, norm = a.double(), a_other.double(), _norm(w)
    f, f_other = a @ w.T + b, a_other @ w_other.T + b_other
    cov, cov_other = covariance(a, a), covariance(a_other, a_other)
    delta = (covariance(f, a) - covariance(f_other, a_other)).norm()
    delta = delta + norm * (cov - cov_other).norm()
    nu = (f.mean(0) - f_other.mean(0)).norm() + norm * (a.mean(0) - a_other.mean(0)).norm()
    smallest = _smallest_eigenvalue(cov_other)
    return LayerGap(
        delta=delta.item(),
        nu=nu.item(),
        local=rms_distance(a_other @ w.T + b, f_other),
        bound=(delta * (w - w_other).norm() + nu**2).sqrt().item(),
        strong=(delta**2 / smallest + nu**2).sqrt().item() if smallest else math.inf,
        norm=norm,
    )


def network_gaps(
    layers: Sequence[Layer],
    others: Sequence[Layer],
    inputs: Tensor,
    activation: Callable[[Tensor], Tensor] = torch.relu,
) -> list[LayerGap]:
    """Return the `layer_gap` of every layer of two fully connected networks.

    Source: (T3.2); derived here.

    Args:
        layers, others: (weight, bias) of each layer, first to last.
        inputs: (sample, unit), the same for both networks.
        activation: element-wise and 1-Lipschitz; applied after every layer but the last.

    Raises:
        ValueError: networks of different shapes.

    >>> layer = torch.eye(1), torch.zeros(1)
    >>> network_gaps([layer] * 2, [layer] * 2, torch.ones(3, 1))[1].bound
    0.0
    """
    gaps, a, a_other = [], inputs.double(), inputs.double()
    for layer, other in zip(layers, others, strict=True):
        gaps.append(layer_gap(layer, other, a, a_other))
        a = activation(a @ layer[0].double().T + layer[1].double())
        a_other = activation(a_other @ other[0].double().T + other[1].double())
    return gaps


def pruning_floor(weight: Tensor, mask: Tensor, cov: Tensor) -> float:
    """Return the smallest distance of flows that any weights on a mask can reach.

    Source: (T3.3): the minimum of ``|(W - W~) Sigma|_F`` over W~ that vanish off the mask, one
    least-squares problem a row; derived here.

    Args:
        weight: (unit_next, unit) of the reference.
        mask: boolean, of the same shape, True = kept.
        cov: (unit, unit), the covariance of the inputs.

    Raises:
        ValueError: shapes that do not fit.

    >>> pruning_floor(torch.tensor([[3.0, 4.0]]), torch.tensor([[True, False]]), 2 * torch.eye(2))
    8.0
    """
    _same_shape(weight, mask)
    if cov.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(f"cov must be ({weight.shape[1]},) * 2, not {tuple(cov.shape)}")
    total, columns = 0.0, cov.double()
    for target, kept in zip(weight.double() @ columns, mask, strict=True):
        if kept.any():
            best = torch.linalg.lstsq(columns[:, kept], target[:, None], driver="gelsd").solution
            target = target - (columns[:, kept] @ best).flatten()
        total += target.square().sum().item()
    return math.sqrt(total)


def pruning_floor_bound(weight: Tensor, mask: Tensor, cov: Tensor) -> float:
    """Return a lower bound of `pruning_floor`, the smallest eigenvalue times the norm removed.

    Source: (T3.3); derived here.

    Args:
        weight, mask, cov: as for `pruning_floor`.

    Raises:
        ValueError: shapes that do not fit.

    >>> pruning_floor_bound(torch.tensor([[3., 4.]]), torch.tensor([[True, False]]), torch.eye(2))
    4.0
    """
    _same_shape(weight, mask)
    return _smallest_eigenvalue(cov) * weight.double()[~mask].norm().item()


def gaussian_weights(f: Tensor, f_next: Tensor) -> Tensor:
    """Return the weights that pre-activation flows imply if the first layer is Gaussian.

    Source: (T3.4): Cov(f', f) C^-1 / P(f > 0); Stein 1981, Bussgang 1952.

    Args:
        f: (sample, unit), pre-activations of a ReLU layer, no unit always off.
        f_next: (sample, unit_next), pre-activations of the layer above.

    Returns:
        (unit_next, unit); exact for infinitely many Gaussian samples, an estimate otherwise.

    Raises:
        ValueError: a singular covariance, or a unit that is never on.

    >>> f = torch.tensor([[-1.0], [1.0]])
    >>> gaussian_weights(f, 3 * f.relu())
    tensor([[3.]], dtype=torch.float64)
    """
    cov, share_on = covariance(f, f), (f > 0).double().mean(0)
    if _smallest_eigenvalue(cov) == 0 or not (share_on > 0).all():
        raise ValueError("the pre-activations need an invertible covariance and no unit always off")
    return torch.linalg.solve(cov, covariance(f, f_next)).T / share_on


# --- dense against sparse, unit by unit ---


class DenseSparse(NamedTuple):
    """The three parts of a mean squared distance between aligned layers; see `dense_sparse`.

    Source: (T3.5); derived here.

    Args:
        mean: squared distance of the units' means.
        scale: squared distance of the units' standard deviations.
        shape: 2 sum s s~ (1 - r), what imperfect correlation adds.

    >>> sum(DenseSparse(1.0, 2.0, 3.0))
    6.0
    """

    mean: float
    scale: float
    shape: float


def dense_sparse(f: Tensor, other: Tensor) -> DenseSparse:
    """Return the mean squared distance of two layers, split into mean, scale and shape.

    Source: (T3.5), an identity; derived here.

    Args:
        f, other: (sample, unit), unit i of one aligned with unit i of the other.

    Returns:
        Three numbers >= 0 whose sum is ``rms_distance(f, other) ** 2``.

    Raises:
        ValueError: different shapes.

    >>> f = torch.tensor([[-1.0], [1.0]])
    >>> dense_sparse(f, 2 * f + 3)
    DenseSparse(mean=9.0, scale=1.0, shape=0.0)
    """
    _same_shape(f, other)
    f, other = f.double(), other.double()
    s, s_other = f.std(0, correction=0), other.std(0, correction=0)
    product = ((f - f.mean(0)) * (other - other.mean(0))).mean(0)  # s s~ r, defined for dead units
    return DenseSparse(
        mean=(f.mean(0) - other.mean(0)).square().sum().item(),
        scale=(s - s_other).square().sum().item(),
        shape=max(0.0, 2 * (s * s_other - product).sum().item()),
    )


def unit_distance(f: Tensor, other: Tensor) -> float:
    """Return k, the mean over units of sqrt(2 (1 - r)), r the dense-sparse correlation.

    Source: (T3.6); derived here. The flow of a pair of layers moves by at most k + k_next.

    Args:
        f, other: (sample, unit), aligned units; a unit dead in both counts 0, in one sqrt(2).

    Returns:
        A number in [0, 2].

    Raises:
        ValueError: different shapes.

    >>> f = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    >>> unit_distance(f, torch.stack([f[:, 0], -f[:, 1]], 1))  # one unit kept, one reversed
    1.0
    """
    _same_shape(f, other)
    z, z_other = _standardise(f), _standardise(other)
    dead = ~(z.any(0) | z_other.any(0))
    r = torch.where(dead, 1.0, (z * z_other).mean(0))
    return (2 * (1 - r)).clamp_min(0).sqrt().mean().item()


def connectivities(outputs: Sequence[Tensor]) -> Tensor:
    """Return the mean connectivities as a differentiable function of the pre-activations.

    Source: (T2.3), (T3.7): the covariance of two averages of standardised units.

    Args:
        outputs: (sample, unit) for each layer, in order; a dead unit counts 0, without gradient.

    Returns:
        (layer - 1,), with gradients; the values of `flows.information_flow`.

    Raises:
        ValueError: fewer than two layers.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> connectivities([f, torch.cat([f, f], 1), -f]).round(decimals=5)
    tensor([ 1., -1.])
    """
    if len(outputs) < 2:
        raise ValueError("a flow needs at least two layers")
    averages = []
    for f in outputs:
        variance, mean = torch.var_mean(f, 0, correction=0)
        dead = variance.sqrt() <= 4 * torch.finfo(f.dtype).eps * torch.hypot(mean, variance.sqrt())
        sd = torch.where(dead, 1.0, variance).sqrt()
        averages.append(torch.where(dead, 0.0, (f - mean) / sd).mean(1))
    return torch.stack([(a * b).mean() for a, b in pairwise(averages)])


def tangent(gradient: Tensor, jacobian: Tensor) -> Tensor:
    """Return the part of a gradient that leaves the flows unchanged to first order.

    Source: (T3.7): the orthogonal projection on the tangent space of a level set.

    Args:
        gradient: (weight,) of the loss.
        jacobian: (flow, weight) of the flows; rows may be dependent or zero, and of any scale.

    Returns:
        (weight,); zero, up to round-off, if and only if the gradient lies in the span of the rows.

    >>> tangent(torch.tensor([1.0, 2.0]), torch.tensor([[0.0, 1.0]]))
    tensor([1., 0.])
    """
    rows = jacobian[jacobian.any(1)]
    rows = rows / rows.abs().amax(1, keepdim=True)  # first, so that no square underflows
    rows = rows / rows.norm(dim=1, keepdim=True)
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    basis = v[s > max(rows.shape) * torch.finfo(s.dtype).eps * s.max()] if len(rows) else rows
    return gradient - basis.T @ (basis @ gradient)


__getattr__ = _moved.lookup("theory.consistency", _moved.NAMES["theory.consistency"])

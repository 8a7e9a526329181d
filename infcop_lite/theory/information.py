"""What the information flow is, what bounds it, and how exactly a probe can measure it (T2).

Equation functions take correlation matrices, or standardised units through activations. Everything
is computed in float64; a dead unit has standardised output 0, and row and column 0 of every matrix.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from ..flows import _check_samples, _standardised_layers
from ..precision import flow_influence


def _blocks(*matrices: Tensor) -> list[Tensor]:
    """Return the blocks (R, P, R') of a joint matrix in float64, after checking their shapes."""
    r, p, r_next = (matrix.detach().to(torch.float64) for matrix in matrices)
    if p.dim() != 2 or r.shape != (len(p),) * 2 or r_next.shape != (p.shape[1],) * 2:
        shapes = ", ".join(str(tuple(matrix.shape)) for matrix in (r, p, r_next))
        raise ValueError(f"blocks must be (d, d), (d, d'), (d', d'), not {shapes}")
    if not all(torch.isfinite(block).all() for block in (r, p, r_next)):
        raise ValueError("a matrix of correlations must be finite")
    return [r, p, r_next]


def _inverse_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of the pseudo-inverse of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    cut = 1e-12 * values[-1].clamp_min(0) * len(values)
    root = torch.where(values > cut, values.clamp_min(1e-300).rsqrt(), 0.0)
    return vectors * root @ vectors.T


def _inverse_sd(matrix: Tensor) -> Tensor:
    """Return one over the standard deviation of each unit; 0 where there is none."""
    variance = matrix.diagonal()
    return torch.where(variance > 0, variance.clamp_min(1e-300).rsqrt(), 0.0)


def canonical_correlations(r: Tensor, p: Tensor, r_next: Tensor) -> Tensor:
    """Return the canonical correlations of two layers, which are singular values of the whitened P.

    Source: (T2.1); Hotelling 1936. Correlations or covariances: the result is the same. Units of
    any scale; directions are cut at 1e-12 of the largest variance after standardising.

    Args:
        r: (unit, unit), correlation (or covariance) within the first layer.
        p: (unit, unit_next), between the layers.
        r_next: (unit_next, unit_next), within the second layer.

    Returns:
        (min(unit, unit_next),) in float64, descending, in [0, 1]. Directions without variance
        are left out (pseudo-inverse), and count 0.

    Raises:
        ValueError: shapes that do not fit, or entries that are not finite.

    >>> one = torch.ones(1, 1)
    >>> canonical_correlations(one, -0.6 * one, one)
    tensor([0.6000], dtype=torch.float64)
    """
    r, p, r_next = _blocks(r, p, r_next)
    d, d_next = (_inverse_sd(block) for block in (r, r_next))
    r, p, r_next = (d[:, None] * r * d, d[:, None] * p * d_next, d_next[:, None] * r_next * d_next)
    k = _inverse_root(r) @ p @ _inverse_root(r_next)
    return torch.linalg.svdvals(k).clamp(max=1.0)


def gaussian_mutual_information(kappa: Tensor | float) -> float:
    """Return the mutual information of jointly Gaussian layers, in nats.

    Source: (T2.1); Cover & Thomas 2006. I = -1/2 sum log(1 - kappa_i^2).

    Args:
        kappa: canonical correlations, any shape, in [-1, 1]; one plain correlation will do.

    Returns:
        A number >= 0; infinite if a correlation is 1 in absolute value.

    Raises:
        ValueError: a number outside [-1, 1].

    >>> round(gaussian_mutual_information(0.6), 4)
    0.2231
    """
    kappa = torch.as_tensor(kappa, dtype=torch.float64)
    if not (kappa.abs() <= 1).all():
        raise ValueError("correlations must lie in [-1, 1]")
    return abs(-0.5 * torch.log1p(-kappa.square()).sum().item())


def mutual_information_bias(n: int, d: int, d_next: int) -> float:
    """Return what the Gaussian plug-in shows on average for two independent Gaussian layers.

    Source: (T2.4), the exact form of d d' / (2n); the law of Wilks' lambda, Wilks 1932.

    Args:
        n: samples; n > d + d_next.
        d, d_next: units of the two layers, >= 1.

    Returns:
        Nats, > 0.

    Raises:
        ValueError: too few samples or units.

    >>> round(mutual_information_bias(10**6, 20, 10) * 10**6)
    100
    """
    if min(d, d_next) < 1 or n <= d + d_next:
        raise ValueError(f"need n > d + d' and d, d' >= 1, not n={n}, d={d}, d'={d_next}")
    i = torch.arange(1, d_next + 1, dtype=torch.float64)
    gaps = torch.digamma((n - i) / 2) - torch.digamma((n - d - i) / 2)
    return 0.5 * gaps.sum().item()


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Return the linear CKA, also RV coefficient, of two layers.

    Source: (T2.4); Robert & Escoufier 1976; Kornblith et al. 2019, arXiv:1905.00414.

    Args:
        a: (sample, unit), finite; it is centred here, not standardised.
        b: (sample, unit_next), the same samples.

    Returns:
        A number in [0, 1]; 0 if one of the layers is constant.

    Raises:
        ValueError: different numbers of samples.

    >>> a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    >>> round(linear_cka(a, a @ torch.tensor([[0.6, -0.8], [0.8, 0.6]])), 4)  # a rotation
    1.0
    """
    _check_samples(a, b)
    a, b = (f.detach().double() for f in (a, b))
    # of size 1 before and after centring, so that fourth powers stay in range
    a, b = (f / f.abs().max().clamp_min(1e-300) for f in (a, b))
    a, b = (f - f.mean(0) for f in (a, b))
    a, b = (f / f.abs().max().clamp_min(1e-300) for f in (a, b))
    scale = (a.T @ a).norm() * (b.T @ b).norm()
    return ((a.T @ b).square().sum() / scale).item() if scale > 0 else 0.0


def mean_self_correlations(activations: Mapping[str, Tensor]) -> Tensor:
    """Return for each layer the mean of all correlations between its own units.

    Source: (T2.3). It is the variance of the average of the standardised units.

    Args:
        activations: name -> (sample, unit), in execution order, at least two layers.

    Returns:
        (layer,) in float64, in [0, 1].

    Raises:
        ValueError: fewer than two layers, different numbers of samples, NaN or infinity.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> mean_self_correlations({"a": f, "b": torch.cat([f, -f], 1)}).round(decimals=6)
    tensor([1., 0.], dtype=torch.float64)
    """
    means = [z.mean(1).square().mean() for z in _standardised_layers(activations)]
    return torch.stack(means).clamp(0.0, 1.0)


def ceilings(activations: Mapping[str, Tensor]) -> Tensor:
    """Return the largest mean connectivity that each pair of layers could have.

    Source: (T2.3), derived here. ceiling = sqrt(R_bar R_bar').

    Args:
        activations: as for `mean_self_correlations`.

    Returns:
        (layer - 1,) in float64, in [0, 1].

    Raises:
        ValueError: as for `mean_self_correlations`.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> ceilings({"a": f, "b": torch.cat([f, -f], 1), "c": f}).round(decimals=6)
    tensor([0., 0.], dtype=torch.float64)
    """
    r_bar = mean_self_correlations(activations)
    return (r_bar[:-1] * r_bar[1:]).sqrt()


def average_correlations(activations: Mapping[str, Tensor]) -> Tensor:
    """Return the correlation between the averages of consecutive layers.

    Source: (T2.3): the mean connectivity divided by its ceiling.

    Args:
        activations: as for `mean_self_correlations`.

    Returns:
        (layer - 1,) in float64, in [-1, 1]; 0 where an average does not vary. Averages with a
        variance below 1e-12 count as constant.

    Raises:
        ValueError: as for `mean_self_correlations`.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> average_correlations({"a": f, "b": torch.cat([-f, 0 * f], 1)}).round(decimals=6)
    tensor([-1.], dtype=torch.float64)
    """
    averages = [z.mean(1) for z in _standardised_layers(activations)]
    rho = []
    for a_bar, b_bar in pairwise(averages):
        scale = a_bar.norm() * b_bar.norm()  # round-off of a vanishing average is no signal
        alive = min(a_bar.square().mean(), b_bar.square().mean()) > 1e-12
        rho.append(a_bar @ b_bar / scale if alive else torch.zeros_like(scale))
    return torch.stack(rho).clamp(-1.0, 1.0)


def influence(activations: Mapping[str, Tensor]) -> Tensor:
    """Return what each sample contributes to the error of the mean connectivity.

    Source: (T2.5), the delta method. psi = a_bar b_bar - 1/2 (sum r_i z_i^2 + sum c_j z'_j^2).

    Args:
        activations: as for `mean_self_correlations`.

    Returns:
        (sample, layer - 1) in float64; columns have mean 0.

    Raises:
        ValueError: as for `mean_self_correlations`.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> influence({"a": f, "b": f}).abs().max().item() < 1e-12  # no error at correlation 1
    True
    """
    return flow_influence(activations)


def standard_error(activations: Mapping[str, Tensor]) -> Tensor:
    """Return the standard error of the mean connectivity of each pair of layers.

    Source: (T2.5), derived here: sd(psi) / sqrt(n).

    Args:
        activations: as for `mean_self_correlations`; the samples are independent.

    Returns:
        (layer - 1,) in float64.

    Raises:
        ValueError: as for `mean_self_correlations`.

    >>> x = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    >>> standard_error({"a": x[:, :1], "b": x[:, 1:]}).round(decimals=2)  # 1 / sqrt(n)
    tensor([0.0100], dtype=torch.float64)
    """
    psi = influence(activations)
    return psi.std(0, correction=0) / math.sqrt(len(psi))


def gaussian_sigma(r: Tensor, p: Tensor, r_next: Tensor) -> float:
    """Return sd(psi) when the units of both layers are jointly Gaussian.

    Source: (T2.5), derived here with Isserlis 1918.

    Args:
        r: (unit, unit), correlations within the first layer.
        p: (unit, unit_next), between the layers.
        r_next: (unit_next, unit_next), within the second layer.

    Returns:
        A number >= 0; divide it by sqrt(n) for the standard error.

    Raises:
        ValueError: shapes that do not fit, or entries that are not finite.

    >>> one = torch.ones(1, 1)
    >>> round(gaussian_sigma(one, 0.6 * one, one), 6)  # 1 - 0.6^2
    0.64
    """
    r, p, r_next = _blocks(r, p, r_next)
    alpha, beta, p_row, p_column = r.mean(1), r_next.mean(1), p.mean(1), p.mean(0)
    weight, weight_next = p_row / len(p_row), p_column / len(p_column)  # the r_i and the c_j
    variance = r.mean() * r_next.mean() + p.mean().square()
    variance -= 2 * (weight @ (alpha * p_row) + weight_next @ (beta * p_column))
    squares = weight @ r.square() @ weight + weight_next @ r_next.square() @ weight_next
    variance += 0.5 * squares + weight @ p.square() @ weight_next
    return math.sqrt(max(variance.item(), 0.0))


def planning_bound(r_bar: float, r_bar_next: float, kurtosis: float | None = None) -> float:
    """Return an upper bound on sd(psi) that needs the two mean self-correlations alone.

    Source: (T2.6), derived here. sqrt(2 R_bar R_bar') + (sqrt(R_bar) + sqrt(R_bar')) / sqrt(2).

    Args:
        r_bar, r_bar_next: mean self-correlations of the two layers, in [0, 1].
        kurtosis: None if all units are jointly Gaussian; otherwise a number >= 1 that bounds
            E u^4 / (E u^2)^2 for every standardised unit u and for the two averages.

    Raises:
        ValueError: a number out of its range.

    >>> round(planning_bound(0.01, 0.01), 4)
    0.1556
    """
    if not (0 <= r_bar <= 1 and 0 <= r_bar_next <= 1):
        raise ValueError(f"mean self-correlations lie in [0, 1], not {r_bar} and {r_bar_next}")
    if kurtosis is not None and not 1 <= kurtosis < math.inf:
        raise ValueError(f"a kurtosis is at least 1, not {kurtosis}")
    fourth = 3.0 if kurtosis is None else kurtosis
    product = 2.0 if kurtosis is None else kurtosis
    spread = 0.5 * math.sqrt(fourth - 1) * (math.sqrt(r_bar) + math.sqrt(r_bar_next))
    return math.sqrt(product * r_bar * r_bar_next) + spread


def samples_needed(epsilon: float, variance: float, multiple: float = 2.0) -> int:
    """Return how many samples a probe needs for a tolerance to stand clear of the noise.

    Source: (T2.6), derived here. n >= 2 multiple^2 S / epsilon^2: epsilon is `multiple` floors.
    For two independent probes; for the default rule see `certainty.probe_needed`.

    Args:
        epsilon: absolute tolerance, > 0.
        variance: S, the sum over pairs of layers of Var(psi), >= 0.
        multiple: how many times the floor epsilon should be, > 0.

    Raises:
        ValueError: a number out of its range.

    >>> samples_needed(0.11, 15 * 0.3**2)
    893
    """
    if not (0 < epsilon < math.inf and 0 <= variance < math.inf and 0 < multiple < math.inf):
        raise ValueError(
            f"need epsilon, multiple > 0 and S >= 0, not {epsilon}, {multiple}, {variance}"
        )
    return max(2, math.ceil(2 * multiple**2 * variance / epsilon**2 * (1 - 1e-12)))


def noise_of_distance(
    activations: Mapping[str, Tensor], reference: Mapping[str, Tensor], same_probe: bool
) -> float:
    """Return how much sampling adds, on average, to the squared distance of two flows.

    Source: (T2.6), derived here. (1/n) sum Var(psi_t - psi_0) on one probe; on independent probes
    the sum of the two variances, each divided by its own number of samples.

    Args:
        activations: of the network now, as for `mean_self_correlations`.
        reference: of the network to compare with.
        same_probe: whether row k of both is the same sample.

    Raises:
        ValueError: as for `mean_self_correlations`, or flows of different networks, or different
            numbers of samples on one probe.

    >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> net = {"a": x[:, :1], "b": x}
    >>> noise_of_distance(net, net, same_probe=True)
    0.0
    """
    psi, psi_reference = influence(activations), influence(reference)
    if psi.shape[1] != psi_reference.shape[1]:
        raise ValueError("flows of different networks have no distance")
    if not same_probe:
        parts = (p.var(0, correction=0).sum().item() / len(p) for p in (psi, psi_reference))
        return sum(parts)
    if len(psi) != len(psi_reference):
        raise ValueError("one probe has one number of samples")
    return (psi - psi_reference).var(0, correction=0).sum().item() / len(psi)


def debiased_squared_distance(
    flow: Tensor, reference: Tensor, noise: float, clip: bool = True
) -> float:
    """Return the squared distance of two flows less what sampling adds to it.

    Source: (T2.6), derived here.

    Args:
        flow, reference: of the same shape.
        noise: what `noise_of_distance` returns, >= 0.
        clip: at 0; without it the estimate may be negative, and is unbiased to first order.

    Raises:
        ValueError: different shapes, or a negative noise.

    >>> debiased_squared_distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]), 5.0)
    20.0
    """
    if flow.shape != reference.shape:
        raise ValueError("flows of different networks have no distance")
    if not noise >= 0:
        raise ValueError(f"noise must be at least 0, not {noise}")
    squared = (flow - reference).square().sum().item() - noise
    return max(0.0, squared) if clip else squared

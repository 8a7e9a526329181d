"""What is certain about a tolerance before training, and how sure a stop on one probe is (T7).

The floors are of the mean connectivity, from the mask and the inputs alone, and of the full flow.
The errors are those of the default rule: a relative distance, both flows on one fixed probe.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from ..confidence import quantile
from ..flows import flow_distance, information_flow
from ..precision import distance_error as error_of_flows
from ..precision import flow_influence
from ..windows import mask_window as window_of_shares
from .consistency import _norm, _same_shape, _smallest_eigenvalue

# --- floors of the mean connectivity ---


def fed_shares(masks: Sequence[Tensor], varying: Tensor | None = None) -> Tensor:
    """Return for each layer the share of its units that any varying input still reaches.

    Source: (T7.12); derived here.

    Args:
        masks: (unit_next, unit, ...) boolean of each layer, in order, True = kept. Each reads the
            one before; after flattening, a unit's positions stand side by side.
        varying: (input,) boolean, which inputs vary over the data; None is all of them.

    Returns:
        (layer,) in float64, in [0, 1].

    Raises:
        ValueError: no masks, or masks that do not follow one another.

    Note:
        For chains. A shortcut is a path too: it may feed a unit that this chain does not.

    >>> first = torch.tensor([[True, False], [False, False]])
    >>> fed_shares([first, torch.tensor([[True, True], [False, True]])])
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    if not masks:
        raise ValueError("a network needs at least one mask")
    fed = torch.ones(masks[0].shape[1], dtype=torch.bool) if varying is None else varying.bool()
    shares = []
    for mask in masks:
        alive = mask.flatten(2).any(2) if mask.dim() > 2 else mask.bool()
        if len(fed) == 0 or alive.shape[1] % len(fed):
            raise ValueError(f"a mask of {alive.shape[1]} inputs does not follow {len(fed)} units")
        fed = (alive & fed.repeat_interleave(alive.shape[1] // len(fed))).any(1)
        shares.append(fed.double().mean())
    return torch.stack(shares)


def mask_window(
    reference_flow: Tensor, masks: Sequence[Tensor], varying: Tensor | None = None
) -> tuple[float, float]:
    """Return the smallest and the largest distance that any weights on a mask can have.

    Source: (T7.12); derived here: `windows.mask_window` of the masks' fed shares.

    Args:
        reference_flow: (layer - 1,), mean connectivities.
        masks, varying: as for `fed_shares`.

    Raises:
        ValueError: as for `fed_shares`, or flows of another number of layers.

    >>> kept = torch.ones(1, 1, dtype=torch.bool)
    >>> mask_window(torch.tensor([0.5]), [kept, ~kept])  # a dead network: the norm itself
    (0.5, 0.5)
    """
    return window_of_shares(reference_flow, fed_shares(masks, varying).tolist())


def input_ceiling(inputs: Tensor, mask: Tensor) -> float:
    """Return a bound on the norm of the average standardised unit of the first layer.

    Source: (T7.13); derived here. ``sqrt(a lambda_max(mean P_i))``, P_i the projection on the
    inputs that unit i still reads, a the share of units with an input that varies. Times the fed
    share of layer 2 it bounds the first connectivity.

    Args:
        inputs: (sample, input), finite.
        mask: (unit, input) boolean, of a fully connected first layer.

    Returns:
        A number in [0, 1], never above that share.

    Raises:
        ValueError: shapes that do not fit, or inputs that are not finite.

    >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(input_ceiling(x, torch.eye(2).bool()) ** 2, 6)  # uncorrelated: 1 / units
    0.5
    """
    if inputs.dim() != 2 or mask.dim() != 2 or inputs.shape[1] != mask.shape[1] or len(mask) == 0:
        raise ValueError(f"a mask {tuple(mask.shape)} for inputs {tuple(inputs.shape)}")
    if not inputs.isfinite().all():
        raise ValueError("inputs must be finite")
    x = inputs.detach().double()
    x = x - x.mean(0)
    scale = x.norm(dim=0)
    x = torch.where(scale > 0, x / scale.clamp_min(1e-300), 0.0)
    _, s, v = torch.linalg.svd(x, full_matrices=False)
    coordinates = s[:, None] * v  # of each input, in an orthonormal basis of their span
    total, num_fed = torch.zeros(len(s), len(s), dtype=torch.float64), 0
    for kept in mask:
        u, size, _ = torch.linalg.svd(coordinates[:, kept], full_matrices=False)
        basis = u[:, size > 1e-12 * max(x.shape)]
        total, num_fed = total + basis @ basis.T, num_fed + (basis.shape[1] > 0)
    largest = max(0.0, torch.linalg.eigvalsh(total)[-1].item())
    return min(1.0, math.sqrt(num_fed * largest) / len(mask))


def deep_floor_bound(weight: Tensor, mask: Tensor, reference_cov: Tensor) -> float:
    """Return a full flow distance that no retraining of any layer brings a layer below.

    Source: (T7.14); derived here. ``lambda r n / (n + r)``: n the operator norm of the reference's
    weight, r the norm of what is removed, lambda the least eigenvalue of its inputs' covariance.

    Args:
        weight: (unit_next, unit) of the reference.
        mask: boolean, of the same shape, True = kept.
        reference_cov: (unit, unit), covariance of the layer's inputs in the reference.

    Returns:
        A number >= 0, a lower bound of `consistency.LayerGap` ``.delta``; 0 for a singular
        covariance.

    Raises:
        ValueError: shapes that do not fit.

    >>> w, mask = torch.diag(torch.tensor([3.0, 6.0])), torch.tensor([[False, True], [True, True]])
    >>> deep_floor_bound(w, mask, torch.eye(2))
    2.0
    """
    _same_shape(weight, mask)
    if reference_cov.shape != (weight.shape[1],) * 2:
        raise ValueError(f"the covariance must be ({weight.shape[1]},) * 2")
    removed = weight.double()[~mask].norm().item()
    if removed == 0:
        return 0.0
    norm = _norm(weight)
    return _smallest_eigenvalue(reference_cov) * removed * norm / (norm + removed)


# --- the error of the default rule ---


def distance_error(
    activations: Mapping[str, Tensor], reference: Mapping[str, Tensor], relative: bool = True
) -> tuple[float, float]:
    """Return the logarithm of a flow distance and its standard error, both flows on one probe.

    Source: (T7.15); derived here: `precision.distance_error`, of networks' outputs.

    Args:
        activations: of the network now, name -> (sample, unit), in execution order.
        reference: of the reference network, on the same samples.
        relative: whether the distance is divided by the norm of the reference's flow.

    Returns:
        Log distance, -inf for equal flows and inf if its unit is 0; and the standard error of it.

    Raises:
        ValueError: different networks or numbers of samples, or as for `flows.information_flow`.

    Note:
        For samples drawn independently, of networks that were not trained on them.

    >>> x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    >>> now, then = {"a": x[:, :1], "b": x[:, :1] + x[:, 1:2]}, {"a": x[:, :1], "b": x[:, 2:]}
    >>> [round(value, 2) for value in distance_error(now, then, relative=False)]
    [-0.34, 0.05]
    """
    flows = information_flow(activations), information_flow(reference)
    psi = flow_influence(activations), flow_influence(reference)
    error = error_of_flows(*flows, *psi, relative)
    distance, unit = flow_distance(*flows), flows[1].norm().item() if relative else 1.0
    if distance == 0:
        return -math.inf, error
    return math.inf if unit == 0 else math.log(distance / unit), error


def safety_distance(confidence: float, looks: int = 1) -> float:
    """Return how many standard errors a log distance must lie below the log tolerance.

    Source: (T7.16); derived here: `confidence.quantile`, for any confidence. A level then passes
    with its distance above the tolerance with probability at most 1 - confidence.

    Args:
        confidence: in (0, 1).
        looks: the most looks that a level can have, >= 1.

    Raises:
        ValueError: a number out of its range.

    >>> round(safety_distance(0.95), 3), round(safety_distance(0.95, looks=5), 3)
    (1.645, 2.326)
    """
    if not 0 < confidence < 1 or looks < 1:
        raise ValueError(f"confidence in (0, 1) and looks >= 1, not {confidence} and {looks}")
    return quantile(confidence, looks)


def probe_needed(
    spread: float, slack: float, size: float = 0.05, power: float = 0.9, looks: int = 1
) -> int:
    """Return how many samples a probe needs for the default rule to pass what should pass.

    Source: (T7.17); derived here. ``((z_(1 - size / looks) + z_power) spread / slack)^2``, and at
    least 200, below which the estimated error is too small.

    Args:
        spread: s, standard deviation of one sample's influence on the log distance: the standard
            error of `distance_error` times the root of its number of samples, >= 0.
        slack: log of tolerance over true distance, > 0.
        size: probability to pass at the tolerance, in (0, 1).
        power: probability to pass at the true distance, in (0, 1).
        looks: the most looks that a level can have, >= 1.

    Raises:
        ValueError: a number out of its range.

    >>> probe_needed(spread=2.0, slack=math.log(1.25))
    688
    """
    if not (0 <= spread < math.inf and 0 < slack < math.inf and 0 < power < 1):
        raise ValueError(
            f"need spread >= 0, slack > 0, power in (0, 1): {spread}, {slack}, {power}"
        )
    z = safety_distance(1 - size, looks) + NormalDist().inv_cdf(power)
    return max(200, math.ceil((max(z, 0.0) * spread / slack) ** 2 * (1 - 1e-12)))

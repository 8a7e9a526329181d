"""The standard error with which one probe knows the distance of two information flows (T7.15)."""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from .flows import _influence, _standardised_layers


def flow_influence(activations: Mapping[str, Tensor]) -> Tensor:
    """Return what each sample contributes to the error of the information flow, summary "mean".

    Source: T2.5, the delta method.

    Args:
        activations: as for `flows.information_flow`.

    Returns:
        (sample, layer - 1) in float64; columns have mean 0.

    Raises:
        ValueError: as for `flows.information_flow`.

    >>> f = torch.tensor([[1.0], [2.0], [3.0]])
    >>> flow_influence({"a": f, "b": f}).abs().max().item() < 1e-12  # no error at correlation 1
    True
    """
    pairs = pairwise(_standardised_layers(activations))
    return torch.stack([_influence(*pair) for pair in pairs], 1)


def distance_error(
    flow: Tensor,
    reference: Tensor,
    influence: Tensor,
    influence_reference: Tensor,
    relative: bool = True,
) -> float:
    """Return the standard error of the logarithm of a distance, both flows on one probe.

    Source: T7.15, the delta method on T2.5: ``sd(psi) / sqrt(n)``, with delta the difference of the
    flows and ``psi = <delta, psi_t - psi_0> / |delta|^2``, less ``<flow_0, psi_0> / |flow_0|^2`` if
    the distance is in units of the reference's norm.

    Args:
        flow, reference: (pair,), of the network and of the reference.
        influence, influence_reference: (sample, pair), of the same samples, row by row; see
            `flow_influence`. The samples are independent, and so are both networks of them.
        relative: whether the distance is in units of the reference's norm.

    Returns:
        A number >= 0. The standard error is that of a random sample of a large population. 0 if
        the two flows cannot be told apart on any sample; infinite if they agree by chance, or if
        the reference flow is zero.

    Raises:
        ValueError: different shapes, or no samples.

    >>> flow, psi = torch.tensor([2.0]), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    >>> distance_error(flow, torch.tensor([1.0]), 3 * psi, psi, relative=False)
    1.0
    >>> distance_error(flow, torch.tensor([1.0]), 3 * psi, psi)
    0.5
    """
    shapes = {tuple(tensor.shape) for tensor in (influence, influence_reference)}
    if shapes != {(len(influence), *flow.shape)} or flow.shape != reference.shape or not len(flow):
        found = ", ".join(map(str, sorted(shapes)))
        raise ValueError(f"a distance needs both flows on the same samples, not {found}")
    if len(influence) == 0:
        raise ValueError("a standard error needs samples, not an empty probe")
    delta, start, psi_t, psi_0 = (
        v.to(torch.float64) for v in (flow - reference, reference, influence, influence_reference)
    )
    moved = psi_t - psi_0
    if not delta.any():
        return math.inf if moved.any() else 0.0
    if relative and not start.any():
        return math.inf
    psi = moved @ (delta / delta.norm() / delta.norm())
    if relative:
        psi = psi - psi_0 @ (start / start.norm() / start.norm())
    return psi.std(correction=0).item() / math.sqrt(len(psi))

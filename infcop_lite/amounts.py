"""How much a level prunes, and when there is nothing left to prune."""

from torch import nn

from .config import Config
from .masks import Masks, density, magnitude_masks, sap_fractions


def next_masks(model: nn.Module, masks: Masks, config: Config) -> Masks:
    """Return the masks that pruning now would give.

    Source: the fixed fraction of arXiv:1803.03635, or SAP's, arXiv:2302.05601.

    Args:
        model: the network whose weights are ranked.
        masks: the current masks.
        config: amount, fraction, scope and SAP's parameters.

    >>> from infcop_lite.masks import full_masks
    >>> model = nn.Linear(10, 1)
    >>> int(next_masks(model, full_masks(model), Config(fraction=0.3))["weight"].sum())
    7
    """
    c = config
    if c.amount == "fixed":
        fractions: float | dict[str, float] = c.fraction
    else:
        fractions = sap_fractions(model, masks, c.scope, c.p, c.q, c.eta, c.gamma, c.beta)
    if c.final_density is not None:
        most = 1 - min(1.0, c.final_density / max(density(masks), 1e-12))
        if isinstance(fractions, dict):
            fractions = {name: min(fraction, most) for name, fraction in fractions.items()}
        else:
            fractions = min(fractions, most)
    return magnitude_masks(model, masks, fractions, c.scope)


def is_sparse_enough(masks: Masks, config: Config) -> bool:
    """Say whether pruning has come to its end: but for rounding, at most one weight a layer.

    Args:
        masks: of the present level.
        config: with the ``final_density``, if there is one.

    >>> import torch
    >>> is_sparse_enough({"weight": torch.tensor([True, False])}, Config(final_density=0.5))
    True
    """
    num_weights = sum(mask.numel() for mask in masks.values())
    excess = density(masks) - (config.final_density or -1.0)
    return excess * num_weights < len(masks)

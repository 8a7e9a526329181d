"""How much a level prunes, and which layers stay dense.

Equation functions take scores or weights; `next_masks` puts them together as a config says.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from .config import Config
from .layers import is_layer
from .limits import is_number, shown
from .masks import Masks, check_masks, density, found, keep_best, prunable
from .scores import SCORES, Batch, Loss, magnitude

Fractions = float | dict[str, float]


def pq_index(weights: Tensor, p: float, q: float) -> float:
    """Return the PQ index, which says how unequal magnitudes are, from 0 (all equal) upwards.

    Source: Diao et al. 2023, arXiv:2302.05601; properties T1.1-T1.5.
    I = 1 - d^(1/q - 1/p) ||w||_p / ||w||_q.

    Args:
        weights: (survivor,), finite, not all zero.
        p, q: norm orders, 0 < p < q.

    Returns:
        A number in [0, 1 - d^(1/q - 1/p)].

    Raises:
        ValueError: p >= q, no weights, a NaN, or only zeros (the index is not defined).

    >>> round(pq_index(torch.tensor([1.0, 1.0, 1.0, 1.0]), 1, 2), 6)
    0.0
    >>> pq_index(torch.tensor([1.0, 0.0, 0.0, 0.0]), 1, 2)
    0.5
    """
    _check_orders(p, q)
    w = _magnitudes(weights)
    w = w / w.max()  # the index does not depend on scale; this keeps the powers in range
    log_p, log_q = (math.log(w.pow(s).sum().item() / len(w)) / s for s in (p, q))  # of power means
    return max(0.0, -math.expm1(log_p - log_q))


def _magnitudes(weights: Tensor) -> Tensor:
    """Return the absolute values in double precision, some of them and not all zero."""
    if not isinstance(weights, Tensor) or weights.is_complex():
        raise ValueError("the PQ index needs a tensor of real weights")
    w = weights.detach().flatten().to(torch.float64).abs()
    if len(w) == 0 or not torch.isfinite(w).all() or not w.any():
        raise ValueError("the PQ index needs finite weights that are not all zero")
    return w


def _check_orders(p: float, q: float) -> None:
    if not (is_number(p) and is_number(q) and 0 < p < q < math.inf):
        raise ValueError(f"the PQ index needs 0 < p < q, not p={shown(p)}, q={shown(q)}")


def sap_fraction(
    weights: Tensor, p: float, q: float, eta: float = 0.0, gamma: float = 1.0, beta: float = 0.9
) -> float:
    """Return the pruning fraction that SAP (sparsity-informed adaptive pruning) prescribes.

    Source: Diao et al. 2023, arXiv:2302.05601; what the count guarantees: T1.6-T1.8.
    m = ceil(d (1 + eta)^(-q/(q-p)) (1 - I)^(pq/(q-p))) weights are kept.

    Args:
        weights: (survivor,), finite, not all zero.
        p, q: norm orders, 0 < p < q; the published pairs are (0.5, 1) and (1, 2).
        eta: tolerated ratio of removed to kept mass, >= 0.
        gamma: scales the fraction, > 0.
        beta: the largest fraction allowed, in (0, 1).

    Returns:
        min(gamma (1 - m / d), beta), in [0, 1).

    Raises:
        ValueError: a parameter out of its range, or weights as for `pq_index`.

    >>> sap_fraction(torch.tensor([1.0, 1.0, 0.0, 0.0]), 1, 2)
    0.5
    """
    numbers = all(map(is_number, (eta, gamma, beta)))
    if not numbers or not (0 <= eta < math.inf and 0 < gamma < math.inf and 0 < beta < 1):
        given = f"eta={shown(eta)}, gamma={shown(gamma)}, beta={shown(beta)}"
        raise ValueError(f"SAP needs eta >= 0, gamma > 0, 0 < beta < 1, not {given}")
    index, d = pq_index(weights, p, q), weights.numel()
    kept = d * (1 + eta) ** (-q / (q - p)) * (1 - index) ** (p * q / (q - p))
    m = math.ceil(kept * (1 - 1e-12))  # an exact integer must not be lifted by round-off
    return min(max(gamma * (1 - m / d), 0.0), beta)


def sap_fractions(
    scores: Mapping[str, Tensor] | nn.Module, masks: Masks, scope: str, *parameters: float
) -> Fractions:
    """Return SAP's fraction for a network, one for all weights pooled or one for each layer.

    Source: Diao et al. 2023, arXiv:2302.05601, who pool all layers; one per layer is ours.

    Args:
        scores: parameter name -> tensor like the mask; of a network, the magnitudes.
        masks: the current masks.
        scope: "layerwise" or "global".
        parameters: p, q and, if wanted, eta, gamma, beta, as for `sap_fraction`.

    Returns:
        What `masks.keep_best` takes as ``fraction`` in that scope. A layer that has lost all its
        weights gets 0.

    Raises:
        ValueError: as for `sap_fraction`, or masks that do not fit.

    >>> scores = {"weight": torch.tensor([[1.0, 1.0, 0.0, 0.0]])}
    >>> sap_fractions(scores, {"weight": torch.ones(1, 4, dtype=torch.bool)}, "layerwise", 1, 2)
    {'weight': 0.5}
    """
    if isinstance(scores, nn.Module):
        check_masks(scores, masks)
        scores = magnitude(scores, masks, None, nn.functional.cross_entropy)
    survivors = {name: scores[name][mask] for name, mask in masks.items()}
    if scope == "global":
        return sap_fraction(torch.cat(list(survivors.values())), *parameters)
    return {k: sap_fraction(w, *parameters) if len(w) else 0.0 for k, w in survivors.items()}


def spared(model: nn.Module, dense: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the prunable weights that stay dense, with the reason.

    Args:
        model: any module.
        dense: names of modules, or patterns of `fnmatch`.

    Returns:
        Parameter name -> "frozen" (its gradient is switched off), "tied" (it is also the weight of
        a layer that is never pruned, such as an embedding) or "dense".

    Raises:
        ValueError: a pattern that no layer has, or nothing that is left to prune.

    >>> spared(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), ("1",))
    {'1.weight': 'dense'}
    """
    weights, left = prunable(model), dict[str, str]()
    for pattern in dense:
        named = [name for name in weights if _is_called(name, pattern)]
        if not named:
            layers = ", ".join(name.removesuffix(".weight") for name in weights)
            raise ValueError(f"dense: no layer is called {pattern!r}; there are {layers}")
        left |= dict.fromkeys(named, "dense")
    frozen = {name: "frozen" for name, weight in weights.items() if not weight.requires_grad}
    others = {
        id(parameter)
        for module in model.modules()
        if not is_layer(module)
        for parameter in module.parameters(recurse=False)
    }
    tied = {name: "tied" for name, weight in weights.items() if id(weight) in others}
    left = left | tied | frozen
    if len(left) == len(weights):
        raise ValueError(
            "nothing is left to prune: all layers are dense, tied to layers that are never pruned,"
            " or frozen, requires_grad being False"
        )
    return left


def first_masks(model: nn.Module, dense: tuple[str, ...], stacklevel: int) -> Masks:
    """Return masks that keep all weights of a network but its exact zeros, and warn if it has any.

    Args:
        model, dense: as for `spared`. Layers that stay dense, or are tied, are kept whole: a zero
            row of padding is no pruning. A frozen layer keeps its zeros.
        stacklevel: of the warning, as `warnings.warn` counts.

    Raises:
        ValueError: as for `spared`.

    >>> net = nn.Linear(2, 1)
    >>> first_masks(net, (), 2)["weight"].all().item()
    True
    """
    masks = found(model)
    for name, why in spared(model, dense).items():
        masks[name] = masks[name] | (why != "frozen")
    if density(masks) < 1:
        warnings.warn(
            f"the network came in sparse, density {density(masks):.4f}: pruning goes on from its"
            " zeros; give masks=masks.full_masks(model) to start dense",
            stacklevel=stacklevel,
        )
    return masks


def next_masks(
    model: nn.Module,
    masks: Masks,
    config: Config,
    batch: Batch | None = None,
    loss: Loss = nn.functional.cross_entropy,
) -> Masks:
    """Return the masks that pruning now would give.

    Source: the fixed fraction of arXiv:1803.03635, or SAP's, arXiv:2302.05601.

    Args:
        model: the network whose weights are ranked.
        masks: the current masks.
        config: score, amount, fraction, scope, what stays dense, and SAP's parameters.
        batch: (inputs, targets), for scores that read one.
        loss: called with the network's outputs and the targets, for scores that read it.

    Raises:
        ValueError: as for `masks.keep_best` and `spared`, or a score that gives no such tensors.

    >>> from infcop_lite.masks import full_masks
    >>> model = nn.Linear(10, 1)
    >>> int(next_masks(model, full_masks(model), Config(fraction=0.3))["weight"].sum())
    7
    """
    c, left = config, spared(model, config.dense)
    score = SCORES[c.score] if isinstance(c.score, str) else c.score
    masks = {name: masks[name] for name in check_masks(model, masks)}
    scores = {name: value.detach() for name, value in score(model, masks, batch, loss).items()}
    free = {name: mask for name, mask in masks.items() if name not in left}
    if c.amount == "fixed":
        fractions: Fractions = fixed_fractions(c.fraction, free)
    else:
        parameters = (c.p, c.q, c.eta, c.gamma, c.beta)
        fractions = sap_fractions({k: scores[k] for k in free}, free, c.scope, *parameters)
    each = fractions if isinstance(fractions, dict) else dict.fromkeys(free, fractions)
    most = _most(masks, free, config)
    capped = {name: min(fraction, most) for name, fraction in each.items()}
    return keep_best(scores, masks, dict.fromkeys(masks, 0.0) | capped, c.scope)


def _is_called(name: str, pattern: str) -> bool:
    """Say whether the layer of a weight has that name, or one like that pattern."""
    return fnmatchcase(name.removesuffix(".weight"), pattern)


def fixed_fractions(
    fraction: float | Mapping[str, float], names: Iterable[str]
) -> dict[str, float]:
    """Return the fixed fraction of each weight, that of the first pattern it matches, or 0.

    Args:
        fraction: for all, or name of a module or pattern of `fnmatch` -> fraction.
        names: of the weights that are pruned.

    Raises:
        ValueError: a pattern that none of them has.

    >>> fixed_fractions({"a": 0.5}, ["a.weight", "b.weight"])
    {'a.weight': 0.5, 'b.weight': 0.0}
    """
    names = list(names)
    if not isinstance(fraction, Mapping):
        return dict.fromkeys(names, fraction)
    for pattern in fraction:
        if not any(_is_called(name, pattern) for name in names):
            raise ValueError(f"fraction: no layer that is pruned is called {pattern!r}")
    return {
        name: next((x for pattern, x in fraction.items() if _is_called(name, pattern)), 0.0)
        for name in names
    }


def _most(masks: Masks, free: Masks, config: Config) -> float:
    """Return the largest fraction of what is pruned that the final density allows."""
    if config.final_density is None:
        return 1.0
    most = 1 - min(1.0, config.final_density / max(density(masks), 1e-12))
    kept, pruned = (sum(int(mask.sum()) for mask in part.values()) for part in (masks, free))
    return most * (kept / pruned if pruned else 0.0)


def check_final_density(model: nn.Module, config: Config) -> None:
    """See that the final density can be reached with what is spared.

    Raises:
        ValueError: it cannot; the message says how low it may be.

    >>> check_final_density(nn.Linear(2, 2), Config(final_density=0.5))
    """
    weights, left = prunable(model), spared(model, config.dense)
    total = sum(weight.numel() for weight in weights.values())
    least = sum(weights[name].numel() for name in left) / total
    if config.final_density is not None and config.final_density <= least:
        names = ", ".join(name.removesuffix(".weight") for name in left)
        raise ValueError(
            f"final_density {config.final_density} cannot be reached: {names} stay dense, which is"
            f" {least:.4f} of the weights"
        )


def is_sparse_enough(masks: Masks, config: Config) -> bool:
    """Say whether the final density is reached, to within one weight per layer.

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

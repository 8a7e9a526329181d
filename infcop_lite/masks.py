"""Which weights exist: boolean masks, what is kept of a ranking, rewinding.

A mask is a boolean tensor of its weight's shape; True means *kept*. Masks travel as a dict from
parameter name to mask, in module order.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from . import _moved
from .layers import check_shaped, is_layer, remedy
from .limits import is_number, shown

Masks = dict[str, Tensor]

SCOPES = ("layerwise", "global")


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that pruning may remove: those of every Conv and Linear module.

    Source: Frankle & Carbin 2019, arXiv:1803.03635 (biases and normalisation are never pruned).
    The Conv1D of transformers, in GPT-2, is a linear layer, too; see `layers.is_layer`.

    Args:
        model: any module; a weight shared by two modules is listed once.

    Returns:
        Parameter name -> weight, in module order. Every weight has at least two dimensions.

    Raises:
        ValueError: the model has no Conv or Linear weights, a lazy module that has no shape yet, or
            an empty weight. A weight is computed from other parameters, as torch.nn.utils.prune,
            weight_norm and spectral_norm do; the message says what undoes it.

    >>> list(prunable(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    ['0.weight', '2.weight']
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be a torch module, not {type(model).__name__}")
    weights: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        check_shaped(module, module_name)
        if not is_layer(module):
            continue
        weight, name = module.weight, f"{module_name}.weight".lstrip(".")
        if not isinstance(weight, nn.Parameter):
            raise ValueError(f"{name} is computed, not a parameter: first call {remedy(module)}")
        if weight.numel() == 0:
            raise ValueError(f"{name} is empty: a layer needs inputs and units")
        if id(weight) not in seen:
            seen.add(id(weight))
            weights[name] = weight
    if not weights:
        raise ValueError(
            f"{type(model).__name__} has no Conv or Linear weights to prune; embeddings, recurrent"
            " layers and bare parameters stay dense"
        )
    return weights


def full_masks(model: nn.Module) -> Masks:
    """Return the masks of the dense network: everything kept.

    Source: level 0 of iterative magnitude pruning.

    Args:
        model: a module with prunable weights.

    Returns:
        Parameter name -> boolean tensor of the weight's shape and device, all True.

    >>> full_masks(nn.Linear(2, 1))
    {'weight': tensor([[True, True]])}
    """
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable(model).items()}


def keep_best(
    scores: Mapping[str, Tensor],
    masks: Masks,
    fraction: float | Mapping[str, float],
    scope: str = "layerwise",
) -> Masks:
    """Remove the surviving weights of lowest score and return the new masks.

    Exactly ``round(fraction * remaining)`` weights go, in each layer or over all layers pooled; of
    equal scores the one with the smaller index goes first.

    Args:
        scores: parameter name -> tensor of the weight's shape, finite where a weight survives.
        masks: the current masks; what they removed stays removed.
        fraction: the pruning fraction of what remains, in [0, 1); or a mapping from parameter name
            to a fraction of its own. In global scope those named must be equal but for zeros: a
            layer with 0 is left out of the pool.
        scope: "layerwise" (each layer loses its fraction) or "global" (one threshold for all).

    Returns:
        New masks, each a subset of the old one.

    Raises:
        ValueError: a fraction outside [0, 1), an unknown scope, scores that do not fit the masks,
            or one of a surviving weight that is NaN or infinite.

    Note:
        The reference code compares with a quantile and a strict "<", which removes
        ceil(fraction * (k - 1)) of k weights (T6.3). A global threshold may empty a whole layer
        (T6.4); nothing here prevents it.

    >>> scores = {"weight": torch.tensor([[3.0, 1.0, 2.0, 4.0]])}
    >>> keep_best(scores, {"weight": torch.ones(1, 4, dtype=torch.bool)}, 0.5)["weight"]
    tensor([[ True, False, False,  True]])
    """
    if not isinstance(scope, str) or scope not in SCOPES:
        raise ValueError(f"unknown scope {shown(scope)}; choose from {', '.join(SCOPES)}")
    _check_boolean(masks)
    if not isinstance(scores, Mapping) or not all(isinstance(s, Tensor) for s in scores.values()):
        raise ValueError("the scores must be a dict of tensors, one for each mask")
    if {k: s.shape for k, s in scores.items()} != {k: m.shape for k, m in masks.items()}:
        raise ValueError("the scores must be tensors like the masks, one for each, and no others")
    alive = {name: scores[name][masks[name]] for name in masks}
    for name, score in alive.items():
        if not torch.isfinite(score).all():
            raise ValueError(f"{name} holds weights that are NaN or infinite, or scores that are")
    fractions = fraction if isinstance(fraction, Mapping) else dict.fromkeys(masks, fraction)
    if set(fractions) != set(masks):
        raise ValueError("the fractions must name every prunable weight, and nothing else")
    for share in fractions.values():
        if not is_number(share) or not 0 <= share < 1:
            raise ValueError(f"fraction must be in [0, 1), not {shown(share)}")
    if scope == "layerwise":
        pieces = {name: _keep_largest(score, fractions[name]) for name, score in alive.items()}
    else:
        pooled = {name: score for name, score in alive.items() if fractions[name] != 0}
        shares = {fractions[name] for name in pooled}
        if len(shares) > 1:
            raise ValueError("global scope takes one fraction, not one per layer")
        pieces = {name: torch.ones_like(score, dtype=torch.bool) for name, score in alive.items()}
        if pooled:
            kept = _keep_largest(torch.cat(list(pooled.values())), shares.pop())
            sizes = [len(score) for score in pooled.values()]
            pieces.update(zip(pooled, kept.split(sizes), strict=True))
    return {name: masks[name].masked_scatter(masks[name], pieces[name]) for name in masks}


def magnitude_masks(
    model: nn.Module, masks: Masks, fraction: float | Mapping[str, float], scope: str = "layerwise"
) -> Masks:
    """Remove the smallest surviving weights and return the new masks; the model is not touched.

    Source: magnitude pruning, Han et al. 2015, arXiv:1506.02626; optimal for the weights by T6.1.

    Args:
        model: a module with prunable weights, all finite.
        masks, fraction, scope: as for `keep_best`.

    Returns:
        New masks, each a subset of the old one.

    Raises:
        ValueError: as for `keep_best`, or masks that do not fit the model.

    >>> model = nn.Linear(4, 1)
    >>> _ = model.weight.data.copy_(torch.tensor([[3.0, -1.0, 2.0, -4.0]]))
    >>> magnitude_masks(model, full_masks(model), 0.5)["weight"]
    tensor([[ True, False, False,  True]])
    """
    weights = check_masks(model, masks)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    return keep_best(scores, {name: masks[name] for name in weights}, fraction, scope)


def _keep_largest(scores: Tensor, fraction: float) -> Tensor:
    """Return a boolean (survivor,): all but the round(fraction * survivors) smallest scores."""
    num_removed = round(fraction * len(scores))
    if num_removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(num_removed).values
    keep = scores >= threshold
    ties = (scores == threshold).nonzero().flatten()
    keep[ties[: num_removed - int((~keep).sum())]] = False
    return keep


def from_zeros(model: nn.Module) -> Masks:
    """Return the masks of an already sparse network: what is exactly zero is removed.

    Args:
        model: a module with prunable weights.

    >>> model = nn.Linear(2, 1); _ = model.weight.data.copy_(torch.tensor([[0.0, 2.0]]))
    >>> from_zeros(model)
    {'weight': tensor([[False,  True]])}
    """
    return {name: weight.detach() != 0 for name, weight in prunable(model).items()}


#: A layer with this share of exact zeros has been pruned, for initial weights have none.
SPARSE = 0.01


def found(model: nn.Module) -> Masks:
    """Return the masks that a network comes in with, as far as its zeros tell.

    Source: ours. Random initial weights hold next to no exact zero, in any precision.

    Args:
        model: a module with prunable weights.

    Returns:
        The zeros of every layer that has at least `SPARSE` of them, all True for others. A layer of
        nothing but zeros may be an initialisation: it counts as pruned where another layer is.

    >>> model = nn.Sequential(nn.Linear(9, 2), nn.Linear(2, 2)); _ = model[1].weight.data.zero_()
    >>> density(found(model))
    1.0
    """
    return of_zeros(prunable(model))


def of_zeros(weights: Mapping[str, Tensor]) -> Masks:
    """Return what the zeros of some weights tell, as `found` does of a network.

    >>> of_zeros({"a": torch.tensor([0.0, 1.0]), "b": torch.zeros(1), "c": torch.ones(1)})
    {'a': tensor([False,  True]), 'b': tensor([False]), 'c': tensor([True])}
    """
    zeros = {name: weight.detach() != 0 for name, weight in weights.items()}
    shares = {name: 1 - int(mask.sum()) / mask.numel() for name, mask in zeros.items()}
    is_pruned = any(SPARSE <= share < 1 for share in shares.values())
    return {k: mask | (not is_pruned or shares[k] < SPARSE) for k, mask in zeros.items()}


def dead(masks: Masks) -> list[str]:
    """Return the names of layers that have no weight left.

    >>> dead({"a.weight": torch.tensor([False, False]), "b.weight": torch.tensor([True])})
    ['a']
    """
    _check_boolean(masks)
    return [name.removesuffix(".weight") for name, mask in masks.items() if not mask.any()]


def n_of_m(scores: Mapping[str, Tensor], n: int = 2, m: int = 4) -> Masks:
    """Return masks that keep the n best of every m neighbours along the inputs of a unit.

    Source: 2:4 sparsity, Mishra et al. 2021, arXiv:2104.08378: what sparse tensor cores run.

    Args:
        scores: parameter name -> tensor (unit, input, ...) of the weight's shape; that of a removed
            weight may be 0. Neighbours are inputs that follow one another: of a convolution, input
            channels at one place of the kernel.
        n, m: 1 <= n <= m.

    Returns:
        Parameter name -> mask. A layer whose inputs do not divide by m stays dense, such as a first
        convolution on three colours.

    Raises:
        ValueError: n or m out of range, or scores that are NaN or no such tensors.

    Note:
        Transposed convolutions, and the Conv1D of transformers, have weights (input, unit, ...):
        leave them out, and keep them whole by ``masks.full_masks(model) | masks.n_of_m(scores)``.

    >>> n_of_m({"weight": torch.tensor([[3.0, 1.0, 2.0, 4.0]])})["weight"]
    tensor([[ True, False, False,  True]])
    """
    if type(n) is not int or type(m) is not int or not 1 <= n <= m:
        raise ValueError(f"n of m needs 1 <= n <= m, not {shown(n)} of {shown(m)}")
    kept: Masks = {}
    if not isinstance(scores, Mapping):
        raise ValueError(f"the scores must be a dict of tensors, not {type(scores).__name__}")
    for name, score in scores.items():
        if not isinstance(score, Tensor) or score.dim() < 2 or score.isnan().any():
            raise ValueError(f"the scores of {name} are NaN, or not (unit, input, ...)")
        kept[name] = torch.ones_like(score, dtype=torch.bool)
        if score.shape[1] % m == 0:
            rows = score.movedim(1, -1)
            groups = rows.reshape(-1, m)
            best = groups.argsort(dim=1, descending=True, stable=True)[:, :n]
            mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True)
            kept[name] = mask.reshape(rows.shape).movedim(-1, 1).contiguous()
    return kept


class Masked:
    """Holds the zeros of a network: call it after each optimiser step; one prepared multiply.

    Source: multiplying by 0 and 1 is many times faster than filling by a boolean mask.

    Args:
        model: the network.
        masks: parameter name -> boolean tensor, True = kept; a layer that keeps all costs nothing.

    Raises:
        ValueError: masks that do not fit the model.

    Note:
        A parameter that was replaced, or moved to another device or precision, is noticed.

    >>> model = nn.Linear(2, 1); hold = Masked(model, {"weight": torch.tensor([[True, False]])})
    >>> _ = model.weight.data.fill_(3.0); hold(); model.weight.tolist()
    [[3.0, 0.0]]
    """

    def __init__(self, model: nn.Module, masks: Masks) -> None:
        self.masks = {name: masks[name] for name in check_masks(model, masks)}
        names = [name for name, mask in self.masks.items() if not mask.all()]
        self.names = names
        self.modules = [model.get_submodule(name.rpartition(".")[0]) for name in names]
        self.kept = list[Tensor]()

    @torch.no_grad()
    def __call__(self) -> None:
        """Set every removed weight to zero, in place."""
        if self.names:
            torch._foreach_mul_(self._prepared(), self.kept)

    @torch.no_grad()
    def settle(self) -> None:
        """Turn zeros that a multiplication has left negative into plain ones."""
        if self.names:
            torch._foreach_add_(self._prepared(), 0.0)

    def _prepared(self) -> list[Tensor]:
        now: list[Tensor] = [module.get_parameter("weight") for module in self.modules]
        same = len(now) == len(self.kept) and all(
            w.device == k.device and w.dtype == k.dtype and w.stride() == k.stride()
            for w, k in zip(now, self.kept, strict=True)
        )
        if not same:
            masks = (self.masks[name] for name in self.names)
            self.kept = [torch.empty_like(w).copy_(m) for w, m in zip(now, masks, strict=True)]
        return now


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set every removed weight to exactly zero, in place.

    Source: masked training; calling it after each optimiser step keeps weights pruned under
    momentum, Adam and weight decay alike.

    Args:
        model: the network, changed in place.
        masks: parameter name -> boolean tensor, one for every prunable weight.

    Raises:
        ValueError: masks missing, extra, of another shape, or not boolean.

    >>> model = nn.Linear(2, 1)
    >>> apply_masks(model, {"weight": torch.tensor([[True, False]])})
    >>> model.weight[0, 1].item()
    0.0
    """
    for name, weight in check_masks(model, masks).items():
        weight.masked_fill_(~masks[name], 0.0)


def rewind(model: nn.Module, state: Mapping[str, Tensor], masks: Masks) -> None:
    """Return the surviving weights, and everything else, to a saved state.

    Source: Frankle et al. 2020, arXiv:1912.05671; why everything must be rewound: T5.5.

    Args:
        model: the network, changed in place.
        state: a copy of ``model.state_dict()``; it is read, never aliased.
        masks: applied after loading.

    Raises:
        ValueError: the state does not fit the model, or masks as for `apply_masks`.

    Note:
        The reference code rewinds only Conv and Linear weights: its biases alias the saved state,
        and batch-norm statistics keep training.

    >>> model = nn.Linear(2, 1); state = {k: v.clone() for k, v in model.state_dict().items()}
    >>> _ = model.bias.data.add_(1)
    >>> rewind(model, state, full_masks(model)); bool(model.bias == state["bias"])
    True
    """
    check_masks(model, masks)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the saved state does not fit the model: {reason}") from None
    apply_masks(model, masks)


def density(masks: Masks) -> float:
    """Return the fraction of prunable weights that is kept, in [0, 1].

    Source: 1 - sparsity; over prunable weights only.

    Args:
        masks: parameter name -> boolean tensor.

    Raises:
        ValueError: no masks, or only empty ones.

    >>> density({"a": torch.tensor([True, False]), "b": torch.tensor([True, True])})
    0.75
    """
    _check_boolean(masks)
    if not masks:
        raise ValueError("density of no masks is not defined")
    kept = sum(int(mask.sum()) for mask in masks.values())
    total = sum(mask.numel() for mask in masks.values())
    if total == 0:
        raise ValueError("density of empty masks is not defined")
    return kept / total


def mask_distance(masks: Masks, others: Masks, alive: Masks | None = None) -> float:
    """Return the fraction of weights on whose fate two masks differ, in [0, 1].

    Source: the normalised Hamming distance of early-bird tickets, You et al. 2020,
    arXiv:1909.11957.

    Args:
        masks, others: parameter name -> boolean tensor, of one network.
        alive: the weights that count; all of them unless given.

    Raises:
        ValueError: masks of different networks, or not boolean.

    >>> a, b = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    >>> mask_distance({"weight": a}, {"weight": b})
    0.5
    """
    counted = masks if alive is None else alive
    _check_boolean(masks, others, counted)
    shapes = {k: m.shape for k, m in masks.items()}
    if any({k: m.shape for k, m in of.items()} != shapes for of in (others, counted)):
        raise ValueError("masks of different networks have no distance")
    differ = {name: masks[name] ^ others[name] for name in masks}
    if alive is None:
        num_weights = sum(mask.numel() for mask in masks.values())
    else:
        differ = {name: mask & alive[name] for name, mask in differ.items()}
        num_weights = sum(int(mask.sum()) for mask in alive.values())
    return sum(int(mask.sum()) for mask in differ.values()) / max(1, num_weights)


def _check_boolean(*several: Masks) -> None:
    for masks in several:
        if not isinstance(masks, Mapping):
            raise ValueError(f"masks must be a dict of tensors, not {type(masks).__name__}")
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                raise ValueError(f"masks must be boolean tensors; that of {name} is not")


def check_masks(model: nn.Module, masks: Masks) -> dict[str, nn.Parameter]:
    """Return the prunable weights, after making sure that the masks fit them.

    Every function that takes masks calls this first.

    Args:
        model: a module with prunable weights.
        masks: parameter name -> boolean tensor.

    Raises:
        ValueError: masks missing, extra, of another shape, or not boolean.

    >>> list(check_masks(nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])}))
    ['weight']
    """
    weights = prunable(model)
    if not isinstance(masks, Mapping):
        raise ValueError(f"masks must be a dict of tensors, not {type(masks).__name__}")
    if set(masks) != set(weights):
        odd = ", ".join(sorted(map(str, set(masks) ^ set(weights))))
        way_out = "{**masks.full_masks(model), **yours} keeps whole what yours does not name"
        hint = "" if set(masks) - set(weights) else f"; {way_out}"
        raise ValueError(f"masks do not fit the model: missing or extra {odd}{hint}")
    for name, weight in weights.items():
        if not isinstance(masks[name], Tensor):
            raise ValueError(f"mask of {name} must be a tensor, not {type(masks[name]).__name__}")
        if masks[name].dtype != torch.bool or masks[name].shape != weight.shape:
            raise ValueError(
                f"mask of {name} must be boolean of shape {tuple(weight.shape)}, "
                f"not {masks[name].dtype} of shape {tuple(masks[name].shape)}"
            )
    return weights


__getattr__ = _moved.lookup("masks", _moved.NAMES["masks"])

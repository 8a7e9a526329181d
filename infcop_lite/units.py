"""Masks of whole input or output channels and neurons, through skip connections.

Masks remove a unit together with the weights that make it, in every layer that shares it, and the
weights that read it. Levels, stop rules and rewinding then work as for any masks, and outputs stay
the same when `shrink` cuts these zeros out. Torch-Pruning finds the weights that belong together.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .batches import moved
from .coupling import Group, cut, difference, find_groups, round_off
from .level import Start
from .linking import Units, num_units
from .masks import Masks, apply_masks, check_masks, full_masks, prunable
from .pruning import Pruned, prune

NONE = 1e-12  # of the weights one by one: rounded, no weight of any layer
#: What ranks or counts single weights.
SINGLE = ("score", "scope", "amount", "p", "q", "eta", "gamma", "beta", "final_density")


def unit_masks(
    groups: Iterable[Group], masks: Masks, weights: Mapping[str, Tensor], fraction: float
) -> Masks:
    """Return masks without a fraction of the units that each group has left, the smallest.

    Source: the group norm of DepGraph, arXiv:2301.12900: the root of the sum of squares of all
    weights that make or read a unit.

    Args:
        groups: what `find_groups` returns; those that say why stay whole.
        masks: parameter name -> boolean tensor, one for every prunable weight.
        weights: parameter name -> weight; a state dict will do.
        fraction: in (0, 1). Exactly ``round(fraction * remaining)`` units go, never the last.

    Raises:
        ValueError: a fraction outside (0, 1), or a weight that is not finite.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> groups = find_groups(net, torch.ones(1, 2))
    >>> kept = unit_masks(groups, full_masks(net), net.state_dict(), 0.25)
    >>> {name: int(mask.sum()) for name, mask in kept.items()}
    {'0.weight': 6, '2.weight': 3}
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be in (0, 1), not {fraction}")
    for group in groups:
        if group.why:
            continue
        alive = group.alive(masks)
        held = {name: weights[name] * masks[name] for name, _, _ in group.where}
        norms = torch.stack([row.square().sum(1) for row in group.rows(held)]).sum(0)
        if not norms.isfinite().all():
            raise ValueError(f"{group.layers[0]} holds weights that are NaN or infinite")
        num_alive = int(alive.sum())
        num_gone = min(round(fraction * num_alive), num_alive - 1)
        order = norms.masked_fill(~alive, torch.inf).argsort(stable=True)
        masks = group.without(masks, order[: max(num_gone, 0)])
    return masks


@dataclass(frozen=True)
class WholeUnits:
    """A ``rewind`` for `Config`, `prune` and `Pruner` that removes whole units at each level."""

    fraction: float
    dense: tuple[str, ...]
    rewind: str
    groups: tuple[Group, ...] = field(repr=False)

    def __call__(
        self, level: int, snapshot: Mapping[str, Any], weights: Mapping[str, Any], masks: Masks
    ) -> Start:
        """Return the next level's start: fewer units, and the snapshot's weights or those now."""
        kept = unit_masks(self.groups, masks, weights, self.fraction)
        return Start(level, kept, snapshot if self.rewind == "weights" else weights)


def whole_units(
    model: nn.Module,
    example: Any,
    fraction: float = 0.2,
    dense: Sequence[str] = (),
    rewind: str = "weights",
) -> dict[str, Any]:
    """Return the settings with which `prune` or `Pruner` takes out whole units, level by level.

    Args:
        model, example, dense: as for `find_groups`.
        fraction: the fraction of each group's remaining units that a level removes, in (0, 1).
        rewind: "weights" for those of the snapshot, or "none" for the present ones.

    Raises:
        ValueError: as for `find_groups`, or no units that can go.

    Note:
        Rules that read the next mask read the mask of single weights, which means nothing here.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> from infcop_lite import Pruner
    >>> pruner = Pruner(net, **whole_units(net, torch.ones(1, 2), fraction=0.5))
    >>> pruner.snapshot(); pruner.next_level(), pruner.density
    (True, 0.5)
    >>> shrink(net, pruner.masks, torch.ones(1, 2))[0].out_features
    2
    """
    if rewind not in ("weights", "none"):
        raise ValueError(f"rewind must be weights or none, not {rewind!r}")
    groups = find_groups(model, example, dense)
    if all(group.why for group in groups):
        why = "; ".join(f"{group.layers[0]}: {group.why}" for group in groups)
        raise ValueError(f"{type(model).__name__} has no units that can go ({why})")
    start = WholeUnits(fraction, tuple(dense), rewind, tuple(groups))
    unit_masks(groups, full_masks(model), prunable(model), fraction)  # refuses now, not later
    return {"fraction": NONE, "dense": tuple(dense), "rewind": start}


def shrink(model: nn.Module, masks: Masks, example: Any) -> nn.Module:
    """Return the network without the units that have no weights left; the model is not touched.

    Source: Torch-Pruning cuts. The outputs are compared with those of the masked network.

    Args:
        model: of any class, which stays its class; what trains and in which mode stays, too.
        masks: parameter name -> boolean tensor, one for every prunable weight.
        example: as for `find_groups`.

    Raises:
        ValueError: masks that do not fit, Torch-Pruning is missing or cannot follow the network, or
            the outputs on the example would not be the same.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> masks = {"0.weight": torch.ones(4, 2).bool(), "2.weight": torch.ones(3, 4).bool()}
    >>> masks["0.weight"][1], masks["2.weight"][:, 1] = False, False
    >>> shrink(net, masks, torch.ones(1, 2))[0].out_features
    3
    """
    check_masks(model, masks)
    masked, names = copy.deepcopy(model), dict(model.named_parameters())
    apply_masks(masked, masks)
    small = copy.deepcopy(masked)
    dead = []
    for group in find_groups(model, example):
        alive = group.alive(masks) if not group.why else torch.ones(1, dtype=torch.bool)
        if not alive.any():
            alive[0] = True  # torch has no layers without units
        dead.append((group, (~alive).nonzero().flatten()))
    cut(small, dead, example)
    change = difference(masked.eval(), small.eval(), example)
    if not change <= round_off(model):
        raise ValueError(
            f"{type(model).__name__} cannot be shrunk: its outputs would change by {change:.1g}"
            " of the largest"
        )
    for module, original in zip(small.modules(), model.modules(), strict=True):
        module.training = original.training
    for name, parameter in small.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(names[name].requires_grad)
    return small


@dataclass(frozen=True)
class Smaller:
    """A network with fewer units, and how it came about.

    Args:
        model: the smaller network, of the class of the one that was given.
        pruned: the run: the same network at full size, its masks, its rows.
        report: layer -> units before, units after, why.
    """

    model: nn.Module
    pruned: Pruned
    report: dict[str, Units]

    @property
    def num_parameters(self) -> tuple[int, int]:
        """All parameters, biases and norms too, before and after."""
        before, after = (
            sum(parameter.numel() for parameter in model.parameters())
            for model in (self.pruned.model, self.model)
        )
        return before, after

    def summary(self) -> str:
        """Return what came out and what it cost, one line each."""
        before, after = self.num_parameters
        units = "; ".join(
            f"{name} {u.before} -> {u.after}" + (f" ({u.why})" if u.why else "")
            for name, u in self.report.items()
        )
        whole = f"parameters: {before:,} -> {after:,}, {after / before:.4f} of them\nunits: {units}"
        return f"{self.pruned.summary()}\n{whole}"


def prune_units(
    model: nn.Module,
    train: Any,
    validation: Any,
    test: Any = None,
    *,
    example: Any,
    fraction: float = 0.2,
    dense: Sequence[str] = (),
    rewind: str = "weights",
    **config: Any,
) -> Smaller:
    """Prune whole units, level by level as `prune` does, and return the smaller network.

    Args:
        model, train, validation, test: as for `prune`.
        example, fraction, dense, rewind: as for `whole_units`.
        **config: as for `prune`: the same levels, stop rules and folder. What ranks or counts
            single weights, `SINGLE`, is refused.

    Raises:
        ValueError: as for `prune`, `whole_units` and `shrink`.

    >>> x = torch.randn(64, 4); data = x, (x[:, 0] > 0).long()
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> found = prune_units(net, data, data, example=x[:2], levels=2, fraction=0.5, epochs=1)
    >>> found.model[0].out_features, found.num_parameters, found.report["0"][:2]
    (2, (58, 16), (8, 2))
    """
    stop = config.get("stop", "")
    reads = stop.split("+") if isinstance(stop, str) else getattr(stop, "reads", ())
    for name in (*SINGLE, *(["stop='mask'"] if "mask" in reads else [])):
        if name in config or "=" in name:
            raise ValueError(f"{name} is of single weights; units go by fraction, levels and norm")
    settings = whole_units(model, example, fraction, dense, rewind)
    pruned = prune(model, train, validation, test, **settings, **config)
    example = moved(example, next(pruned.model.parameters()).device)
    small, report = shrink(pruned.model, pruned.masks, example), dict[str, Units]()
    why = {name: group.why for group in settings["rewind"].groups for name in group.layers}
    for name, layer in model.named_modules():
        if name in why:
            report[name] = Units(num_units(layer), num_units(small.get_submodule(name)), why[name])
    return Smaller(small, pruned, report)

"""Which units must go together because a skip connection adds them up.

Torch-Pruning finds them in a pass over an example. What it finds is tried on a copy before it is
believed.
"""

import copy
import importlib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from .amounts import spared
from .batches import call
from .layers import copied
from .masks import Masks, apply_masks, full_masks, prunable

_CONV = nn.modules.conv._ConvNd
_TURNED = nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True, eq=False)
class Group:
    """Units that several layers share, as those do whose outputs a skip connection adds up.

    Args:
        layers: names of those that make them; the first is where Torch-Pruning cuts.
        where: (parameter name, axis, indices (unit, ...)): the weights of each unit that can go.
        why: the reason why they stay, or "".
    """

    layers: tuple[str, ...]
    where: tuple[tuple[str, int, Tensor], ...] = field(repr=False)
    why: str = ""

    def rows(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the entries of each unit, (unit, entry), in every tensor that has some."""
        turned = [(tensors[name].detach().movedim(axis, 0), at) for name, axis, at in self.where]
        return [tensor[at.to(tensor.device)].flatten(1) for tensor, at in turned]

    def alive(self, masks: Masks) -> Tensor:
        """Return a boolean (unit,) that says which units have any weights left."""
        return torch.stack([kept.any(1) for kept in self.rows(masks)]).any(0)

    def without(self, masks: Masks, units: Tensor) -> Masks:
        """Return masks in which these units have no weights."""
        found = dict(masks)
        for name, axis, at in self.where:
            found[name] = found[name].clone()
            found[name].movedim(axis, 0)[at[units.cpu()].flatten()] = False
        return found


def find_groups(model: nn.Module, example: Any, dense: Sequence[str] = ()) -> list[Group]:
    """Return which units can only go together, and those that cannot go, with the reason.

    Source: DepGraph, Fang et al. 2023, arXiv:2301.12900, by its authors' package Torch-Pruning.
    The test is ours: half of a group's units are cut out of a copy with random weights, and it must
    compute what their masks make it compute. So units that a norm averages over, that a forward
    pass counts, or that are the output, stay.

    Args:
        model: any module with Conv or Linear weights; not touched.
        example: inputs on its device: a tensor, a tuple of arguments, or a dict by name.
        dense: layers whose units all stay, as in `Config`; so do those of frozen and tied layers.
            The inputs of a layer go with the units that it reads, all the same.

    Raises:
        ValueError: Torch-Pruning is missing or cannot follow the network, in one line.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> [(group.layers, group.why) for group in find_groups(net, torch.ones(1, 2))]
    [(('0',), ''), (('2',), 'its units are the output')]
    """
    held, twin = spared(model, tuple(dense)), _random_twin(model)
    graph = _graph(twin, example)
    types = nn.Linear, *_CONV.__subclasses__(), *_TURNED.__subclasses__()
    groups = [_group(graph, found, held) for found in graph.get_all_groups(root_module_types=types)]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    groups.sort(key=lambda group: min(order[layer] for layer in group.layers))
    free = [group for group in groups if not group.why]
    if _can_go(twin, free, example):
        return groups
    odd = [group for group in free if not _can_go(twin, [group], example)]
    why = "without some of them the network would compute something else, or nothing"
    return [replace(group, why=why) if group in odd else group for group in groups]


def _group(graph: Any, found: Any, held: Mapping[str, str]) -> Group:
    """Return a group of Torch-Pruning's as one of ours."""
    weights, num_units = prunable(graph.model), len(found[0].idxs)
    owners = Counter(id(p) for m in graph.model.modules() for p in m._parameters.values())
    layers, where = [], []
    reasons = ["it has only one"] if num_units == 1 else []
    for item in found:
        layer, makes = item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler)
        if makes and not item.dep.target.outputs:
            reasons.append("its units are the output")
        if not isinstance(layer, (nn.Linear, _CONV)):
            continue
        owner = graph._module2name[layer]
        name = f"{owner}.weight".lstrip(".")
        if makes:
            layers.append(owner)
            reasons += [f"{owner} is {held[name]}"] if name in held else []
        if owners[id(layer.weight)] > 1:
            reasons.append(f"{owner} shares its weight")
        axis = int(makes == isinstance(layer, _TURNED))
        if isinstance(layer, _CONV) and layer.groups > 1:
            axis = 0
            if not layer.groups == layer.in_channels == layer.out_channels:
                reasons.append(f"{owner} is grouped")
        at = [list[int]() for _ in range(num_units)]
        for position, unit in zip(item.idxs, item.root_idxs, strict=True):
            at[unit].append(position)
        if len({len(some) for some in at}) > 1 or name not in weights:
            reasons.append(f"Torch-Pruning gives them no equal parts of {name}")
        else:
            where.append((name, axis, torch.tensor(at)))
    return Group(tuple(layers), () if reasons else tuple(where), next(iter(reasons), ""))


def _graph(model: nn.Module, example: Any) -> Any:
    """Return Torch-Pruning's graph of a model, which is switched to gradients and to eval mode."""
    try:
        pruning = importlib.import_module("torch_pruning")
    except ImportError:
        raise ValueError("no package torch_pruning: pip install 'infcop-lite[units]'") from None
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pruning.DependencyGraph().build_dependency(
                model, example, call, _tensors, verbose=False
            )
    except Exception as error:  # whatever the forward pass or the package does not like
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"Torch-Pruning cannot follow {type(model).__name__}: {reason}") from error


def cut(model: nn.Module, dead: Iterable[tuple[Group, Tensor]], example: Any) -> None:
    """Take units out of a model, in place; it ends in eval mode, with all gradients switched on.

    Args:
        model: the network.
        dead: groups with the numbers of the units that go, never all of them.
        example: as for `find_groups`.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> cut(net, [(find_groups(net, torch.ones(1, 2))[0], torch.tensor([1]))], torch.ones(1, 2))
    >>> net[2]
    Linear(in_features=3, out_features=3, bias=True)
    """
    graph = _graph(model, example)
    for group, units in dead:
        if len(units):
            root = model.get_submodule(group.layers[0])
            how = graph.get_pruner_of_module(root).prune_out_channels
            graph.get_pruning_group(root, how, units.tolist()).prune()


def _can_go(twin: nn.Module, groups: Sequence[Group], example: Any) -> bool:
    """Say whether a network without half of the units of groups is the one that masks make."""
    masked, fewer, masks = copy.deepcopy(twin), copy.deepcopy(twin), full_masks(twin)
    dead, generator = [], torch.Generator().manual_seed(0)
    for group in groups:
        num_units = len(group.where[0][2])
        units = torch.randperm(num_units, generator=generator)[: num_units // 2]
        masks = group.without(masks, units)
        dead.append((group, units))
    apply_masks(masked, masks)
    try:
        cut(fewer, dead, example)
        return difference(masked, fewer.eval(), example) <= round_off(twin)
    except Exception:  # whatever a forward pass does that counts its units
        return False


def _random_twin(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode in which every weight matters, also what begins as zero."""
    twin, generator = copied(model).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.is_floating_point():
                values = torch.rand(parameter.shape, generator=generator) + 0.5
                if parameter.dim() > 1:
                    values = (2 * values - 2) * (3 / parameter[0].numel()) ** 0.5
                parameter.copy_(values)
    return twin


def _tensors(output: Any) -> list[Tensor]:
    """Return the tensors of numbers in whatever a network returns, in order."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        output = output.values()
    elif hasattr(output, "__dict__"):
        output = vars(output).values()
    elif not isinstance(output, (tuple, list)):
        return []
    return [tensor for part in output for tensor in _tensors(part)]


@torch.no_grad()
def difference(model: nn.Module, other: nn.Module, example: Any) -> float:
    """Return the largest difference of outputs, in units of the largest output.

    Args:
        model, other: what is compared.
        example: as for `find_groups`.

    >>> difference(nn.ReLU(), nn.Identity(), torch.tensor([-1.0, 2.0]))
    0.5
    """
    pairs = list(zip(*(_tensors(call(m, example)) for m in (model, other)), strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        return torch.inf
    largest = max((a.abs().max().item() for a, _ in pairs), default=0.0)
    return max(((a - b).abs().max().item() for a, b in pairs), default=0.0) / max(largest, 1e-30)


def round_off(model: nn.Module) -> float:
    """Return by how much, in units of the largest, equal outputs of a network may differ.

    >>> round_off(nn.Linear(2, 1))
    0.0001
    """
    precision = [torch.finfo(p.dtype).eps for p in model.parameters() if p.is_floating_point()]
    return max(1e-4, 4 * max(precision))

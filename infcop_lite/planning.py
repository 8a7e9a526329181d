"""Which layers will be pruned, which share of all parameters that is, and why not the others."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from .amounts import check_final_density, fixed_fractions, spared
from .config import Config
from .layers import is_layer
from .masks import Masks, check_masks, dead, found, prunable
from .placement import inner

#: What the masks pass over, and why.
PASSED_OVER: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.Embedding, nn.EmbeddingBag), "embeddings have no masks"),
    ((nn.RNNBase, nn.RNNCellBase), "recurrent layers have no masks"),
    ((nn.MultiheadAttention,), "in_proj has no mask; out_proj is a layer of its own"),
)
REASONS = {
    "dense": "dense, as was asked for",
    "frozen": "frozen, requires_grad is False",
    "tied": "tied to a layer that has no masks",
}


@dataclass(frozen=True)
class Part:
    """The parameters that a module holds itself, and what becomes of them.

    Args:
        name: of the module; empty for the network itself.
        kind: name of its class.
        num_parameters: its own; what several modules share counts for the first alone.
        num_prunable: how many of them levels may remove.
        num_kept: how many weights of its mask are kept at first; 0 if it has none.
        verdict: how much a level removes, or why nothing.
    """

    name: str
    kind: str
    num_parameters: int
    num_prunable: int
    num_kept: int
    verdict: str


@dataclass(frozen=True)
class Plan:
    """What `plan` returns; its text is a table with one line for each part.

    Args:
        parts: of the network, in module order.
    """

    parts: tuple[Part, ...]

    @property
    def num_parameters(self) -> int:
        """All parameters of the network."""
        return sum(part.num_parameters for part in self.parts)

    @property
    def num_prunable(self) -> int:
        """How many of them levels may remove."""
        return sum(part.num_prunable for part in self.parts)

    @property
    def share(self) -> float:
        """The fraction of all parameters that can be pruned, in [0, 1]."""
        return self.num_prunable / self.num_parameters

    @property
    def headline(self) -> str:
        """That share in one line."""
        return f"{_of(self.num_prunable, self.num_parameters)} can be pruned"

    def __str__(self) -> str:
        rows = [("layer", "kind", "parameters", "prunable", "what levels do")]
        for part in self.parts:
            numbers = f"{part.num_parameters:,}", f"{part.num_prunable:,}"
            rows.append((part.name or "the model", part.kind, *numbers, part.verdict))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [self.headline]
        for row in rows:
            cells = [
                f"{cell:{side}{w}}" for cell, side, w in zip(row, "<<>>", widths, strict=False)
            ]
            lines.append("  ".join([*cells, row[-1]]))
        return "\n".join(lines)


def plan(model: nn.Module, *, masks: Masks | None = None, **config: Any) -> Plan:
    """Say what will be pruned before anything is; nothing is changed.

    Args:
        model: the network for `pruning.prune` or `pruner.Pruner`. Of a module in a wrapper, such as
            DistributedDataParallel or torch.compile, the network inside is meant.
        masks: what is kept at first. Unless given, all weights but the zeros of a network that is
            already sparse, see `masks.found`.
        **config: the same settings: ``dense``, ``fraction``, ``scope`` and other fields of
            `Config`.

    Returns:
        A `Plan`, to be printed.

    Raises:
        ValueError: nothing to prune, a wrong value of a setting, masks that do not fit, or a final
            density that cannot be reached.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__(); self.lstm, self.head = nn.LSTM(4, 16), nn.Linear(16, 3)
    >>> print(plan(Net(), fraction=0.5))
    48 of 1,459 parameters (3 %) can be pruned
    layer  kind    parameters  prunable  what levels do
    lstm   LSTM         1,408         0  not pruned: recurrent layers have no masks
    head   Linear          51        48  each removes 0.5 of what remains
    """
    chosen, model = Config(**config), inner(model)
    check_final_density(model, chosen)
    return Plan(tuple(_parts(model, found(model) if masks is None else masks, chosen)))


def check_plan(model: nn.Module, config: Config, stacklevel: int = 3) -> None:
    """Check that a config can be followed, and warn if most parameters cannot be pruned.

    A density counts only weights that have masks. If these are few, it says little of the network.

    Args:
        model: the network.
        config: what stays dense, and how much a level removes.
        stacklevel: of the warning; 3 is the caller of whoever calls this.

    Raises:
        ValueError: nothing to prune, or a final density that cannot be reached.

    >>> check_plan(nn.Linear(2, 2), Config())
    """
    check_final_density(model, config)
    num_masked = sum(weight.numel() for weight in prunable(model).values())
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if num_masked < num_parameters / 2:
        warnings.warn(
            f"only {_of(num_masked, num_parameters)} have masks, and a density is of these:"
            " print(infcop_lite.plan(model)) says which and why",
            stacklevel=stacklevel,
        )


def what_is_left(model: nn.Module, masks: Masks) -> str:
    """Return the share of all parameters that is kept, and in a line of its own what layers died.

    Args:
        model: the network.
        masks: parameter name -> boolean tensor, True = kept.

    >>> masks = {"weight": nn.Linear(3, 1).weight > 9}
    >>> print(what_is_left(nn.Linear(3, 1), masks), end="")
    0.2500 of all 4 left
    layers without weights: the model
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    kept = total - sum(mask.numel() - int(mask.sum()) for mask in masks.values())
    names = ", ".join(name if name != "weight" else "the model" for name in dead(masks))
    died = f"layers without weights: {names}\n" if names else ""
    return f"{kept / total:.4f} of all {total:,} left\n{died}"


def _of(number: int, total: int) -> str:
    hundredth = 100 * number / total
    percent = f"{hundredth:.0f}" if hundredth >= 1 else f"{hundredth:.1g}"
    return f"{number:,} of {total:,} parameters ({percent} %)"


def _parts(model: nn.Module, masks: Masks, config: Config) -> Iterator[Part]:
    weights, left = check_masks(model, masks), spared(model, config.dense)
    names = {id(weight): name for name, weight in weights.items()}
    free = [name for name in weights if name not in left]
    each = fixed_fractions(config.fraction, free) if config.amount == "fixed" else {}
    seen = set[int]()
    for owner, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        name = next((names[id(p)] for p in own if id(p) in names), None)
        if name is None:
            num_prunable, num_kept, verdict = 0, 0, _passed_over(module)
        else:
            num_prunable, num_kept = weights[name].numel(), int(masks[name].sum())
            rest = "what remains" if num_kept == num_prunable else f"the {num_kept:,} that remain"
            share = each.get(name, "what SAP says")
            verdict = f"each removes {share} of {rest}"
            if name in left or share == 0:
                num_prunable = 0
                verdict = REASONS[left[name]] if name in left else "fraction does not name it"
        if own:
            kind, size = type(module).__name__, sum(p.numel() for p in own)
            verdict = verdict if num_prunable else f"not pruned: {verdict}"
            yield Part(owner, kind, size, num_prunable, num_kept, verdict)


def _passed_over(module: nn.Module) -> str:
    """Return why a module without a mask of its own has none."""
    if is_layer(module):
        return "its weight is that of a layer above"
    reasons = (why for kinds, why in PASSED_OVER if isinstance(module, kinds))
    is_flat = all(parameter.dim() < 2 for parameter in module.parameters(recurse=False))
    flat = "biases and scales have no masks"
    return next(reasons, flat if is_flat else "parameters of no Conv or Linear have no masks")

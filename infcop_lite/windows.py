"""What a mask has decided before its level is trained: tolerances met never, or at once (T7.12)."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .batches import take
from .flows import collect_activations
from .level import Trainer
from .masks import Masks
from .measured import Measured
from .stopping import FlowConsistency, Rule, consistencies

#: Modules that keep units apart, so that what is constant before them is constant after.
UNITWISE: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Identity),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Flatten),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


def fed_shares(model: nn.Module, masks: Masks, inputs: Any) -> dict[str, float]:
    """Return for each layer of the information flow the share of units that data can reach.

    Source: T7.12. A unit is fed if a path of surviving weights joins it to an input that varies.
    One that is not fed has the same output for every sample, whatever the surviving weights are.

    Args:
        model: any module, left as found. Where it is a chain of layers, paths are followed through
            it. In any other, a unit counts as fed if one of its own weights survives, which is
            never fewer.
        masks: the survivors; a layer without a mask is whole.
        inputs: (sample, ...), on which the flow is measured; or a dict or tuple of such.

    Returns:
        Module name -> share in [0, 1], in the order of `flows.collect_activations`.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 4))
    >>> masks = {"0.weight": torch.tensor([[True, True], [False, False]])}
    >>> masks["2.weight"] = torch.tensor([[True, False], [False, True], [True, True], [True, True]])
    >>> fed_shares(net, masks, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    {'0': 0.5, '2': 0.75}
    """
    names = collect_activations(model, take(inputs, 0, 2))
    in_chain = _is_chain(model) and isinstance(inputs, Tensor)
    fed = _fed_in_chain(model, masks, inputs) if in_chain else {}
    shares = {}
    for name in names:
        layer, _, _ = name.partition(":")  # one that runs twice has a number
        mask = masks.get(f"{layer}.weight")
        own = torch.ones(1) if mask is None else mask.flatten(1).any(1)
        shares[name] = fed.get(layer, own).double().mean().item()
    return shares


def _is_chain(model: nn.Module) -> bool:
    """Say whether every layer reads the one before and nothing else, unit by unit."""
    known = (nn.Linear, nn.Conv2d, *UNITWISE)
    return all(type(m) is nn.Sequential or type(m) in known for m in model.modules())


def _fed_in_chain(model: nn.Module, masks: Masks, inputs: Tensor) -> dict[str, Tensor]:
    fed, found = (inputs != inputs[:1]).any(0).flatten(), dict[str, Tensor]()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        mask = masks.get(f"{name}.weight", torch.ones_like(module.weight, dtype=torch.bool))
        alive, groups = mask.flatten(2).any(2) if mask.dim() > 2 else mask, mask.shape[1]
        if isinstance(module, nn.Conv2d) and not found:  # channels of an image
            fed = (inputs != inputs[:1]).any(0).flatten(1).any(1)
        if getattr(module, "groups", 1) > 1 or len(fed) == 0 or groups % len(fed):
            return {}  # not in this order after all
        # after flattening, the positions of a channel stand side by side
        fed = (alive & fed.repeat_interleave(groups // len(fed))).any(1)
        found[name] = fed
    return found


def mask_window(reference_flow: Tensor, shares: Iterable[float]) -> tuple[float, float]:
    """Return the least and the largest distance that any weights on a mask can have.

    Source: T7.12. No pair of layers has a mean correlation above the product of its fed shares. So
    a tolerance of at most the least distance is never met, and one above the largest is met at the
    first look. In between, which is nearly always, the mask alone decides nothing.

    Args:
        reference_flow: (layer - 1,), summary "mean".
        shares: of each layer, as `fed_shares` gives them.

    Raises:
        ValueError: shares of another number of layers.

    >>> mask_window(torch.tensor([0.5]), [0.5, 0.2])
    (0.4, 0.6)
    """
    fed, flow = torch.tensor(list(shares), dtype=torch.float64), reference_flow.detach().cpu()
    if len(fed) != len(flow) + 1:
        raise ValueError(f"{len(fed)} layers have {len(fed) - 1} flows, not {len(flow)}")
    ceiling, flow = fed[:-1] * fed[1:], flow.to(torch.float64)
    lowest = (flow.abs() - ceiling).clamp_min(0).norm()
    return lowest.item(), (flow.norm() + ceiling.norm()).item()


def decided(rule: FlowConsistency, reference_flow: Tensor, window: tuple[float, float]) -> str:
    """Return what a mask has decided for a rule, in words; nothing if the weights decide.

    Args:
        rule: of the information flow.
        reference_flow: as for `mask_window`, which gives the window.

    >>> rule = FlowConsistency("information", 0.5)
    >>> decided(rule, torch.tensor([0.5]), (0.4, 0.6))
    'epsilon 0.5 can never be met, the distance is at least 0.8'
    """
    unit = reference_flow.norm().item() if rule.relative else 1.0
    tolerance, (lowest, highest) = rule.epsilon * unit, window
    if tolerance <= lowest:
        least = f"{lowest / unit:.3g}" if unit else "infinite, for the reference flow is zero"
        return f"epsilon {rule.epsilon:g} can never be met, the distance is at least {least}"
    if tolerance > highest and rule.confidence is None:
        most = f"{highest / unit:.3g}"
        return f"epsilon {rule.epsilon:g} is met by any weights, the distance is at most {most}"
    return ""


def warn_if_decided(
    trainer: Trainer, level: int, judged: Iterable[tuple[Rule, Measured | None]]
) -> None:
    """Warn, in one line, of tolerances that the mask of a level has decided before it is trained.

    Args:
        trainer: with the mask.
        level: for the message.
        judged: rules, each with what it holds the level against.
    """
    held = [
        (rule, reference.flows["information"])
        for whole, reference in judged
        for rule in consistencies(whole)
        if rule.flow == "information" and reference and "information" in reference.flows
    ]
    if not held:
        return
    shares = fed_shares(trainer.model, trainer.masks, trainer.monitor.probe[0]).values()
    found = (decided(rule, flow, mask_window(flow, shares)) for rule, flow in held)
    if known := "; ".join(dict.fromkeys(filter(None, found))):
        warnings.warn(f"level {level}: on this mask {known}", stacklevel=2)

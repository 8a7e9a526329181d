"""What a pruner asks of somebody else's training loop, at the snapshot and at every check."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from .config import Config
from .masks import Masks, check_masks
from .measured import Measured
from .monitor import ON_PROBE
from .never import Never
from .pairs import as_tensors, describe
from .stopping import Check, Rule, stop_rule

#: What a snapshot must be told for rules that hold a level against it, by their names.
HELD = {"accuracy": "validation_accuracy", "loss": "train_loss", "twice-loss": "train_loss"}


def held_rule(stop: str | Rule, config: Config, reference: Measured) -> Rule:
    """Return a rule, held against what was measured of the network of the snapshot.

    Args:
        stop: a rule, or the name of one.
        config: whose ``stop`` is that name.
        reference: what was measured.

    Raises:
        ValueError: a number that the rule is held against was never given.

    >>> held_rule("loss", Config(stop="loss"), Measured(loss=0.5)).target
    0.5
    """
    if not isinstance(stop, str):
        return stop
    known = {"validation_accuracy": reference.accuracy, "train_loss": reference.loss}
    for name in stop.split("+"):
        wanted = HELD.get(name, "")
        if isinstance(known.get(wanted), Never):
            raise ValueError(f"the stop rule {name} needs snapshot({wanted}=...)")
    return stop_rule(config, reference.accuracy, reference.loss)


def check_given(rule: Rule, now: Measured) -> None:
    """See that a check was given every number which the rule reads and nobody here measures.

    Args:
        rule: with its ``reads``.
        now: what was given.

    Raises:
        ValueError: one is missing.

    >>> from .stopping import Patience
    >>> check_given(Patience(2, of="f1"), Measured())
    Traceback (most recent call last):
    ValueError: the stop rule reads f1: give check(epoch, f1=...)
    """
    own = {"train_loss": now.loss, "accuracy": now.accuracy, **now.metrics}
    for name in sorted(rule.reads - ON_PROBE - {"mask"}):
        if isinstance(own.get(name, Never(name)), Never):
            wanted = "validation_accuracy" if name == "accuracy" else name
            raise ValueError(f"the stop rule reads {wanted}: give check(epoch, {wanted}=...)")


def as_probe(probe: Any) -> tuple[Any, Any]:
    """Return the (inputs, targets) of a probe as tensors, in whatever structure they come.

    Raises:
        ValueError: no such pair, for instance a loader.

    >>> as_probe(([[1.0]], [0]))
    (tensor([[1.]]), tensor([0]))
    """
    if not isinstance(probe, tuple | list) or len(probe) != 2:
        raise ValueError(
            "probe must be one pair (inputs, targets), such as next(iter(loader)), not"
            f" {describe(probe)}"
        )
    return as_tensors(probe[0]), as_tensors(probe[1])


def check_held(model: nn.Module, masks: Masks) -> None:
    """Check that removed weights are still zero, since otherwise another network was trained.

    Raises:
        ValueError: some are not; a NaN is for whoever looks at losses.

    >>> check_held(nn.Linear(1, 1), {"weight": nn.Linear(1, 1).weight > 9})
    Traceback (most recent call last):
    ValueError: 1 removed weights are not zero: call pruner.step() after each optimizer.step()
    """
    found = 0
    for name, weight in check_masks(model, masks).items():
        removed = weight.detach().masked_fill(masks[name].to(weight.device), 0.0)
        found += int(removed.nan_to_num_(nan=0.0).count_nonzero())
    if found:
        raise ValueError(
            f"{found:,} removed weights are not zero: call pruner.step() after each"
            " optimizer.step()"
        )


def check_epoch(epoch: float, level: int, checks: Sequence[Check], budget: float | None) -> None:
    """See that epochs are counted from the start of a level, and go up.

    Args:
        epoch: of this check.
        level: it is made in.
        checks: all before.
        budget: epochs of a level; None if there is none.

    Raises:
        ValueError: they go down. What may be a count over all levels gets a warning.

    >>> check_epoch(1, 0, [Check(2.0)], None)
    Traceback (most recent call last):
    ValueError: epochs go up within a level: check(1) comes after check(2)
    """
    here = [check.epoch for check in checks if check.level == level]
    if here and epoch < here[-1]:
        raise ValueError(
            f"epochs go up within a level: check({epoch:g}) comes after check({here[-1]:g})"
        )
    if not here and checks and budget is not None and checks[0].epoch <= budget < epoch:
        warnings.warn(
            f"check({epoch:g}) is the first of level {level}, whose budget is {budget:g}: epochs"
            " count from the start of each level",
            stacklevel=7,
        )


def check_trains(optimizer: Any, model: nn.Module) -> None:
    """See that an optimiser is one, and that it trains a network.

    Raises:
        ValueError: it is something else, such as a scheduler. One that trains none of the
            network's parameters gets a warning, for some train copies of them.

    >>> check_trains(3, nn.Linear(1, 1))
    Traceback (most recent call last):
    ValueError: next_level takes the optimizer, not a int
    """
    if not (hasattr(optimizer, "param_groups") and hasattr(optimizer, "state")):
        raise ValueError(f"next_level takes the optimizer, not a {type(optimizer).__name__}")
    mine = {id(parameter) for parameter in model.parameters()}
    given = (parameter for group in optimizer.param_groups for parameter in group["params"])
    if not any(id(parameter) in mine for parameter in given):
        warnings.warn(
            f"this {type(optimizer).__name__} trains no parameter of the pruned network: is it the"
            " optimiser of another network?",
            stacklevel=4,
        )

"""The checks, masks and flows that one run recorded, level by level."""

import math
from dataclasses import dataclass
from itertools import groupby, pairwise

from torch import Tensor

from ..config import Config
from ..level import Trainer
from ..loop import run
from ..masks import Masks, density
from ..measured import Measured
from ..rows import Row
from ..stopping import AnyOf, FlowConsistency, MaskStability, SmallGradient, stop_rule
from ..tree import State


@dataclass(frozen=True)
class Yardstick:
    """The value at each check that a rule compares with epsilon, or else a flow distance.

    Args:
        column: of the rows.
        name: in words.
        relative: the value is in units of the reference flow's norm.
        epsilon: what it is compared with; NaN if it is not.
    """

    column: str
    name: str
    relative: bool = False
    epsilon: float = math.nan

    def __call__(self, row: Row) -> float:
        """Return the value at a check; NaN if there is none."""
        unit = row.reference_norm if self.relative else 1.0
        return getattr(row, self.column) / unit if unit else math.nan


@dataclass(frozen=True)
class Level:
    """What one level of a run left behind.

    Args:
        rows: its checks, oldest first.
        masks: which weights existed.
        flow: name of the flow that was measured; empty if none was.
        now: that flow where the level ended.
        reference: that flow of the reference; empty before there is one.
        budget: the most epochs it could train.
        decision: why it ended, and how much was pruned then, in words.
        stops: its rule ended it, not its budget.
    """

    rows: list[Row]
    masks: Masks
    flow: str
    now: list[float]
    reference: list[float]
    budget: float
    decision: str
    stops: bool

    @property
    def difference(self) -> list[float]:
        """What a rule reads, the flow less its reference, in units of the reference's norm.

        >>> Level([], {}, "information", [0.3, 0.8], [0.3, 0.4], 1.0, "stops", True).difference
        [0.0, 0.8]
        """
        norm = math.hypot(*self.reference)
        return [(a - b) / norm for a, b in zip(self.now, self.reference, strict=False) if norm]


def record(config: Config, trainer: Trainer, yardstick: Yardstick) -> list[Level]:
    """Run a config and return its levels.

    Source: `loop.run`, with callbacks for its states and its checks.

    Args:
        config: what to run.
        trainer: of that config; it tells the budgets.
        yardstick: of that config.
    """
    states, checks = list[State](), list[tuple[Row, Measured]]()
    list(run(config, keep=states.append, look=lambda *seen: checks.append(seen)))
    levels = []
    by_level = groupby(checks, key=lambda seen: seen[0].level)
    for (now, after), (_, group) in zip(pairwise(states), by_level, strict=True):
        rows, measured = zip(*group, strict=True)
        budget = trainer.budget(now.start.level, after.finished) / trainer.steps_per_epoch
        used_up, within = rows[-1].epoch >= budget, yardstick(rows[-1]) < yardstick.epsilon
        is_dense = config.reference == "trained" or config.dense_epochs > 0
        if after.finished or (now.start.level == 0 and is_dense):
            decision = f"no rule decides in {'the last' if after.finished else 'a reference'} level"
        elif used_up:
            decision = "stops, its budget used up too" if within else "budget used up"
        elif within or math.isnan(yardstick.epsilon):
            decision = "stops"
        else:
            decision = "another rule stops it"
        if not after.finished:
            pruned = 1 - density(after.start.masks) / density(now.start.masks)
            decision += f"; {pruned:.2f} of what is left is pruned next"
        flow, found = next(iter(measured[-1].flows.items()), ("", Tensor()))
        held = now.references.get(config.reference, Measured()).flows.get(flow, Tensor())
        masks, at_end, before = now.start.masks, found.tolist(), held.tolist()
        levels.append(Level([*rows], masks, flow, at_end, before, budget, decision, not used_up))
    return levels


def yardstick_of(config: Config) -> Yardstick:
    """Return what a run's rule compares with epsilon, or else the flow distance.

    Source: the first rule of the config that has a tolerance.

    >>> yardstick_of(Config(stop="accuracy+mask", epsilon=0.1))
    Yardstick(column='mask_distance', name='mask distance', relative=False, epsilon=0.1)
    """
    rule = stop_rule(config, target=1.0)
    for each in rule.rules if isinstance(rule, AnyOf) else (rule,):
        if isinstance(each, MaskStability):
            return Yardstick("mask_distance", "mask distance", epsilon=each.epsilon)
        if isinstance(each, SmallGradient):
            return Yardstick("gradient_norm", "gradient norm", epsilon=each.epsilon)
        if isinstance(each, FlowConsistency):
            return Yardstick("flow_distance", "distance", each.relative, each.epsilon)
    return Yardstick("flow_distance", "distance", relative=True)

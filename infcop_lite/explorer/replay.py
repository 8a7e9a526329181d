"""The replay: one pruning run, level by level; its masks, its flows, and why each level ended."""

import html
import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..config import Config
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, explore, style
from ..level import Trainer
from ..loop import run
from ..masks import Masks, density
from ..measured import Measured
from ..rows import Row
from ..stopping import AnyOf, FlowConsistency, MaskStability, SmallGradient, stop_rule
from ..tree import State

CELLS = 64  # at most so many on a side of a mask's picture
GREY = "#7a7a7a"  # seen on white and on black
LEGEND = (
    "<small>Left, the weights that are kept, {cells}: the more, the stronger the grey (by the cube "
    "root, so that few are seen too). Upper right, the flow where the level ended; hollow, the "
    "reference. Lower right, the checks. The last is a filled mark if the rule ended the level, a "
    "hollow one if its budget did.</small>"
)


@dataclass(frozen=True)
class Yardstick:
    """What to watch at the checks: the value that a rule compares with epsilon, or else a distance.

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


def replay(config: Config) -> Explorer:
    """Run a config and step through what happened: a slider for the level, buttons for the layer.

    Source: `loop.run`. There is a picture for each level and layer; keep both few.

    Args:
        config: what to run.

    Raises:
        ValueError, OSError, FloatingPointError: as for `loop.run`.
    """
    trainer, yardstick = Trainer.of(config), yardstick_of(config)
    levels = record(config, trainer, yardstick)
    first, shape = next(iter(trainer.masks)), tuple(trainer.train.inputs.shape[1:])
    highest = _highest([yardstick.epsilon, *(yardstick(row) for x in levels for row in x.rows)])
    flows = [entry for level in levels for entry in (*level.now, *level.reference)]
    lowest, longest = 1.08 * min([0.0, *flows]), max(level.budget for level in levels) or 1.0

    def draw(level: Level, name: str) -> str:
        mask, text = level.masks[name], tell(level, yardstick)
        fractions, cells = mask_image(mask, shape if name == first else ())
        layer = f"{_short(name)}: {density({name: mask}):.3f} kept"
        with style():
            figure = plt.figure(figsize=(5.2, 3.0))
            _draw_mask(fractions, layer, figure.add_axes((0.01, 0.05, 0.45, 0.85)))
            above, below = (figure.add_axes((0.61, y, 0.35, 0.28)) for y in (0.62, 0.1))
            _draw_flows(level, above)
            above.set(ylim=(lowest, _highest(flows)))
            _draw_checks(level, yardstick, below)
            below.set(xlim=(-0.05 * longest, 1.08 * longest), ylim=(0, highest))
            alt = f"Mask of {layer}, {cells} {fractions.min():.2f} to {fractions.max():.2f}. "
            picture = as_svg(figure, f"{alt}{_tell_flow(level)} {text}")
        return f"<p>{html.escape(text)}</p>{picture}<p>{LEGEND.format(cells=cells)}</p>"

    return explore(
        draw,
        Knob("level", {str(level.rows[0].level): level for level in levels}),
        Knob("layer", {_short(name): name for name in trainer.masks}, buttons=True),
        table=_table(levels, yardstick),
        title="The same as a table: one row for each level",
    )


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
    """Return what to watch in a run: what its rule compares with epsilon, or the flow's distance.

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


def mask_image(mask: Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Return a mask as a picture of at most 64 × 64 cells: the fraction of weights kept in each.

    Args:
        mask: boolean, (unit, input, ...).
        shape: (channel, height, width) of the images that come in, for a first layer: a linear one
            is drawn as such an image, each pixel with what is kept of its weights.

    Returns:
        The fractions, (row, column), and what a cell is.

    >>> import torch
    >>> mask_image(torch.tensor([[True, False], [True, True]]), (1, 1, 2))
    (array([[1. , 0.5]]), 'by input pixel')
    """
    kept, cells = mask.cpu().double().numpy(), "a row for each unit"
    if shape and kept.shape[1:] == (math.prod(shape),):
        kept, cells = kept.reshape(-1, *shape).mean((0, 1)), "by input pixel"
    elif kept.ndim == 4:
        cells = "kernel by kernel, a row of them for each unit"
        num_rows, num_columns = (kept.shape[i] * kept.shape[i + 2] for i in (0, 1))
        kept = kept.swapaxes(1, 2).reshape(num_rows, num_columns)
    for axis in (0, 1):
        starts = np.arange(0, kept.shape[axis], math.ceil(kept.shape[axis] / CELLS))
        sums, counts = (np.add.reduceat(x, starts, axis) for x in (kept, np.ones_like(kept)))
        kept = sums / counts
    return kept, cells


def tell(level: Level, yardstick: Yardstick) -> str:
    """Say what happened in a level.

    Args:
        level: of a run.
        yardstick: of that run.
    """
    last = level.rows[-1]
    return (
        f"Level {last.level}, density {last.density:.3f}: trained {last.epoch:.3g} of "
        f"{level.budget:.3g} epochs, {_held_against(yardstick, last)}: {level.decision}. "
        f"Test accuracy {last.test_accuracy:.3f}."
    )


def _held_against(yardstick: Yardstick, row: Row) -> str:
    value, epsilon = yardstick(row), yardstick.epsilon
    if math.isnan(value):
        return f"{yardstick.name} not known"
    found = f"{yardstick.name} {value:.3g}" + " times the reference's norm" * yardstick.relative
    if math.isnan(epsilon):
        return f"{found}, no ε"
    return f"{found}, {'below' if value < epsilon else 'not below'} ε = {epsilon:g}"


def _short(name: str) -> str:
    return name.removesuffix(".weight")


def _highest(values: list[float]) -> float:
    return 1.08 * max((x for x in values if x > 0), default=1.0)


def _tell_flow(level: Level) -> str:
    if not level.flow:
        return "No flow was measured."
    now, reference = (", ".join(f"{x:.2g}" for x in flow) for flow in (level.now, level.reference))
    return f"{level.flow.capitalize()} flow {now}; reference {reference or 'none yet'}."


def _draw_mask(fractions: np.ndarray, title: str, ax: Axes) -> None:
    shades = np.empty((*fractions.shape, 4), np.uint8)
    shades[:] = np.multiply(255, to_rgba(GREY))
    shades[..., 3] = 17 * np.rint(15 * np.cbrt(fractions))  # few shades make a small file
    ax.imshow(shades, interpolation="none", aspect="auto")
    ax.patch.set(visible=True, edgecolor=INK, linewidth=1)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title)


def _draw_flows(level: Level, ax: Axes) -> None:
    places = np.arange(len(level.now))
    reference = places[: len(level.reference)] - 0.2
    ax.bar(reference, level.reference, 0.36, fill=False, edgecolor=INK, linewidth=1.2)
    ax.bar(places + 0.2, level.now, 0.36, color=BLUE, linewidth=0)
    last = "→{}" if level.flow == "information" else ""
    named = places[:: 1 + len(places) // 6]
    ax.set_xticks(named, [f"{i + 1}{last.format(i + 2)}" for i in named])
    _tidy(ax, f"{level.flow or 'no'} flow, by layer")
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.spines["bottom"].set_visible(False)


def _draw_checks(level: Level, yardstick: Yardstick, ax: Axes) -> None:
    values, epsilon = [yardstick(row) for row in level.rows], yardstick.epsilon
    epochs = [row.epoch for row in level.rows]
    ax.plot(epochs, values, "|-", color=ORANGE)
    fill = ORANGE if level.stops else "none"
    ax.plot(epochs[-1:], values[-1:], "o", color=ORANGE, ms=8, mew=2, mfc=fill, clip_on=False)
    if not math.isnan(epsilon):
        ax.axhline(epsilon, color=INK, linestyle="--", linewidth=1)
        ax.text(1.02, epsilon, "ε", transform=ax.get_yaxis_transform(), va="center")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _tidy(ax, f"{yardstick.name}, by epoch")


def _tidy(ax: Axes, title: str) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(2))
    ax.tick_params(bottom=False, left=False)
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    ax.patch.set_visible(False)
    ax.set_title(title)


def _table(levels: list[Level], yardstick: Yardstick) -> pd.DataFrame:
    rows = []
    for level in levels:
        last = level.rows[-1]
        layers = [f"{_short(k)} {density({k: mask}):.3f}" for k, mask in level.masks.items()]
        row: dict[str, Any] = {"level": last.level, "density": last.density, "epochs": last.epoch}
        row |= {yardstick.name: yardstick(last), "ε": yardstick.epsilon}
        row |= {"decision": level.decision, "test accuracy": last.test_accuracy}
        for name, flow in (("flow", level.now), ("reference", level.reference)):
            row[name] = ", ".join(f"{x:.3g}" for x in flow)
        rows.append(row | {"density of layers": ", ".join(layers)})
    return pd.DataFrame(rows)

"""One pruning run replayed level by level, with its masks, flows and stops."""

import html
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..config import Config
from ..explorer.history import Level, Yardstick, record, yardstick_of
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, beside, explore, style
from ..level import Trainer
from ..masks import density
from ..rows import Row

CELLS = 64  # at most so many on a side of a mask's picture
GREY = "#7a7a7a"  # seen on white and on black
SIZE = 4.7, 4.2  # of a picture, in inches
FRAME = 0.01, 0.02, 0.98, 0.96  # of a mask within it
ABOUT_MASK = "{cells}; the more is kept, the stronger the grey, by the cube root"
ABOUT_CHECKS = (
    "Hollow: the reference. The difference is in units of its norm. The last check is a filled "
    "mark if the rule ended the level, a hollow one if its budget did."
)


def replay(config: Config) -> Explorer:
    """Run a config and step through its levels with a slider, and its layers with buttons.

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
    longest = max(level.budget for level in levels) or 1.0
    flows = _span(entry for level in levels for entry in (*level.now, *level.reference))
    differences = _span(entry for level in levels for entry in level.difference)

    def draw(level: Level, name: str) -> str:
        mask, text = level.masks[name], tell(level, yardstick)
        fractions, cells = mask_image(mask, shape if name == first else ())
        layer = f"{_short(name)}: {density({name: mask}):.3f} kept"
        with style():
            figure = Figure(figsize=SIZE)
            _draw_mask(fractions, figure.add_axes(FRAME))
            alt = f"Mask of {layer}, {cells} {fractions.min():.2f} to {fractions.max():.2f}."
            kept = as_svg(figure, alt)
            figure = Figure(figsize=SIZE)
            above, middle, below = (
                figure.add_axes((0.14, y, 0.8, 0.21)) for y in (0.72, 0.39, 0.06)
            )
            _draw_flows(level, above)
            above.set(ylim=flows)
            _draw_difference(level, middle)
            middle.set(ylim=differences)
            _draw_checks(level, yardstick, below)
            below.set(xlim=(-0.05 * longest, 1.08 * longest), ylim=(0, highest))
            ended = as_svg(figure, f"{_tell_flow(level)} {text}")
        pictures = {
            layer: f"{kept}<small>{ABOUT_MASK.format(cells=cells).capitalize()}.</small>",
            "Where the level ended": f"{ended}<small>{ABOUT_CHECKS}</small>",
        }
        return f"<p>{html.escape(text)}</p>{beside(pictures)}"

    return explore(
        draw,
        Knob("level", {str(x.rows[0].level): x for x in levels}, min(2, len(levels) - 1)),
        Knob("layer", {_short(name): name for name in trainer.masks}, buttons=True),
        table=_table(levels, yardstick),
        title="The same as a table: one row for each level",
        name="replay",
    )


def mask_image(mask: Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Return a mask as a picture of at most 64 × 64 cells, each the fraction of weights kept.

    Args:
        mask: boolean, (unit, input, ...).
        shape: (channel, height, width) of the input images, which the picture of a first linear
            layer takes. Each pixel then shows the fraction kept of its weights.

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


def _span(values: Iterable[float]) -> tuple[float, float]:
    """Return the limits of an axis for bars from zero to these values."""
    known = [0.0, *(x for x in values if math.isfinite(x))]
    low, high = 1.08 * min(known), 1.08 * max(known)
    return low, high if high > low else 1.0


def _tell_flow(level: Level) -> str:
    if not level.flow:
        return "No flow was measured."
    now, reference = (", ".join(f"{x:.2g}" for x in flow) for flow in (level.now, level.reference))
    off = ", ".join(f"{x:.2g}" for x in level.difference)
    told = f"{level.flow.capitalize()} flow {now}; reference {reference or 'none yet'}."
    return f"{told} Difference {off}, in norms of the reference." if off else told


def _draw_mask(fractions: np.ndarray, ax: Axes) -> None:
    shades = np.empty((*fractions.shape, 4), np.uint8)
    shades[:] = np.multiply(255, to_rgba(GREY))
    shades[..., 3] = 17 * np.rint(15 * np.cbrt(fractions))  # few shades make a small file
    ax.imshow(shades, interpolation="none", aspect="auto")
    ax.patch.set(visible=True, edgecolor=INK, linewidth=1)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])


def _draw_flows(level: Level, ax: Axes) -> None:
    places = np.arange(len(level.now))
    reference = places[: len(level.reference)] - 0.2
    ax.bar(reference, level.reference, 0.36, fill=False, edgecolor=INK, linewidth=1.2)
    ax.bar(places + 0.2, level.now, 0.36, color=BLUE, linewidth=0)
    _by_layer(level, len(places), ax)
    _tidy(ax, f"{level.flow or 'no'} flow, by layer")


def _draw_difference(level: Level, ax: Axes) -> None:
    off = level.difference
    ax.bar(np.arange(len(off)), off, 0.5, color=[ORANGE if x < 0 else BLUE for x in off])
    _by_layer(level, len(off), ax)
    _tidy(ax, "flow less reference" if off else "no reference yet")


def _by_layer(level: Level, num_entries: int, ax: Axes) -> None:
    last = "→{}" if level.flow == "information" else ""
    named = range(0, num_entries, 1 + num_entries // 6)
    ax.set_xticks(named, [f"{i + 1}{last.format(i + 2)}" for i in named])
    ax.set(xlim=(-0.6, max(num_entries, 1) - 0.4))
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

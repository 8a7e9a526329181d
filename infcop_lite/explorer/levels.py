"""The level chart, which shows the distance within each level of one run in a column each."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..explorer.knobs import BLUE, INK, ORANGE

ROOM = 0.07, 0.93  # where in a level's column its budget begins and ends
STRIP = 0.11  # of the axis, for each of the two strips below it: zeros, and what was not measured
NOT_MEASURED = "none"


def draw_levels(
    run: pd.DataFrame,
    epsilon: float,
    budget: float,
    num_levels: int,
    ax: Axes,
    seen: Iterable[float] = (),
) -> None:
    """Draw the distance within each level of one run, epoch after epoch, and where it stopped.

    The axis is logarithmic. A distance of zero stands in a strip below it, marked 0, and the end of
    a level without a distance in one below that, marked none.

    Args:
        run: level, epoch, distance of every check, in order.
        epsilon: the tolerance; a level that ends below it, but for the last, has a filled mark.
        budget: the most epochs of a level; each has a column as wide.
        num_levels: columns, the last level's included; a run may end before.
        ax: where to draw.
        seen: distances for which there is to be room, besides those of the run.
    """
    distances = np.array([*run["distance"], *seen, epsilon], float)
    place = _axis(distances, ax)
    for level, checks in run.groupby("level"):
        left, right = level + ROOM[0], level + ROOM[1]
        x = left + (right - left) * checks["epoch"] / budget
        colour = (BLUE, ORANGE)[int(level) % 2]
        measured = checks["distance"].notna()
        alone = "." if measured.sum() == 1 else ""  # a line through one point would not be seen
        ax.plot(x[measured], place(checks["distance"][measured]), marker=alone, color=colour)
        _foot(left, right, INK, 0.15, ax)
        _foot(left, x.iloc[-1], colour, 1.0, ax)
        end = checks["distance"].iloc[-1]
        fired = end < epsilon and level < run["level"].max()
        _mark(x.iloc[[-1]], place(checks["distance"].iloc[[-1]]), fired, ax)
    for level in range(num_levels):
        ax.axvspan(level, level + 1, color=INK, alpha=0.09 * (level % 2), linewidth=0)
    ax.axhline(epsilon, color=INK, linestyle="--", linewidth=1)
    ax.text(1.01, epsilon, "ε", transform=ax.get_yaxis_transform(), va="center")
    ax.set(xlim=(0, num_levels), ylabel="relative distance")
    ax.set_xlabel(f"level; in each column epochs 0 to {budget:g}")
    ax.set_xticks([n + 0.5 for n in range(num_levels)], map(str, range(num_levels)))
    ax.grid(True, axis="y")
    marks = [_mark([], [], filled, ax) for filled in (True, False)]
    key(ax, (marks, ["ended by ε", "by its budget, or last"]))


def _axis(distances: np.ndarray, ax: Axes) -> Any:
    """Set up the axis of the distances; return what puts distances on it."""
    positive = distances[distances > 0]
    low, high = positive.min() / 1.3, positive.max() * 1.3
    down = (high / low) ** -STRIP
    strips = {"0": (distances == 0).any(), NOT_MEASURED: np.isnan(distances).any()}
    strips = {
        name: low * down ** (i + 0.5) for i, name in enumerate(n for n in strips if strips[n])
    }
    ax.set(yscale="log", ylim=(low * down ** (len(strips) + 1), high))
    ticks = _ticks(low, high)
    ax.set_yticks([*strips.values(), *ticks], [*strips, *(f"{tick:g}" for tick in ticks)])
    ax.yaxis.set_minor_locator(NullLocator())
    for i in range(len(strips)):
        ax.axhline(low * down**i, color=INK, linewidth=0.6, alpha=0.5)

    def place(values: pd.Series) -> np.ndarray:
        y = values.to_numpy(float)
        y = np.where(np.isnan(y), strips.get(NOT_MEASURED, np.nan), y)
        return np.where(y == 0, strips.get("0", np.nan), y)

    return place


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between the two, at most about six."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [float(f"{digit}e{k}") for k in powers for digit in digits]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= 6:
            break
    return found


def _foot(start: float, end: float, colour: str, alpha: float, ax: Axes) -> None:
    foot: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "solid_capstyle": "butt"}
    ax.plot([start, end], [0.03, 0.03], color=colour, alpha=alpha, linewidth=5, **foot)


def _mark(x: Any, y: Any, filled: bool, ax: Axes) -> Any:
    return ax.plot(x, y, "o", ms=7, color=INK, mfc=INK if filled else "none", clip_on=False)[0]


def key(ax: Axes, entries: tuple[Sequence[Any], Sequence[str]]) -> None:
    """Say just above the axes what its marks mean.

    Args:
        ax: of a `panel`.
        entries: marks and their names.
    """
    where: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.04, 0.98), "borderpad": 0.2}
    ax.legend(*entries, ncols=2, handletextpad=0.3, columnspacing=1.0, labelspacing=0.2, **where)


def panel() -> tuple[Figure, Axes]:
    """Return a figure of half a page's width, with room for a key above; not one of pyplot's."""
    figure = Figure(figsize=(4.7, 3.7))
    figure.subplots_adjust(left=0.17, right=0.95, top=0.84)
    return figure, figure.subplots()

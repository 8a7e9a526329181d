"""A figure of the book, drawn again for a room: landscape, in letters of sixteen points.

Executed chapters keep their figures whole (`tools/keep_figures.py`). A slide shows one at this
size, and panels that stand in one column of the page stand side by side.
"""

import base64
import io
import pickle
import textwrap
import zlib
from typing import NamedTuple

import matplotlib.pyplot as plt
import overview
import seaborn as sns
from keep_figures import KEPT
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from nbformat import NotebookNode

POINTS = 16
WIDTH_IN = 10.0
HEIGHT_IN = {"wide": 4.6, "side": 8.4}  # below a title, or beside the text


class Picture(NamedTuple):
    """A drawing, how many inches wide it is, and the points of its smallest letters."""

    png: str  # in base64
    inches: float
    points: float


def kept(output: NotebookNode) -> Figure | None:
    """The figure that an executed cell has kept, if this output is one."""
    text = output.get("data", {}).get(KEPT)
    return None if text is None else pickle.loads(zlib.decompress(base64.b64decode(text)))


def enlarge(figure: Figure, layout: str) -> Picture:
    """Draw a figure for a slide.

    >>> figure, axes = plt.subplots(2, 1, figsize=(4, 6), layout="constrained")
    >>> picture = enlarge(figure, "wide")
    >>> picture.inches, picture.points, bool(axes[0].get_position().y0 == axes[1].get_position().y0)
    (10.0, 16.0, True)
    """
    width, height = figure.get_size_inches()
    if height > width:
        side_by_side(figure)
    tallest = HEIGHT_IN[layout]
    figure.set_size_inches(WIDTH_IN, min(tallest, max(4.0, WIDTH_IN * height / width)))
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    for ax in figure.axes:
        ax.tick_params(which="both", labelsize=POINTS)
        for text, columns in ((ax.title, 40 // len(figure.axes)), (ax.yaxis.label, 26)):
            if "$" not in text.get_text():
                text.set_text(textwrap.fill(text.get_text(), max(columns, 16)))
    for text in figure.findobj(Text):
        text.set_fontsize(max(POINTS, text.get_fontsize()))
    for line in figure.findobj(Line2D):
        line.set_linewidth(1.4 * line.get_linewidth())
        line.set_markersize(1.4 * line.get_markersize())
    for cloud in figure.findobj(PathCollection):
        cloud.set_sizes(2 * cloud.get_sizes())
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144)
    picture = base64.b64encode(stream.getvalue()).decode()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    plt.close(figure)
    return Picture(picture, WIDTH_IN, min(float(text.get_fontsize()) for text in shown))


def side_by_side(figure: Figure) -> None:
    """Put panels that stand in one column beside each other; other figures stay as they are."""
    panels = [ax for ax in figure.axes if ax.get_subplotspec() is not None]
    grids = {grid for ax in panels if (grid := ax.get_gridspec()) is not None}
    rows, columns = grids.pop().get_geometry() if grids else (1, 1)
    if grids or columns > 1 or rows == 1 or len(panels) != rows:
        return
    grid = figure.add_gridspec(1, rows)
    below = panels[-1].get_xlabel()
    for number, ax in enumerate(panels):
        ax.set_subplotspec(grid[number])
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(ax.get_xlabel() or below)


def whole_picture() -> Figure:
    """The summary figure of the first page: its panels, over one legend."""
    tables = overview.collect()
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(2, 2, figsize=(10, 8.4), layout="constrained")
    for ax, (table, runs) in zip(axes.flat, tables.items(), strict=True):
        overview.draw_panel(runs, ax)
        below = "epochs in all" if ax in axes[-1] else ""
        ax.set(title=overview.PANELS[table].partition(",")[0], xlabel=below, ylabel="")
    lines, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=False)
    figure.supylabel("test accuracy of the final network")
    return figure


PAGES = {"fig-intro-overview": whole_picture}  # figures that no chapter draws

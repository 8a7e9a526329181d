"""Knobs and the pictures they choose from; one helper, wherever the notebook is read.

A built page needs no kernel: every picture is in it as data, and its script has the knobs. In a
live notebook ipywidgets has them: with version 8 the browser alone switches, with 7 (Colab) the
kernel. Without ipywidgets the pictures along the first knob stand side by side.
"""

import html
import io
import os
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..explorer.choices import Chooser, settled
from ..explorer.choices import Knob as Knob
from ..explorer.pages import as_page, describe

try:
    import ipywidgets as ipywidgets  # so that others may take it from here
except ImportError:
    ipywidgets = None

INK = "#010203"  # what is drawn in this colour takes the colour of the text around it
BLUE, ORANGE = "#0173b2", "#de8f05"  # seaborn's palette "colorblind"
WIDEST = "32rem"  # of a picture and of the knobs above it
FRAME = '<div style="line-height: 1.45">{}</div>'
COLUMNS = "display: grid; gap: 0.8rem 1.5rem; grid-template-columns: "
COLUMNS += "repeat(auto-fit, minmax(min(100%, 18rem), 1fr))"


@dataclass(frozen=True)
class Explorer:
    """Knobs, their pictures, and the same data as a table; a notebook shows it as a cell's result.

    Args:
        widget: an ipywidgets widget, or None without ipywidgets and in a page without a kernel.
        plain: instead of it, HTML.
        table: what the pictures show.
        title: of the table.
    """

    widget: Any
    plain: str
    table: pd.DataFrame
    title: str

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        display(HTML(self.plain) if self.widget is None else self.widget)
        rows = self.table.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
        display(HTML(f"<details><summary>{html.escape(self.title)}</summary>{rows}</details>"))


def explore(
    draw: Callable[..., str],
    *knobs: Chooser,
    table: pd.DataFrame,
    title: str,
    name: str = "explorer",
) -> Explorer:
    """Draw a picture for every setting of the knobs, and join them to the knobs.

    Source: `Stack` and `jsdlink` of ipywidgets.

    Args:
        draw: called with a value of each knob; returns HTML, such as `as_svg` makes.
        *knobs: from the outermost; a function in a knob's place is called with the values of those
            before it and returns the knob that goes with them.
        table: the same data, to be shown below.
        title: of the table.
        name: one word; what the address of a page calls it, unlike the others' of the page.

    Raises:
        ValueError: no knobs.

    >>> knob = Knob("a", {"one": 1, "two": 2})
    >>> table = pd.DataFrame({"a": [1, 2]})
    >>> explore(lambda a: f"<p>{a}</p>", knob, table=table, title="a").widget.children[0].options
    ('one', 'two')
    """
    if not knobs:
        raise ValueError("nothing to turn: no knobs")
    if is_static_page():
        return Explorer(None, as_page(name, describe(draw, knobs)), table, title)
    widget = None
    if ipywidgets is not None:
        controls = [_control(knob) if isinstance(knob, Knob) else None for knob in knobs]
        shared = {"layout": ipywidgets.Layout(), "style": ipywidgets.HTML().style}
        picture = _pictures(draw, list(zip(knobs, controls, strict=True)), (), shared)
        widget = ipywidgets.VBox([*filter(None, controls), picture])
    plain = _side_by_side(draw, knobs) if widget is None else ""
    return Explorer(widget, plain, table, title)


def is_static_page() -> bool:
    """Say whether this runs for a page that will be read without a kernel."""
    return bool(static_page())


def static_page() -> str:
    """Return where the page that this runs for has a kernel; empty if it is live.

    Source: `tools/build.py` sets ``INFCOP_STATIC_PAGE`` to the notebook's address in Colab.
    """
    return os.environ.get("INFCOP_STATIC_PAGE", "")


def style() -> AbstractContextManager[None]:
    """Return the style of the pictures, for a with statement around their drawing.

    Small enough for a phone, and no background of its own.
    """
    ink = "axes.edgecolor axes.labelcolor xtick.color ytick.color text.color grid.color"
    settings: dict[Any, Any] = dict.fromkeys([*ink.split(), "patch.edgecolor"], INK)
    settings |= {"figure.facecolor": "none", "axes.facecolor": "none", "figure.figsize": (5.2, 3.4)}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "grid.alpha": 0.15}
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "", "legend.frameon": False}
    settings |= {"font.size": 12, "axes.titlesize": "medium"}  # 10 pixels on a phone
    settings |= dict.fromkeys(["xtick.major.size", "ytick.major.size"], 0)
    # margins that do not follow the content: nothing jumps while a knob turns
    margins = {"left": 0.16, "right": 0.97, "bottom": 0.17, "top": 0.97}
    settings |= {f"figure.subplot.{side}": width for side, width in margins.items()}
    return plt.style.context(["default", settings])  # whatever the notebook has set before


def as_svg(figure: Figure, alt: str) -> str:
    """Return a figure as HTML that is sharp at any size and legible in a dark theme; close it.

    Source: matplotlib's SVG backend. Whatever is drawn in `INK` takes the colour of the text.

    Args:
        figure: drawn within `style`.
        alt: what it shows, for whoever cannot see it.

    >>> with style():
    ...     text = as_svg(plt.subplots()[0], "an empty box")
    >>> 'aria-label="an empty box"' in text, "currentColor" in text, INK in text
    (True, True, False)
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    # an id is the page's, not the picture's: unused ones go, the others get a name of their own
    own = f"i{zlib.crc32(text.encode()):08x}"
    used = dict.fromkeys(re.findall(r'(?:href="|url\()#([\w.]+)', text))
    root = _tidy(ElementTree.fromstring(text), {name: f"{own}{i}" for i, name in enumerate(used)})
    about = {"role": "img", "aria-label": alt, "viewBox": root.attrib["viewBox"]}
    about["style"] = f"width: 100%; max-width: {WIDEST}; height: auto; stroke-linejoin: round"
    root.attrib = about
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def beside(pictures: Mapping[str, str]) -> str:
    """Return pictures side by side where the page is wide enough, each below its title.

    Args:
        pictures: title -> HTML, such as `as_svg` makes.

    >>> beside({"a": "<svg/>", "b": "<svg/>"}).count("<svg/>")
    2
    """
    parts = "".join(
        f"<div><b>{html.escape(title)}</b>{picture}</div>" for title, picture in pictures.items()
    )
    return f'<div style="{COLUMNS}">{parts}</div>'


def _tidy(element: ElementTree.Element, ids: Mapping[str, str]) -> ElementTree.Element:
    """Return what a page needs of a part of matplotlib's SVG: no comments, metadata, style sheet.

    Args:
        element: as parsed, with its namespace.
        ids: of the parts that are referred to -> what they are called from now on.
    """
    tidy = ElementTree.Element(_local(element.tag))
    tidy.text = (element.text or "").strip()
    for name, value in element.items():
        if name == "id":
            value = ids.get(value, "")
        elif not value.startswith(("data:", "matrix")):  # a scale needs all its digits
            value = re.sub(r"(?<=#)[\w.]+", lambda found: ids.get(found[0], found[0]), value)
            value = re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.1f}", value)
            value = re.sub(r"font-family: [^;]*;? ?", "", value).replace(INK, "currentColor")
        if value and not value.startswith("rotate(-0 "):
            tidy.set(_local(name), " ".join(value.split()))
    for part in element:
        if _local(part.tag) in ("metadata", "style"):
            continue
        found = _tidy(part, ids)
        if found.tag == "g" and not found.attrib:
            tidy.extend(found)  # a group of nothing in particular, often empty
        elif found.tag != "defs" or len(found):
            tidy.append(found)
    return tidy


def _local(name: str) -> str:
    """Return a name without its namespace, of which a page knows by itself."""
    return name.rpartition("}")[2]


def _control(knob: Knob) -> Any:
    kind = ipywidgets.ToggleButtons if knob.buttons else ipywidgets.SelectionSlider
    style = {"description_width": "initial"} | ({"button_width": "auto"} if knob.buttons else {})
    shape = {"style": style, "layout": {"width": "100%", "max_width": WIDEST}}
    options = list(knob.options)
    return kind(options=options, index=knob.start, description=knob.label, **shape)


def _pictures(
    draw: Callable[..., str], knobs: list[Any], values: tuple[Any, ...], shared: dict[str, Any]
) -> Any:
    """Return the picture for these values of the first knobs, to be switched by the other ones."""
    if not knobs:
        return ipywidgets.HTML(FRAME.format(draw(*values)), **shared)
    (chooser, control), *rest = knobs
    knob = settled(chooser, values)
    own = None if control else _control(knob)
    pictures = [_pictures(draw, rest, (*values, value), shared) for value in knob.options.values()]
    switched = _switch(control or own, pictures)
    return ipywidgets.VBox([own, switched]) if own else switched


def _switch(control: Any, pictures: list[Any]) -> Any:
    """Return a box that shows the picture whose number the control has."""
    if hasattr(ipywidgets, "Stack"):
        box = ipywidgets.Stack(pictures, selected_index=control.index)
        ipywidgets.jsdlink((control, "index"), (box, "selected_index"))
        return box
    box = ipywidgets.VBox([pictures[control.index]])
    control.observe(lambda change: setattr(box, "children", [pictures[change["new"]]]), "index")
    return box


def _side_by_side(draw: Callable[..., str], knobs: tuple[Chooser, ...]) -> str:
    """Return the pictures along the first knob, the other knobs as they start."""
    first, *rest = knobs
    first, frames = settled(first, ()), []
    for text, value in first.options.items():
        values, settings = [value], [f"{first.label}: {text}"]
        for chooser in rest:
            knob = settled(chooser, values)
            name, chosen = list(knob.options.items())[knob.start]
            values.append(chosen)
            settings.append(f"{knob.label}: {name}")
        caption = html.escape(", ".join(settings))
        frames.append(f"<figure>{draw(*values)}<figcaption>{caption}</figcaption></figure>")
    return f'<div style="{COLUMNS}">{"".join(frames)}</div>'

"""The map of the chapters: parts and order from the contents, arcs from what each chapter needs.

    ```{chapter-map}
    ```

A chapter needs those that its title cell links in the paragraph that says so. Nothing is typed
here: a chapter that moves, or gets another title or number, moves on the map.
"""

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

NEEDS = re.compile(r"\*\*(?:What it needs\.|You need)\*\*(.*?)(?:\n\n|\Z)", re.S)
LINK = re.compile(r"\]\((?:\.\./notebooks/)?(\d\d-[\w-]+)\.ipynb")
LINE, GAP, TEXT_X = 22, 12, 96  # pixels: a line of text, what is between rows, where text begins


class Part(NamedTuple):
    """A part of the contents: its caption, and its pages."""

    caption: str
    pages: list[str]


class Placeholder(nodes.General, nodes.Element):
    """Stands for the map until all titles are known."""


def parts(contents: Path) -> list[Part]:
    """The parts that hold chapters, in order."""
    read = yaml.safe_load(contents.read_text("utf-8"))["parts"]
    found = [Part(part["caption"], [page["file"] for page in part["chapters"]]) for part in read]
    return [part for part in found if any(page.startswith("notebooks/") for page in part.pages)]


def needs(notebook: Path) -> list[str]:
    """The chapters that a chapter says it needs, as pages.

    A page that is no notebook needs none that one could read off it.
    """
    if not notebook.is_file():
        return []
    first = nbformat.read(notebook, as_version=4).cells[0].source
    said = NEEDS.search(first)
    return [f"notebooks/{stem}" for stem in LINK.findall(said[1])] if said else []


def draw(
    within: Sequence[Part],
    titles: Mapping[str, str],
    needed: Mapping[str, Sequence[str]],
    address: Callable[[str], str],
    letters: int,
) -> str:
    """Draw the map as SVG in the colours of the page.

    Args:
        within: the parts, in order.
        titles: page -> its title, with its number.
        needed: page -> the pages that it needs.
        address: page -> where a link leads.
        letters: how many stand in one line.
    """
    middle: dict[str, float] = {}
    words: list[str] = []
    y = 0.0
    for part in within:
        y += LINE + GAP
        words.append(f'<text class="part" x="{TEXT_X}" y="{y:g}">{escape(part.caption)}</text>')
        for page in part.pages:
            lines = textwrap.wrap(titles[page], letters)
            spans = "".join(
                f'<tspan x="{TEXT_X}" dy="{LINE if n else 0}">{escape(line)}</tspan>'
                for n, line in enumerate(lines)
            )
            words.append(
                f'<a href="{escape(address(page))}"><text y="{y + GAP + LINE:g}">{spans}</text></a>'
            )
            middle[page] = y + GAP + LINE - 5
            y += GAP + LINE * len(lines)
        y += GAP
    marks = [f'<circle cx="{TEXT_X - 14}" cy="{at:g}" r="5"/>' for at in middle.values()]
    for page, before in needed.items():
        for other in before:
            if page in middle and other in middle and page != other:
                marks.append(_arc(middle[other], middle[page]))
    width = TEXT_X + round(letters * 9.5)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + GAP:g}" '
        f'width="{width}">{"".join(marks)}{"".join(words)}</svg>'
    )


def _arc(start: float, end: float) -> str:
    """A bow on the left from what is needed to what needs it, the wider the farther apart."""
    x, reach = TEXT_X - 20, min(8 + 0.16 * abs(end - start), TEXT_X - 24)
    tip = f"M{x - 7},{end - 4:g}L{x},{end:g}L{x - 7},{end + 4:g}"
    far = x - 1.3 * reach
    return f'<path d="M{x},{start:g}C{far:g},{start:g} {far:g},{end:g} {x},{end:g}{tip}"/>'


class ChapterMap(Directive):
    """Stands where the map stands."""

    def run(self) -> list[nodes.Node]:
        """Return what becomes the map."""
        return [Placeholder()]


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Draw the map once for a wide page and once for a phone; a page shows one of them."""
    if not (places := list(doctree.findall(Placeholder))):
        return
    source = Path(app.srcdir)
    within = parts(source / "book" / "_toc.yml")
    pages = [page for part in within for page in part.pages]
    titles = {page: app.env.titles[page].astext() for page in pages}
    needed = {page: needs(source / f"{page}.ipynb") for page in pages}
    chapters = sum(page.startswith("notebooks/") for page in pages)
    alt = (
        f"Map of the book: {chapters} chapters in {len(within)} parts, in the order of the "
        "contents, each a link. An arrow leads from a chapter to one that needs it."
    )

    def address(page: str) -> str:
        return app.builder.get_relative_uri(docname, page)

    drawings = "".join(
        f'<div class="{kind}">{draw(within, titles, needed, address, letters)}</div>'
        for kind, letters in (("wide", 62), ("narrow", 26))
    )
    html = f'<figure class="chapter-map" role="group" aria-label="{alt}">{drawings}</figure>'
    for place in places:
        place.replace_self(nodes.raw("", html, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(Placeholder)
    app.add_directive("chapter-map", ChapterMap)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""A box at the top of each chapter: buttons, what a run takes, and what this one trained on."""

import re
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from os import environ
from pathlib import Path
from typing import Any

import nbformat
from chapter_times import recorded
from docutils import nodes
from executed_notebooks import executed_copy
from sphinx.application import Sphinx

from infcop_lite.datasets import SOURCES


def data_sets(notebook: nbformat.NotebookNode) -> list[str]:
    """The data sets that the chapter printed the names of when it ran."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "\n".join(output.get("text", "") for output in outputs)
    words = set(re.findall(r"[\w-]+", printed))
    return [record.title for name, record in SOURCES.items() if name in words]


def facts(chapter: str, notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the box says about a run, by name. Seconds come from the one table that tells them."""
    profile = notebook.metadata["infcop_lite"]["parameters"]["profile"]
    took = recorded().get((chapter, profile))
    # the variable by which builds are made reproducible: seconds since 1970
    now = float(environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp()))
    built = datetime.fromtimestamp(now, UTC)
    return {
        "Measured": took.in_words() if took else f"not yet, in profile {profile}",
        "Trained here on": " and ".join(data_sets(notebook)) or "none",
        "Library": f"infcop_lite {version('infcop-lite')}",
        "Last built": f"{built:%Y-%m-%d}",
    }


def as_html(links: dict[str, str], rows: dict[str, str]) -> str:
    """The box.

    >>> as_html({}, {"Chapter": "9"})
    '<div class="made"><dl><div><dt>Chapter</dt><dd>9</dd></div></dl></div>'
    """
    buttons = "".join(f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in links.items())
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in rows.items()
    )
    return f'<div class="made">{buttons}<dl>{pairs}</dl></div>'


def add_box(app: Sphinx, doctree: nodes.document) -> None:
    """Put the box below the title, where the notebook has its badge, an image from a network."""
    docname = app.env.docname
    executed = executed_copy(app, docname)
    if not app.env.doc2path(docname).endswith(".ipynb") or not executed.exists():
        return
    links = {}
    for badge in [image for image in doctree.findall(nodes.image) if "://" in image["uri"]]:
        link, paragraph = badge.parent, badge.parent.parent
        links[badge["alt"]] = link["refuri"]
        paragraph.parent.remove(paragraph)
    rows = {"Chapter": str(int(Path(docname).name[:2]))}
    rows |= facts(Path(docname).name, nbformat.read(executed, as_version=4))
    title = next(doctree.findall(nodes.title))
    title.parent.insert(1, nodes.raw("", as_html(links, rows), format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, before images are collected."""
    app.connect("doctree-read", add_box, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Pages show the executed copy of a notebook, while the download stays the clean source."""

import json
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

#: Figures that `tools/keep_figures.py` keeps for the slides; no page shows them.
FOR_SLIDES = "application/vnd.infcop-lite.figure"


def executed_copy(app: Sphinx, docname: str) -> Path:
    """Where `make book` puts the executed copy of a notebook."""
    return Path(app.srcdir, "book", "_build", "executed", f"{docname}.ipynb")


def show_executed_copy(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a notebook's text by that of the copy which `make book` executed."""
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    executed = executed_copy(app, docname)
    if not executed.exists():
        raise ExtensionError(f"{docname} has no executed copy: run `make book`")
    app.env.note_dependency(str(executed))
    source[0] = shown(executed.read_text(encoding="utf-8"))


def shown(text: str) -> str:
    """Return an executed notebook without what its pages do not show.

    >>> shown('{"cells": [{"outputs": [{"data": {"application/vnd.infcop-lite.figure": ""}}]}]}')
    '{"cells": [{"outputs": [{"data": {}}]}]}'
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(FOR_SLIDES, None)
    return json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", show_executed_copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

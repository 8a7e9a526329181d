"""Pages show the executed copy of a notebook, while the download stays the clean source."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


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
    source[0] = executed.read_text(encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", show_executed_copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

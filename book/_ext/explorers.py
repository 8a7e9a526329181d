"""Pages with recorded explorers load the scripts that turn their knobs; no other page does."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MARK = 'class="drawn recorded"'
SCRIPTS = ("drawing.js", "recorded.js")


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the scripts to a page whose text has an explorer."""
    if MARK in context.get("body", ""):
        for script in SCRIPTS:
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Markup that others write in a way that screen readers stumble on, put right on every page."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

REPLACEMENTS = {
    # MyST-NB: the name of the button hides what is written on it, "Show code cell source"
    ' aria-label="Toggle hidden content"': "",
    # docutils: a list that has links beside its entries is none
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}


def mend(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Replace what is known to be wrong in a page's text."""
    for wrong, right in REPLACEMENTS.items():
        context["body"] = context.get("body", "").replace(wrong, right)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

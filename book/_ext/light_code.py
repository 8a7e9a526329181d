"""Listings without a mark on every word: what has the colour of the text needs none.

Names, punctuation and white space are two thirds of the marks that Pygments sets, and half of all
elements of a chapter.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: Classes of Pygments that have the colour of the text, in both styles of the theme.
PLAIN = ("n", "p", "w")
MARK = re.compile(rf'<span class="(?:{"|".join(PLAIN)})">([^<]*)</span>')


def lighten(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave the marks out of a page's text."""
    context["body"] = MARK.sub(r"\1", context.get("body", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

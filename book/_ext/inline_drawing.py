"""A drawing of book/_static within the page, so that it has the page's colours, in the dark too.

```{inline-drawing} method.svg
:name: fig-method
:alt: What it shows, for who cannot see it.
The caption.
```
"""

from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STATIC = Path(__file__).parents[1] / "_static"


class InlineDrawing(SphinxDirective):
    """A figure whose picture is text of the page."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "name": directives.unchanged_required,
        "alt": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return a figure; its caption is the text within the directive."""
        file = STATIC / self.arguments[0]
        self.env.note_dependency(str(file))
        svg = file.read_text("utf-8").replace(
            "<svg ", f'<svg role="img" aria-label="{escape(self.options["alt"])}" ', 1
        )
        words, _ = self.state.inline_text(" ".join(self.content), self.lineno)
        figure = nodes.figure("", nodes.raw("", svg, format="html"), nodes.caption("", "", *words))
        figure["classes"].append("inline-drawing")
        self.add_name(figure)
        return [figure]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("inline-drawing", InlineDrawing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

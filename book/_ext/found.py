"""What a chapter has found, on any page: the role `found` is a number, the directive a figure.

    {found}`15-what-consistency-guarantees:consist-walk-before`

    ```{found-figure} fig-mnist-stops
    The caption that it has on this page.
    ```

MyST-NB's own roles know the numbers of their page alone.
"""

import ast
import base64
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from executed_notebooks import executed_copy
from sphinx.application import Sphinx
from sphinx.directives.patches import Figure
from sphinx.util.docutils import SphinxRole

from infcop_lite.glue import PREFIX


def glued(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What a chapter gave to prose when it ran, by name."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    named = [output for output in outputs if "scrapbook" in output.get("metadata", {})]
    return {
        output.metadata["scrapbook"]["name"]: ast.literal_eval(output.data[f"{PREFIX}text/plain"])
        for output in named
    }


def drawn(notebook: nbformat.NotebookNode, label: str) -> tuple[bytes, str] | None:
    """A figure that a chapter drew when it ran, and its alt text; None if it has no such label."""
    for cell in notebook.cells:
        about = cell.metadata.get("mystnb", {})
        if about.get("figure", {}).get("name") == label:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    alt = about.get("image", {}).get("alt", "")
                    return base64.b64decode(output.data["image/png"]), alt
    return None


def read(executed: Path) -> nbformat.NotebookNode:
    """An executed copy; without one there is nothing in it."""
    return (
        nbformat.read(executed, as_version=4) if executed.exists() else nbformat.v4.new_notebook()
    )


class Found(SphinxRole):
    """Look a number up in the executed copy of its chapter."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as text; a name that no chapter has glued is a warning, so an error."""
        chapter, _, name = self.text.partition(":")
        executed = executed_copy(self.env.app, f"notebooks/{chapter}")
        self.env.note_dependency(str(executed))
        numbers = glued(read(executed))
        if name not in numbers:
            where = self.inliner.reporter.error(f"no chapter has found {self.text}")
            return [], [where]
        return [nodes.Text(numbers[name])], []


class FoundFigure(Figure):
    """Show a figure that a chapter drew once more, small, with a caption of this page."""

    def run(self) -> list[nodes.Node]:
        """Return a figure, which counts as one of this page only if it has a name here."""
        label, env = self.arguments[0], self.state.document.settings.env
        copies = executed_copy(env.app, "notebooks/any").parent.glob("*.ipynb")
        homes = [copy for copy in copies if f'"{label}"' in copy.read_text("utf-8")]
        found = next((it for copy in homes if (it := drawn(read(copy), label))), None)
        if found is None:
            raise self.error(f"no chapter has drawn {label}")
        for home in homes:
            env.note_dependency(str(home))
        png, alt = found
        target = Path(env.app.srcdir, "book", "_build", "found", f"{label}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png)
        self.arguments[0] = "/" + target.relative_to(env.app.srcdir).as_posix()
        self.options.setdefault("alt", alt)
        return list(super().run())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role("found", Found())
    app.add_directive("found-figure", FoundFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The role `found`: a number that a chapter has glued, on any page.

    {found}`07-what-consistency-guarantees:consist-walk-before`

MyST-NB's own roles know the numbers of their page alone.
"""

import ast
from typing import Any

import nbformat
from docutils import nodes
from executed_notebooks import executed_copy
from sphinx.application import Sphinx
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


class Found(SphinxRole):
    """Look a number up in the executed copy of its chapter."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as text; a name that no chapter has glued is a warning, so an error."""
        chapter, _, name = self.text.partition(":")
        executed = executed_copy(self.env.app, f"notebooks/{chapter}")
        self.env.note_dependency(str(executed))
        numbers = glued(nbformat.read(executed, as_version=4)) if executed.exists() else {}
        if name not in numbers:
            where = self.inliner.reporter.error(f"no chapter has found {self.text}")
            return [], [where]
        return [nodes.Text(numbers[name])], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role("found", Found())
    return {"parallel_read_safe": True, "parallel_write_safe": True}

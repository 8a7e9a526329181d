"""Cells that set up or draw are folded on the page, so that those which teach are what one sees.

A cell sets up if it imports or reads `profile`, and draws if it calls a plotting library. What a
notebook tags itself stays as it is: `shown` keeps a cell open that imports what it teaches. Of
folded cells in a row at most one of which shows something one is made, so that a reader meets one
line to unfold and not six. The download is the notebook, and folds nothing.
"""

import ast
import re
from typing import Any

import nbformat
from sphinx.application import Sphinx

from infcop_lite.glue import PREFIX

DRAWING = {"plt", "sns", "ax", "axes", "figure", "figures"}
FOLDS = ({"hide-input"}, {"hide-cell"})
TAGS = {"shown", "hide-input", "hide-cell", "remove-input", "remove-cell", "skip-execution"}


def parse(source: str) -> ast.Module:
    """Parse a cell, its magics and shell lines left out."""
    return ast.parse(re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", source))


def sets_up(source: str) -> bool:
    """Whether a cell imports, sets a parameter or reads the profile.

    >>> sets_up("import torch"), sets_up("size = sizes[profile]"), sets_up("print(1)")
    (True, True, False)
    """
    tree = parse(source)
    imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)
    return imports or "profile" in {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


def draws(source: str) -> bool:
    """Whether a cell calls a plotting library.

    >>> draws("axes[0].plot(x)"), draws("figures.frontier(rows)"), draws("model(x)")
    (True, True, False)
    """
    calls = [node.func for node in ast.walk(parse(source)) if isinstance(node, ast.Call)]
    return any(ast.unparse(call).partition(".")[0].partition("[")[0] in DRAWING for call in calls)


def fold(notebook: nbformat.NotebookNode) -> None:
    """Tag the cells that are to be folded; solutions are folded already, with their text."""
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.id.startswith("exercise"):
            continue
        tags = cell.metadata.setdefault("tags", [])
        if not TAGS & set(tags) and (sets_up(cell.source) or draws(cell.source)):
            tags.append("hide-input")


def folded(cell: nbformat.NotebookNode) -> bool:
    """Whether the page shows a line to unfold, and nothing but the output of this cell."""
    return cell.cell_type == "code" and set(cell.metadata.get("tags", [])) in FOLDS


def is_silent(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell shows nothing: no output but numbers for the prose, and no figure."""
    kinds = [kind for output in cell.outputs for kind in output.get("data", {"shown": ""})]
    return "mystnb" not in cell.metadata and all(kind.startswith(PREFIX) for kind in kinds)


def join(notebook: nbformat.NotebookNode) -> None:
    """Make one cell of folded cells in a row of which at most one shows something."""
    joined: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        row = [*joined[-1:], cell]
        loud = [c for c in row if folded(c) and not is_silent(c)]
        if len(row) == 2 and all(map(folded, row)) and len(loud) < 2:
            kept = (loud or row)[0]
            source = "\n\n".join(c.source for c in row)
            outputs = [output for c in row for output in c.outputs]
            kept.source, kept.outputs = source, outputs
            if not loud:
                kept.metadata.tags = ["hide-input"]
            joined[-1] = kept
        else:
            joined.append(cell)
    notebook.cells = joined


def fold_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """After the executed copy has been put in the notebook's place."""
    if app.env.doc2path(docname).endswith(".ipynb"):
        notebook = nbformat.reads(source[0], as_version=4)
        fold(notebook)
        join(notebook)
        source[0] = nbformat.writes(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, after `executed_notebooks`."""
    app.connect("source-read", fold_page, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

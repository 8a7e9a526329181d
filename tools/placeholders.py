"""Numbers and cases of a master: today's, or others that a seed draws.

A master may hold a raw cell that begins with `# NUMBERS`. Its Python gives names to numbers and
cases, `choose(today, others)` for each. In every other cell `«expression:format»` shows what an
expression of these names says, as in the quiz.
"""

import itertools
import math
import random
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from nbformat import NotebookNode

SHOWN = re.compile(r"«(.+?)(?::([^»:]+))?»")
HEAD = "# NUMBERS"
T = TypeVar("T")


def filled(notebook: NotebookNode, rng: random.Random | None = None) -> NotebookNode:
    """Return a master with its numbers filled in: today's, or those that `rng` draws.

    Raises:
        ValueError: the code of its numbers fails, or an expression does.

    >>> from nbformat.v4 import new_markdown_cell, new_notebook, new_raw_cell
    >>> cells = [new_raw_cell("# NUMBERS\\nn = choose(2, [3, 4])"), new_markdown_cell("«n + 1»")]
    >>> filled(new_notebook(cells=cells)).cells[0].source
    '3'
    """

    def choose(today: T, others: Iterable[T]) -> T:
        return today if rng is None else rng.choice([*others])

    known: dict[str, Any] = {"choose": choose, "math": math, "pairs": itertools.product}
    whole: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "raw" and cell.source.startswith(HEAD):
            _run(cell.source, known)
        else:
            cell.source = SHOWN.sub(lambda found: _said(found, known), cell.source)
            whole.append(cell)
    notebook.cells = whole
    return notebook


def _run(source: str, known: dict[str, Any]) -> None:
    try:
        exec(source, known)
    except Exception as error:
        raise ValueError(f"the code of its numbers fails: {error!r}") from None


def _said(found: re.Match[str], known: dict[str, Any]) -> str:
    try:
        return format(eval(found[1], known), found[2] or "")
    except Exception as error:
        raise ValueError(f"{found[0]} says nothing: {error!r}") from None

"""Variants of a master: for each seed other numbers and cases, which tell right from wrong.

A draw is good if the solution passes every test and each wrong answer that is listed beside the
master fails the tests that are named there, and no others. One that is not is drawn again.
"""

import contextlib
import inspect
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from masters import MasterError, Question, one_line, read, wrong_answers
from nbformat import NotebookNode
from placeholders import filled
from verdict import even

DRAWS = 40  # before a master is given up


def write(master: Path, seed: str, into: Path) -> Path:
    """Write a master with its numbers filled in, and return the file.

    Args:
        master: NN-name.ipynb.
        seed: which numbers; none for today's.
        into: the folder. The file is NN-name.ipynb there, or NN-name-SEED.ipynb.

    Raises:
        MasterError: as `read`; or no draw tells every wrong answer from a right one.
    """
    path = into / f"{master.stem}{'-' if seed else ''}{seed}.ipynb"
    read(master)  # which says in one line what is wrong with it
    said = ""
    for number in range(DRAWS if seed else 1):
        rng = random.Random(f"{seed} {master.stem} {number}") if seed else None
        notebook = filled(nbformat.read(master, as_version=4), rng)
        notebook.metadata["seed"] = seed
        nbformat.write(notebook, path)
        said = fault(path, master)
        if not said:
            return path
    raise MasterError(f"{master.name}: {said}")


def fault(path: Path, master: Path) -> str:
    """Return what a filled master does not tell apart, or an empty text.

    Args:
        path: the file that `write` made.
        master: where it comes from; NN-name.wrong.md may lie beside it.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # some answers are printed
        return _fault(path, master)


def _fault(path: Path, master: Path) -> str:
    cells = code(nbformat.read(path, as_version=4))
    tests = callables(read(path))
    try:
        if said := complaints(tests, names(cells)):
            return f"its own solution fails: {next(iter(said.values()))}"
    except Exception as error:
        return f"its own solution fails: {type(error).__name__}: {one_line(error)}"
    if not master.with_suffix(".wrong.md").exists():
        return ""
    for wrong in wrong_answers(master):
        failed = set(complaints(tests, names([*cells, wrong.code])))
        if failed != wrong.tests:
            told = ", ".join(sorted(failed)) or "no test"
            return f"{told} says that {wrong.title!r} is wrong, not what is listed"
    return ""


def code(notebook: NotebookNode) -> list[str]:
    """Return the code of a filled master, solutions included and tests left out."""
    found, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "raw":
            inside = cell.source.startswith("# BEGIN TESTS") or (
                inside and not cell.source.startswith("# END TESTS")
            )
        elif cell.cell_type == "code" and not inside:
            found.append(cell.source)
    return found


def names(cells: list[str]) -> dict[str, Any]:
    """Return what code defines."""
    known: dict[str, Any] = {}
    for source in cells:
        exec(source, known)
    return known


def callables(questions: list[Question]) -> dict[str, Any]:
    """Return the functions of all tests, by name."""
    known = names([test.function for question in questions for test in question.tests])
    return {test.name: known[test.name] for question in questions for test in question.tests}


def complaints(tests: Mapping[str, Any], defined: Mapping[str, Any]) -> dict[str, str]:
    """Return what tests say about what a notebook defines: name -> message, where one fails."""
    said = {}
    for name, test in tests.items():
        asked = inspect.signature(test).parameters
        try:
            even(test)(**{argument: defined[argument] for argument in asked})
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said

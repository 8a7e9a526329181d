"""Grade one notebook with pytest alone: python -m pytest FOLDER --notebook FILE.ipynb

`make assignments` puts this file beside the tests, as their conftest.py. The notebook's cells run
once, in order, in this process; a cell that fails is passed over, as a reader would go on. An
argument of a test is what the notebook calls by that name. This is no sandbox: grade strangers'
code where it can do no harm.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = pytest.StashKey[dict[str, Any]]()


def run(notebook: Path) -> dict[str, Any]:
    """Return what the notebook defines, as far as its cells run.

    Raises:
        OSError, ValueError: it cannot be read, or is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (KeyError, TypeError):
        raise ValueError("it is no notebook") from None
    os.environ.setdefault("MPLBACKEND", "Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for source in sources:
        python = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)  # what only Jupyter understands
        try:
            exec(compile(python, notebook.name, "exec"), names)
        except (Exception, SystemExit):
            continue
    return names


def missing(name: str) -> Callable[..., None]:
    """Return a function that says that the notebook has none of this name."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError(f"{name} is not defined: does its cell run on its own?")

    return fail


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --notebook."""
    parser.addoption("--notebook", type=Path, help="the notebook to grade")


def pytest_configure(config: pytest.Config) -> None:
    """Run the notebook."""
    config.addinivalue_line("markers", "points(number): what a test is worth")
    notebook = config.getoption("--notebook")
    if notebook is None:
        raise pytest.UsageError("say what to grade: --notebook FILE.ipynb")
    try:
        config.stash[NAMES] = run(notebook)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"cannot grade {notebook}: {error}") from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test what it asks for by name."""
    names = metafunc.config.stash[NAMES]
    for name in metafunc.fixturenames:
        metafunc.parametrize(name, [names.get(name, missing(name))], ids=[name])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the points of a test into its report."""
    for item in items:
        item.user_properties += [("points", mark.args[0]) for mark in item.iter_markers("points")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up the points."""
    points = {
        outcome: sum(value for report in reports for _, value in report.user_properties)
        for outcome in ("passed", "failed")
        if (reports := terminalreporter.getreports(outcome)) is not None
    }
    possible = points["passed"] + points["failed"]
    terminalreporter.write_line(f"{points['passed']:.4g} of {possible:.4g} points")

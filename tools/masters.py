"""Master notebooks of the assignments: questions, points and tests.

A master is in the format of otter-grader, whose `otter assign` takes the solutions out. Beside it
lie its typical wrong answers.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode
from placeholders import filled

ROOT = Path(__file__).resolve().parent.parent
MASTERS = ROOT / "course" / "assignments"
POINTS = 10  # of every assignment


class MasterError(Exception):
    """A master that makes no assignment; its text says where and why, in one line."""


@dataclass(frozen=True)
class Test:
    """One test cell: a function, and its call."""

    __test__ = False  # it is none of pytest's own
    source: str
    name: str
    function: str
    hidden: bool

    @property
    def file(self) -> str:
        """The file for pytest in which it lies."""
        return f"test_{'hidden' if self.hidden else 'visible'}.py"


@dataclass(frozen=True)
class Question:
    """One question, named after the function that it asks for; its tests share its points."""

    name: str
    points: float
    tests: list[Test]

    @classmethod
    def of(cls, told: Any) -> "Question":
        """Return a question from what `dataclasses.asdict` made of it."""
        return cls(told["name"], told["points"], [Test(**test) for test in told["tests"]])


def read(master: Path) -> list[Question]:
    """Return the questions of a master.

    Raises:
        MasterError: it is no notebook, a question is incomplete, or the points do not add up.
    """
    try:
        cells = _cells(master)
        questions = [_question(part) for part in _between(cells, "QUESTION")]
    except (OSError, SyntaxError, ValueError, yaml.YAMLError, nbformat.ValidationError) as error:
        raise MasterError(f"{master.name}: {one_line(error)}") from None
    names = [test.name for question in questions for test in question.tests]
    if twice := {name for name in names if names.count(name) > 1}:
        raise MasterError(f"{master.name}: two tests are called {min(twice)}")
    if (total := sum(question.points for question in questions)) != POINTS:
        raise MasterError(f"{master.name}: {total:g} points in all, not {POINTS}")
    return questions


def _cells(master: Path) -> list[NotebookNode]:
    try:
        cells: list[NotebookNode] = filled(nbformat.read(master, as_version=4)).cells
    except AttributeError:  # JSON, but not even a dict
        raise ValueError("it is no notebook") from None
    if not (cells and cells[0].source.startswith("# ASSIGNMENT CONFIG")):
        raise ValueError("the first cell must be '# ASSIGNMENT CONFIG', with the config file")
    for cell in cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
    return cells


def _between(cells: list[NotebookNode], word: str) -> list[list[NotebookNode]]:
    """Return the cells from each BEGIN to its END; the first of them is the BEGIN."""
    parts: list[list[NotebookNode]] = []
    inside = False
    for cell in cells:
        marker = cell.source.partition("\n")[0] if cell.cell_type == "raw" else ""
        if marker in (f"# BEGIN {word}", f"# END {word}"):
            if inside == marker.startswith("# BEGIN"):
                raise ValueError(f"{marker!r} where the last one is still open, or none is")
            inside = not inside
            parts += [[]] if inside else []
        if inside:
            parts[-1].append(cell)
    if inside:
        raise ValueError(f"'# BEGIN {word}' without its END")
    return parts


def _question(cells: list[NotebookNode]) -> Question:
    head = yaml.safe_load(cells[0].source)
    if not (isinstance(head, dict) and head.get("name")):
        raise ValueError("a question needs a name and points")
    points = head.get("points")
    if not (isinstance(points, int | float) and points > 0):
        raise ValueError(f"{head['name']} needs points, a number > 0, not {points!r}")
    parts = _between(cells, "TESTS")
    tests = [_test(cell.source) for part in parts for cell in part if cell.cell_type == "code"]
    if {test.hidden for test in tests} != {True, False}:
        raise ValueError(f"{head['name']} needs a visible test and a hidden one")
    return Question(head["name"], points, tests)


def _test(source: str) -> Test:
    body = ast.parse(source).body
    if [type(part) for part in body] != [ast.FunctionDef, ast.Expr]:
        raise ValueError(f"a test cell holds one function and its call, not {source[:40]!r}")
    function = body[0]
    assert isinstance(function, ast.FunctionDef)
    text = ast.get_source_segment(source, function) or ""
    return Test(source, function.name, text, source.startswith("# HIDDEN"))


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer: code that replaces one function, and the tests that catch it."""

    title: str
    tests: set[str]  # empty if the title begins with "Not wrong"
    code: str


def wrong_answers(master: Path) -> list[Wrong]:
    """Read the typical wrong answers that lie beside a master, in NN-name.wrong.md."""
    text = master.with_suffix(".wrong.md").read_text("utf-8")
    pattern = r"## ([^\n]+)\n\n([^\n]+)\n\n```python\n(.+?)```"
    found = [
        Wrong(title, set(re.findall(r"`(test_\w+)`", caught)), code)
        for title, caught, code in re.findall(pattern, text, re.S)
    ]
    if len(found) != text.count("\n## "):
        raise MasterError(f"{master.stem}.wrong.md: a wrong answer that nobody reads")
    return found


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

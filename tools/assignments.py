"""Make assignments from master notebooks: to hand out, to look up, to grade.

    python tools/assignments.py                 every master in course/assignments
    python tools/assignments.py MASTER.ipynb    that one alone

A master is in the format of otter-grader, whose `otter assign` takes the solutions out. What it
makes of NN-name.ipynb lies in book/_build/assignments/NN-name:

    student/NN-name.ipynb     neither solutions nor hidden tests; needs no grader to run
    solution/NN-name.ipynb    executed, with every test
    pytest/                   the tests; `python -m pytest pytest --notebook FILE.ipynb` grades
    otter/autograder.zip      the same tests; `otter run -a autograder.zip FILE.ipynb` grades
"""

import argparse
import ast
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import address
import nbclient
import nbformat
import otter.assign
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
MASTERS = ROOT / "course" / "assignments"
BUILT = ROOT / "book" / "_build" / "assignments"
POINTS = 10  # of every assignment


class MasterError(Exception):
    """A master that makes no assignment; its text says where and why, in one line."""


@dataclass(frozen=True)
class Test:
    """One test cell: a function, and its call."""

    source: str
    name: str
    function: str
    hidden: bool


@dataclass(frozen=True)
class Question:
    """One question, named after the function that it asks for; its tests share its points."""

    name: str
    points: float
    tests: list[Test]


def read(master: Path) -> list[Question]:
    """Return the questions of a master.

    Raises:
        MasterError: it is no notebook, a question is incomplete, or the points do not add up.
    """
    try:
        cells = _cells(master)
        questions = [_question(part) for part in _between(cells, "QUESTION")]
    except (OSError, SyntaxError, ValueError, yaml.YAMLError, nbformat.ValidationError) as error:
        raise MasterError(f"{master.name}: {_one_line(error)}") from None
    names = [test.name for question in questions for test in question.tests]
    if twice := {name for name in names if names.count(name) > 1}:
        raise MasterError(f"{master.name}: two tests are called {min(twice)}")
    if (total := sum(question.points for question in questions)) != POINTS:
        raise MasterError(f"{master.name}: {total:g} points in all, not {POINTS}")
    return questions


def _cells(master: Path) -> list[NotebookNode]:
    try:
        cells: list[NotebookNode] = nbformat.read(master, as_version=4).cells
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


def make(master: Path, into: Path) -> Path:
    """Make the folder of one assignment, all but the outputs of its solution, and return it.

    Raises:
        MasterError: as `read`; or otter refuses it; or students would see a solution.
    """
    questions, folder = read(master), into / master.stem
    with tempfile.TemporaryDirectory() as scratch:
        parts = {name: Path(scratch, name) for name in ("student", "solution", "pytest", "otter")}
        for part in parts.values():
            part.mkdir()
        _assign(master, Path(scratch))
        (archive,) = Path(scratch, "made", "autograder").glob("*.zip")
        shutil.copy(archive, parts["otter"] / "autograder.zip")
        for version, made in (("student", "student"), ("solution", "autograder")):
            notebook = nbformat.read(Path(scratch, "made", made, master.name), as_version=4)
            tests = {
                question.name: [t for t in question.tests if version == "solution" or not t.hidden]
                for question in questions
            }
            notebook = _standalone(notebook, master.stem, tests)
            if version == "student" and (told := _told(notebook, questions)):
                raise MasterError(f"{master.name}: students would see the solution of {told}")
            nbformat.write(notebook, parts[version] / master.name)
        shutil.copy(MASTERS / "grade_with_pytest.py", parts["pytest"] / "conftest.py")
        (parts["pytest"] / "pytest.ini").write_text("[pytest]\naddopts = --tb=line -q\n")
        for kind, hidden in (("visible", False), ("hidden", True)):
            text = _pytest_file(master.stem, questions, hidden)
            (parts["pytest"] / f"test_{kind}.py").write_text(text, "utf-8")
        folder.mkdir()
        for part in parts.values():
            shutil.move(part, folder)
    return folder


def _assign(master: Path, scratch: Path) -> None:
    """Run `otter assign` on a copy, with the settings that all masters share."""
    settings = yaml.safe_load((MASTERS / "config.yml").read_text("utf-8"))
    settings["requirements"] = [f"infcop-lite @ git+https://github.com/{address.configured()[0]}"]
    (scratch / "config.yml").write_text(yaml.safe_dump(settings), "utf-8")
    shutil.copy(master, scratch)
    try:
        otter.assign.main(str(scratch / master.name), str(scratch / "made"), no_pdfs=True)
    except Exception as error:  # otter raises what it likes, AssertionError too
        raise MasterError(f"{master.name}: {_one_line(error)}") from None


def _standalone(
    notebook: NotebookNode, assignment: str, tests: dict[str, list[Test]]
) -> NotebookNode:
    """Put the tests where otter calls its grader, and let links lead to the public book."""
    owner, name = address.configured()[0].split("/")

    def public(link: re.Match[str]) -> str:
        page = (MASTERS / link[1]).resolve().relative_to(ROOT).with_suffix(".html")
        return f"](https://{owner}.github.io/{name}/{page.as_posix()})"

    cells = []
    for cell in notebook.cells:
        if check := re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source):
            for test in tests[check[1]]:
                cells.append(nbformat.v4.new_code_cell(test.source, metadata=cell.metadata))
            continue
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\.\.?/[^)#]+)\)", public, cell.source)
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata["otter"] = {"assignment_name": assignment}
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return notebook


def _told(student: NotebookNode, questions: list[Question]) -> str:
    """Return the first function whose body is still there, or an empty text."""
    empty = set()
    for cell in student.cells:
        for part in ast.parse(cell.source).body if cell.cell_type == "code" else []:
            if isinstance(part, ast.FunctionDef) and ast.unparse(part.body[-1]) == "...":
                said = part.body[:-1]
                if [type(line) for line in said] in ([], [ast.Expr]):  # a docstring at most
                    empty.add(part.name)
    return next((question.name for question in questions if question.name not in empty), "")


def _pytest_file(name: str, questions: list[Question], hidden: bool) -> str:
    parts = [f'"""Tests of {name}: {"hidden" if hidden else "visible"}."""\n\nimport pytest\n']
    for question in questions:
        points = round(question.points / len(question.tests), 4)
        for test in question.tests:
            if test.hidden == hidden:
                parts.append(f"@pytest.mark.points({points:g})\n{test.function}\n")
    return "\n\n".join(parts)


def execute(notebook: Path) -> None:
    """Run a notebook where it lies.

    Raises:
        MasterError: a cell fails.
    """
    cells = nbformat.read(notebook, as_version=4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        where = {"metadata": {"path": scratch}}
        try:
            nbclient.NotebookClient(cells, timeout=120, resources=where).execute()
        except nbclient.exceptions.CellExecutionError as error:
            wrong = f"{error.ename}: {error.evalue}"
            raise MasterError(f"{notebook.name}: its own solution fails: {wrong}") from None
    nbformat.write(cells, notebook)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Make assignments from master notebooks.")
    parser.add_argument("masters", nargs="*", type=Path, help="these alone")
    parser.add_argument("--into", type=Path, default=BUILT, help="where they go")
    chosen = parser.parse_args(arguments)
    try:
        for master in chosen.masters or sorted(MASTERS.glob("*.ipynb")):
            questions, folder = read(master), chosen.into / master.stem
            with tempfile.TemporaryDirectory() as scratch:  # what was made before stays till then
                made = make(master.resolve(), Path(scratch))
                execute(made / "solution" / master.name)
                chosen.into.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                shutil.move(made, folder)
            num_tests = sum(len(question.tests) for question in questions)
            print(f"{folder}: {len(questions)} questions, {num_tests} tests", flush=True)
    except (MasterError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make assignments from master notebooks: to hand out, to look up, to grade.

    python tools/assignments.py                   every master in course/assignments
    python tools/assignments.py MASTER.ipynb      that one alone
    python tools/assignments.py --from FOLDER     masters of your own
    python tools/assignments.py --seed 2027 7     two variants of each, with other numbers

A master is in the format of otter-grader, whose `otter assign` takes the solutions out. What it
makes of NN-name.ipynb lies in book/_build/assignments/NN-name, or NN-name-SEED:

    student/NN-name.ipynb     neither solutions nor hidden tests; runs to its end, unfinished too
    solution/NN-name.ipynb    executed, with every test
    pytest/                   the tests; `python -m pytest pytest --notebook FILE.ipynb` grades
    otter/autograder.zip      the same tests; `otter run -a autograder.zip FILE.ipynb` grades
"""

import argparse
import ast
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import address
import nbclient
import nbformat
import otter.assign
import variants
import yaml
from masters import MASTERS, ROOT, MasterError, Question, one_line, read
from nbformat import NotebookNode

TOOLS = Path(__file__).parent
#: The first becomes the conftest of the tests, the others lie beside it.
GRADING = [
    TOOLS / f"{name}.py"
    for name in ("grade_with_pytest", "submission", "line", "pupil", "wire", "verdict")
]
NAME = '''\
# Your name, and your number if your course has one.
student_name = ""
student_id = ""'''
SO_FAR = """\
got, given = (sum(points[i] for points in earned.values()) for i in (0, 1))
print(f"{got:g} of the {given:g} points that these tests give; hidden tests give the others")"""
BUILT = ROOT / "book" / "_build" / "assignments"


def make(master: Path, into: Path, seed: str = "") -> Path:
    """Make the folder of one assignment, all but the outputs of its solution, and return it.

    Raises:
        MasterError: as `variants.write`; or otter refuses it; or students would see a solution.
    """
    with tempfile.TemporaryDirectory() as scratch:
        master = variants.write(master, seed, Path(scratch))
        questions, folder = read(master), into / master.stem
        parts = {name: Path(scratch, name) for name in ("student", "solution", "pytest", "otter")}
        for part in parts.values():
            part.mkdir()
        _assign(master, Path(scratch))
        (archive,) = Path(scratch, "made", "autograder").glob("*.zip")
        _evened(archive, parts["otter"] / "autograder.zip")
        for version, made in (("student", "student"), ("solution", "autograder")):
            notebook = nbformat.read(Path(scratch, "made", made, master.name), as_version=4)
            notebook = _standalone(notebook, master.stem, questions, version == "solution")
            notebook.metadata["otter"] = {"assignment_name": master.stem, "seed": seed}
            if version == "student" and (seen := _told(notebook, questions)):
                raise MasterError(f"{master.name}: students would see the solution of {seen}")
            nbformat.write(notebook, parts[version] / master.name)
        shutil.copy(GRADING[0], parts["pytest"] / "conftest.py")
        for module in GRADING[1:]:
            shutil.copy(module, parts["pytest"])
        told = json.dumps([asdict(question) for question in questions], indent=1)
        (parts["pytest"] / "questions.json").write_text(told, "utf-8")
        (parts["pytest"] / "pytest.ini").write_text("[pytest]\naddopts = --tb=line -q\n")
        for kind, hidden in (("visible", False), ("hidden", True)):
            text = _pytest_file(master.stem, questions, hidden)
            (parts["pytest"] / f"test_{kind}.py").write_text(text, "utf-8")
        folder.mkdir()
        for part in parts.values():
            shutil.move(part, folder)
    return folder


def _assign(master: Path, scratch: Path) -> None:
    """Run `otter assign` in the scratch folder, with the settings that all masters share."""
    settings = yaml.safe_load((MASTERS / "config.yml").read_text("utf-8"))
    del settings["handed_out"]
    settings["requirements"] = [f"infcop-lite @ git+https://github.com/{address.configured()[0]}"]
    (scratch / "config.yml").write_text(yaml.safe_dump(settings), "utf-8")
    try:
        otter.assign.main(str(scratch / master.name), str(scratch / "made"), no_pdfs=True)
    except Exception as error:  # otter raises what it likes, AssertionError too
        raise MasterError(f"{master.name}: {one_line(error)}") from None


def _evened(archive: Path, into: Path) -> None:
    """Copy otter's archive; its tests then take a tensor that holds a number for that number."""
    even = """
{verdict}

for case in [case for case in globals().values() if isinstance(case, test_case)]:
    case.test_func = even(case.test_func)
del case
"""
    with zipfile.ZipFile(archive) as made, zipfile.ZipFile(into, "w") as new:
        for name in made.namelist():
            text = made.read(name)
            if re.fullmatch(r"tests/\w+\.py", name):
                text += even.format(verdict=_given()).encode()
            new.writestr(name, text)


def _given() -> str:
    """The cell that says what tests say."""
    return (TOOLS / "verdict.py").read_text("utf-8").partition("\n")[2].strip()


def _standalone(
    notebook: NotebookNode, assignment: str, questions: list[Question], hidden: bool
) -> NotebookNode:
    """Put checks where otter calls its grader, and let links lead to the public book."""
    code = nbformat.v4.new_code_cell
    slug, _ = address.configured()
    owner, name = slug.split("/")

    def public(link: re.Match[str]) -> str:
        page = (MASTERS / link[1]).resolve()
        if not page.exists():
            raise MasterError(f"{assignment}: a link leads nowhere, {link[1]}")
        return f"](https://{owner}.github.io/{name}/{page.relative_to(ROOT).with_suffix('.html')})"

    tests = {question.name: question.tests for question in questions}
    cells = []
    for cell in notebook.cells:
        if check := re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source):
            points = next(q.points for q in questions if q.name == check[1]) / len(tests[check[1]])
            shown = [test for test in tests[check[1]] if hidden or not test.hidden]
            calls = (f"{t.function}\n\n\ncheck({t.name}, points={points:.6g})" for t in shown)
            cells += [code(call, metadata=cell.metadata) for call in calls]
            continue
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\.\.?/[^)#]+)\)", public, cell.source)
        cells.append(cell)
    handed_out = yaml.safe_load((MASTERS / "config.yml").read_text("utf-8"))["handed_out"]
    colab = f"https://colab.research.google.com/github/{slug}/{handed_out}/{assignment}.ipynb"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    cells[0].source += f"\n\n[![Open in Colab]({badge})]({colab})"
    cells[1:1] = [code(NAME), code(_given())]
    cells.append(code(SO_FAR))
    notebook.cells = cells
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
        MasterError: a cell fails, or a test.
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
    for cell in cells.cells:
        said = "".join(output.get("text", "") for output in cell.get("outputs", []))
        if said.startswith("not yet: "):
            raise MasterError(f"{notebook.name}: its own solution fails: {' '.join(said.split())}")
    nbformat.write(cells, notebook)


def build(master: Path, seed: str, into: Path) -> str:
    """Make an assignment, execute its solution, and say what has come of it."""
    with tempfile.TemporaryDirectory() as scratch:  # what was made before stays till then
        made = make(master, Path(scratch), seed)
        execute(next((made / "solution").glob("*.ipynb")))
        into.mkdir(parents=True, exist_ok=True)
        folder = into / made.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(made, folder)
    told = json.loads((folder / "pytest" / "questions.json").read_text("utf-8"))
    num_tests = sum(len(question["tests"]) for question in told)
    return f"{folder}: {len(told)} questions, {num_tests} tests"


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Make assignments from master notebooks.")
    parser.add_argument("masters", nargs="*", type=Path, help="these alone")
    parser.add_argument("--from", dest="folder", default=MASTERS, type=Path, help="where they lie")
    parser.add_argument("--seed", nargs="*", default=[], help="other numbers for each of these")
    parser.add_argument("--into", type=Path, default=BUILT, help="where they go")
    chosen = parser.parse_args(arguments)
    try:
        if bad := [seed for seed in chosen.seed if not re.fullmatch(r"\w+", seed)]:
            raise MasterError(f"a seed is of letters and digits, unlike {bad[0]!r}: SEED=2027")
        found = chosen.masters or sorted(chosen.folder.glob("*.ipynb"))
        if not found:
            raise MasterError(f"no master lies in {chosen.folder}: FROM=folder names another")
        for master, seed in itertools.product(found, chosen.seed or [""]):
            print(build(master.resolve(), seed, chosen.into), flush=True)
    except (MasterError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

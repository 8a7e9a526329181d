"""The assignments: their solutions pass, what students get fails, typical errors are caught."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import assignments
import nbformat
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MASTERS = sorted(assignments.MASTERS.glob("*.ipynb"))
WRONG = re.compile(r"## ([^\n]+)\n\n([^\n]+)\n\n```python\n(.+?)```", re.S)
each_master = pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def grading():
    """The file that grades with pytest alone."""
    file = assignments.MASTERS / "grade_with_pytest.py"
    spec = importlib.util.spec_from_file_location("grading", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make an assignment, once."""
    folders = {}

    def make(master):
        if master not in folders:
            folders[master] = assignments.make(master, tmp_path_factory.mktemp("made"))
        return folders[master]

    return make


def all_tests(master):
    return [test for question in assignments.read(master) for test in question.tests]


def complaints(grading, master, names):
    """What the tests say about what a notebook defines: name of a test -> message, if it fails."""
    said = {}
    for test in all_tests(master):
        scope = {}
        exec(test.function, scope)
        code = scope[test.name].__code__
        arguments = code.co_varnames[: code.co_argcount]
        try:
            scope[test.name](*(names.get(name, grading.missing(name)) for name in arguments))
        except Exception as error:
            said[test.name] = f"{type(error).__name__}: {error}"
    return said


def typical_errors(master):
    """The wrong answers kept beside a master, as (title, names of tests, code)."""
    text = master.with_suffix(".wrong.md").read_text("utf-8")
    found = [
        (title, set(re.findall(r"`(\w+)`", caught)), code)
        for title, caught, code in WRONG.findall(text)
    ]
    assert len(found) == len(re.findall(r"(?m)^## ", text)), "a wrong answer that nobody reads"
    return found


def test_there_are_enough():
    assert len(MASTERS) >= 6
    for master in MASTERS:
        assert 4 <= len(assignments.read(master)) <= 6


@each_master
def test_the_solution_gets_full_marks(grading, made, master):
    names = grading.run(made(master) / "solution" / master.name)
    assert complaints(grading, master, names) == {}


@each_master
def test_the_student_version_fails_each_test_and_is_told_what_is_wanted(grading, made, master):
    names = grading.run(made(master) / "student" / master.name)
    said = complaints(grading, master, names)
    for question in assignments.read(master):
        for test in question.tests:
            assert test.name in said, f"{test.name} passes before anything is written"
            assert said[test.name].startswith("AssertionError: ")
            assert question.name in said[test.name]
            assert len(said[test.name]) > len("AssertionError: ") + len(question.name) + 10


@each_master
def test_typical_wrong_answers_are_caught_by_the_right_tests_and_no_others(grading, made, master):
    solution = made(master) / "solution" / master.name
    errors = typical_errors(master)
    assert len(errors) >= 5
    for title, expected, code in errors:
        assert expected, f"{title}: nothing is said to catch it"
        names = grading.run(solution)
        exec(code, names)
        assert set(complaints(grading, master, names)) == expected, title


@each_master
def test_students_see_no_solution_and_no_hidden_test(made, master):
    cells = nbformat.read(master, as_version=4).cells
    student = (made(master) / "student" / master.name).read_text("utf-8")
    solutions = [
        line.strip()
        for cell in cells
        for part in re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", cell.source, re.S)
        for line in part.splitlines()
        if len(line.strip()) > 20
    ]
    assert solutions
    for line in solutions:
        assert json.dumps(line)[1:-1] not in student
    for test in all_tests(master):
        assert (test.name in student) is not test.hidden


def grade(folder, version, name):
    command = ["-m", "pytest", "-p", "no:cacheprovider", folder / "pytest"]
    notebook = folder / version / name
    return subprocess.run(
        [sys.executable, *command, "--notebook", notebook],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("version", "points"), [("solution", "10 of 10"), ("student", "0 of 10")])
def test_plain_pytest_adds_up_the_points(made, version, points):
    result = grade(made(MASTERS[0]), version, MASTERS[0].name)
    assert f"{points} points" in result.stdout
    assert result.returncode == (version == "student")


def test_what_is_no_notebook_is_not_graded(made, tmp_path):
    (tmp_path / "empty.ipynb").write_text("{}")
    result = grade(made(MASTERS[0]), tmp_path, "empty.ipynb")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "it is no notebook" in result.stderr


@pytest.mark.parametrize(("version", "points"), [("solution", 10), ("student", 0)])
def test_otter_grades_alike(made, tmp_path, version, points):
    folder = made(MASTERS[0])
    otter = Path(sys.executable).parent / "otter"
    options = ["-a", folder / "otter" / "autograder.zip", "-o", tmp_path]
    notebook = folder / version / MASTERS[0].name
    subprocess.run([otter, "run", *options, notebook], check=True, capture_output=True)
    tests = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert sum(test.get("score", 0) for test in tests) == pytest.approx(points)
    assert sum(test.get("max_score", 0) for test in tests) == pytest.approx(10)


def edited(tmp_path, old, new):
    text = MASTERS[0].read_text("utf-8")
    assert re.search(old, text)
    path = tmp_path / "bad.ipynb"
    path.write_text(re.sub(old, new, text), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# END QUESTION", "# END", "still open"),
        ("points: 2", "points: 3", "points in all, not 10"),
        ("points: 2", "", "keep_largest needs points, a number > 0, not None"),
        ("points: 2", "points: two", "keep_largest needs points, a number > 0, not 'two'"),
        ("name: keep_largest", "", "a question needs a name and points"),
        ("# ASSIGNMENT CONFIG", "# CONFIG", "the first cell must be '# ASSIGNMENT CONFIG'"),
        ("return mask.view_as", "return return mask.view_as", "invalid syntax"),
        ("return mask.view_as", "return 1 - mask.view_as", "its own solution fails"),
        ("# HIDDEN", "# SEEN", "a visible test and a hidden one"),
        ("    # (BEGIN|END) SOLUTION", "    1", "would see the solution of"),
        ('"cells"', '"cell"', "bad.ipynb"),
        ("(?s)^.*$", "[]", "it is no notebook"),
        ("(?s)^.*$", "", "does not appear to be JSON"),
    ],
)
def test_a_bad_master_is_refused_in_one_line_and_what_was_made_stays(
    tmp_path, capsys, old, new, complaint
):
    master = edited(tmp_path, old, new)
    made_before = tmp_path / "made" / master.stem / "student"
    made_before.mkdir(parents=True)
    assert assignments.main([str(master), "--into", str(tmp_path / "made")]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert made_before.exists()


def test_a_solution_that_fails_is_refused(tmp_path, capsys):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    with pytest.raises(assignments.MasterError, match="ZeroDivisionError"):
        assignments.execute(tmp_path / "a.ipynb")

"""Grading a folder: what was earned is found, by either back-end, whatever the notebook does."""

import csv
import json
import os
from pathlib import Path

import assignments
import corpus
import everywhere
import grade
import masters
import pytest
import submission
import variants
from submission import Limits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
#: One of each kind; `make soak` grades all that there are.
SOME = [
    *("right.ipynb", "tidy.ipynb", "numpy.ipynb", "latin-1.ipynb", "script.py", "brackets.ipynb"),
    *("half.ipynb", "loops.ipynb", "cell-os-exit.ipynb", "cheat-assert-close.ipynb"),
    *("cheat-talks.ipynb", "02-wrong-00.ipynb", "library.ipynb"),
    *("other-types-05-cifar10.ipynb", "last-misconceptions-05-cifar10.ipynb"),
]
CIFAR = masters.MASTERS / "05-cifar10.ipynb"
MASTERS = sorted(masters.MASTERS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Three assignments."""
    into = tmp_path_factory.mktemp("built")
    for master in (corpus.STOPPING, corpus.PRUNING, CIFAR):
        assignments.make(master, into)
    return into


def graded(built, folder, chosen):
    """Grade cases with both back-ends; return what came out: file -> rows of the table."""
    for case in chosen:
        (folder / case.file).write_bytes(case.content)
    before = os.environ.get("PYTHONPATH")
    assert grade.report(folder, built, ["pytest", "otter"], Limits(cell=10, call=2)) == 0
    assert os.environ.get("PYTHONPATH") == before  # `python -m build` would find tools/build.py
    rows = {case.file: [] for case in chosen}
    for row in table(folder / "grades.csv"):
        rows[row["file"]].append(row)
    return rows


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def points(rows):
    return {row["question"]: float(row["points"]) for row in rows if row["question"]}


@pytest.fixture(scope="module")
def cases(built):
    """Every case of the assignments that are built, by its file."""
    found = corpus.cases(lambda master: built / master.stem)
    found += everywhere.submissions(corpus.Source(CIFAR, built / CIFAR.stem))
    return {case.file: case for case in found}


@pytest.fixture(scope="module")
def some(built, cases, tmp_path_factory):
    """A submission of each kind, graded, and the folder."""
    folder = tmp_path_factory.mktemp("some")
    return graded(built, folder, [cases[file] for file in SOME]), folder


def test_there_is_a_submission_of_every_kind(cases):
    assert len(cases) >= 60


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_each_assignment_has_right_answers_written_otherwise_and_wrong_ones(tmp_path, master):
    """They earn what is said of them where the tests run, too: nothing is lost in between."""
    source = corpus.Source(master, assignments.make(master, tmp_path))
    tests = variants.callables(source.questions)
    found = list(everywhere.submissions(source))
    assert len({case.content for case in found}) == 6
    assert sum(case.points == source.full for case in found) == 4
    for case in found:
        cells = [c["source"] for c in json.loads(case.content)["cells"] if c["cell_type"] == "code"]
        last = cells.index(assignments.SO_FAR)
        cells = [c for c in [*cells[:last], *cells[last + 1 :]] if not submission.is_test(c)]
        failing = set(variants.complaints(tests, variants.names(cells)))
        assert source.earned(failing) == case.points, case.file


@pytest.mark.parametrize("file", SOME)
def test_both_back_ends_find_the_points_that_were_earned(some, cases, file):
    assert points(some[0][file]) == pytest.approx(cases[file].points)


@pytest.mark.parametrize(
    ("file", "question", "status", "message"),
    [
        ("right.ipynb", "stop_epoch", "right", ""),
        ("loops.ipynb", "stop_epoch", "stopped", "stop_epoch gave no answer in time"),
        ("library.ipynb", "flow_distance", "wrong", "to be written without infcop_lite"),
        ("brackets.ipynb", "", "unreadable", "it is no notebook: hand in the file"),
        (
            "half.ipynb",
            "control_epochs",
            "wrong",
            "control_epochs([2, 4, 8]) should be 3",
        ),
        ("cheat-assert-close.ipynb", "flow_distance", "wrong", "should be 5.0, not None"),
    ],
)
def test_what_earns_nothing_says_why(some, file, question, status, message):
    (row,) = (row for row in some[0][file] if row["question"] == question)
    assert row["status"] == status
    assert message in row["message"]


def test_each_student_gets_a_page_that_runs_nothing_and_gives_no_hidden_test_away(some):
    _, folder = some
    page = (folder / "feedback" / "latin-1.ipynb.html").read_text("utf-8")
    assert "Zoë &lt;b&gt;Müller&lt;/b&gt;" in page
    assert "10 of 10 points" in page
    page = (folder / "feedback" / "02-wrong-00.ipynb.html").read_text("utf-8")
    assert "num_prunings(0.1, 0.2) should be 11, not 5" in page
    assert "0.4096" not in page
    assert "a test that you do not see" in page


def test_moodle_and_canvas_get_a_row_for_each_student(some):
    _, folder = some
    moodle = {row["Full name"]: row for row in table(folder / "moodle.csv")}
    assert moodle["right"]["Grade"] == "10.0"
    assert moodle["Zoë <b>Müller</b>"]["ID number"] == "'=1+1"  # no formula
    possible, *canvas = table(folder / "canvas.csv")
    assert possible["Student"].strip() == "Points Possible"
    assert possible["03-stopping-criterion"] == "10"
    assert {row["Student"]: row["03-stopping-criterion"] for row in canvas}["right"] == "10.0"


@pytest.mark.parametrize(
    ("folder", "made", "complaint"),
    [
        ("nowhere", "made", "make grade FROM=folder"),
        ("", "made", "make grade FROM=folder"),
        ("empty", "made", "nothing was handed in"),
        ("full", "empty", "`make assignments` makes them"),
    ],
)
def test_what_cannot_be_graded_says_the_way_out(tmp_path, built, capsys, folder, made, complaint):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.ipynb").write_text("{}")
    where = built if made == "made" else tmp_path / made
    said = str(tmp_path / folder) if folder else ""
    assert grade.main([said, "--built", str(where)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_each_submission_is_held_against_its_own_variant(built, tmp_path):
    """By its metadata, and without it by the visible tests; else it is refused, and not guessed."""
    for seed in ("", "7", "8"):
        assignments.make(corpus.STOPPING, tmp_path, seed)
    known = [grade.Assignment.of(folder) for folder in sorted(tmp_path.iterdir())]
    of = {a.name: submission.read(a.folder / "student" / f"{a.name}.ipynb") for a in known}
    assert len(of) == 3
    for name, notebook in of.items():
        assert grade.which(notebook, known).name == name
        assert grade.which(submission.Notebook(notebook.cells), known).name == name
    name = f"{corpus.STOPPING.stem}-7"
    with pytest.raises(ValueError, match=f"{name} was not made here: `make assignments SEED=7`"):
        grade.which(of[name], [a for a in known if a.name != name])
    answers = [source for source in of[name].cells if not submission.is_test(source)]
    with pytest.raises(ValueError, match="it does not say whether it is"):
        grade.which(submission.Notebook(answers), known)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_both_back_ends_agree_on_every_submission(tmp_path):
    (tmp_path / "made").mkdir()
    made = {master: assignments.make(master, tmp_path / "made") for master in MASTERS}
    cases = corpus.cases(made.__getitem__)
    for master, folder in made.items():
        cases += everywhere.submissions(corpus.Source(master, folder))
    (tmp_path / "in").mkdir()
    rows = graded(tmp_path / "made", tmp_path / "in", cases)
    assert {case.file: points(rows[case.file]) for case in cases} == {
        case.file: pytest.approx(case.points) for case in cases
    }


def test_the_names_that_platforms_give_are_read():
    of = grade.Student.of
    assert of(Path("Ada Lovelace_12_assignsubmission_file/x.ipynb"), None).name == "Ada Lovelace"
    assert of(Path("lovelaceada_LATE_34_567_my_homework.ipynb"), None).canvas == "34"
    assert of(Path("my_homework.ipynb"), None).name == "my_homework"

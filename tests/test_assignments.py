"""The assignments: their solutions pass, what students get fails, typical errors are caught."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import assignments
import build
import masters
import nbformat
import pytest
import submission
import variants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MASTERS = sorted(masters.MASTERS.glob("*.ipynb"))
each_master = pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)


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


def run(notebook):
    """What a notebook defines; its checks are not run."""
    cells = submission.read(notebook).cells[2:-1]
    return variants.names([source for source in cells if not submission.is_test(source)])


def test_there_are_enough():
    assert {m.stem for m in MASTERS} == {p.stem for p in build.notebooks()[:16]}
    for master in MASTERS:
        assert 4 <= len(assignments.read(master)) <= 6


@each_master
def test_an_assignment_has_the_number_of_the_chapter_that_it_names(master):
    """The number stands in names and links only, where `make renumber` moves it."""
    cells = nbformat.read(master, as_version=4).cells
    title = next(cell.source for cell in cells if cell.cell_type == "markdown")
    chapter = f"chapter {int(master.stem[:2])},"
    assert re.match(rf"# Assignment: .+\n\nThis belongs to \[{chapter} \*", title)
    assert f"](../../notebooks/{master.name})" in title
    assert cells[0].source.splitlines()[1] == f"name: {master.stem}"
    listed = master.with_suffix(".wrong.md").read_text("utf-8")
    assert listed.startswith("# Typical wrong answers\n")


@each_master
def test_the_student_version_fails_each_test_and_is_told_what_is_wanted(made, master):
    names = run(made(master) / "student" / master.name)
    said = variants.complaints(variants.callables(assignments.read(master)), names)
    for question in assignments.read(master):
        for test in question.tests:
            assert test.name in said, f"{test.name} passes before anything is written"
            assert said[test.name].startswith("AssertionError: ")
            assert question.name in said[test.name]
            assert len(said[test.name]) > len("AssertionError: ") + len(question.name) + 10


@each_master
def test_typical_wrong_answers_are_caught_by_a_hidden_test_too(made, master):
    """Whoever writes for the visible tests alone is caught; what is built was checked for this."""
    made(master)
    hidden = {test.name for test in all_tests(master) if test.hidden}
    answers = masters.wrong_answers(master)
    assert sum(answer.title.startswith("Not wrong") for answer in answers) >= 1
    for answer in answers:
        assert answer.title.startswith("Not wrong") is not bool(answer.tests & hidden), answer.title


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("weights.abs()", "weights", "its own solution fails: AssertionError: keep_largest"),
        ("## Ranks the numbers", "## Not wrong, ranks the numbers", ""),
        ("`test_the_largest_magnitudes_are_kept`, ", "", "not what is listed"),
        ("weights.flatten().argsort", "weights.abs().flatten().argsort", "not what is listed"),
    ],
)
def test_a_master_that_does_not_tell_right_from_wrong_is_refused(tmp_path, old, new, complaint):
    for path in (MASTERS[0], MASTERS[0].with_suffix(".wrong.md")):
        text = path.read_text("utf-8")
        (tmp_path / path.name).write_text(text.replace(old, new, 1), "utf-8")
    (tmp_path / "into").mkdir()
    with (
        contextlib.nullcontext()
        if not complaint
        else pytest.raises(masters.MasterError, match=complaint)
    ):
        variants.write(tmp_path / MASTERS[0].name, "", tmp_path / "into")


SEEDED = [
    pytest.param(2027),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(50)),
]


@pytest.mark.parametrize("seed", SEEDED)
@each_master
def test_a_seed_draws_other_numbers_that_tell_right_from_wrong_too(tmp_path, master, seed):
    """`write` has checked the solution and each wrong answer, or refused."""
    path = variants.write(master, str(seed), tmp_path)
    for old, new in zip(assignments.read(master), assignments.read(path), strict=True):
        assert old.name == new.name
        changed = any(a.source != b.source for a, b in zip(old.tests, new.tests, strict=True))
        assert changed, f"{old.name} stays as it was"
    assert not any("«" in cell.source for cell in nbformat.read(path, as_version=4).cells)


def test_a_variant_knows_its_seed_is_named_after_it_and_is_drawn_again_alike(tmp_path):
    folder = assignments.make(MASTERS[0], tmp_path, "7")
    drawn = [variants.write(MASTERS[0], seed, tmp_path).read_text("utf-8") for seed in "787"]
    assert drawn[0] == drawn[2] != drawn[1]
    assert folder.name == f"{MASTERS[0].stem}-7"
    for version in ("student", "solution"):
        notebook = nbformat.read(folder / version / f"{folder.name}.ipynb", as_version=4)
        assert notebook.metadata["otter"] == {"assignment_name": folder.name, "seed": "7"}


def test_a_seed_or_a_folder_that_makes_no_sense_is_refused_in_one_line(tmp_path, capsys):
    assert assignments.main(["--from", str(tmp_path)]) == 2
    assert "no master lies in" in capsys.readouterr().err
    assert assignments.main(["--seed", "../7", "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "a seed is of letters and digits, unlike '../7': SEED=2027\n"


def test_adding_up_fractions_of_pruning_earns_nothing():
    """Two prunings by a fifth do not remove two fifths: the first error listed in chapter 2."""
    answer = masters.wrong_answers(MASTERS[1])[0]
    tests = next(q.tests for q in assignments.read(MASTERS[1]) if q.name == "num_prunings")
    assert answer.tests == {test.name for test in tests}


@each_master
def test_students_see_no_solution_and_no_hidden_test(made, master):
    cells = variants.filled(nbformat.read(master, as_version=4)).cells
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
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_pytest_adds_up_the_points(made):
    """The folder has all that it needs."""
    result = grade(made(MASTERS[0]), "solution", MASTERS[0].name)
    assert "10 of 10 points" in result.stdout
    assert result.returncode == 0


@pytest.mark.soak
def test_what_otter_is_given_grades_alike_and_takes_a_tensor_for_its_number(made, tmp_path):
    """Its own command, which runs tests where the notebook runs."""
    folder = made(MASTERS[0])
    notebook = nbformat.read(folder / "solution" / MASTERS[0].name, as_version=4)
    (even,) = (w for w in masters.wrong_answers(MASTERS[0]) if w.title.startswith("Not wrong"))
    notebook.cells.append(nbformat.v4.new_code_cell(even.code))
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    otter = Path(sys.executable).parent / "otter"
    options = ["-a", folder / "otter" / "autograder.zip", "-o", tmp_path]
    subprocess.run(
        [otter, "run", *options, tmp_path / "mine.ipynb"], check=True, capture_output=True
    )
    tests = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert sum(test.get("score", 0) for test in tests) == pytest.approx(10)
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
        ("tie, top = choose", "tie, top = chose", "the code of its numbers fails: NameError"),
        ("«unit\\[0\\]»", "«unit[9]»", "«unit[9]» says nothing: IndexError"),
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


@each_master
def test_a_student_notebook_runs_to_its_end_and_counts_the_points_so_far(made, master):
    """A verdict is printed, not raised; one answer is written, the others are not."""
    cells = submission.read(made(master) / "student" / master.name).cells
    first = assignments.read(master)[0]
    solved = submission.read(made(master) / "solution" / master.name).cells
    answer = next(cell for cell in solved if cell.startswith(f"def {first.name}("))
    cells = [answer if cell.startswith(f"def {first.name}(") else cell for cell in cells]
    said, names = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        for source in cells:
            exec(source, names)
    lines = said.getvalue().splitlines()
    seen = {q.name: sum(not test.hidden for test in q.tests) for q in assignments.read(master)}
    assert sum(line.startswith("passed: ") for line in lines) == seen[first.name]
    assert (
        sum(line.startswith("not yet: ") for line in lines) == sum(seen.values()) - seen[first.name]
    )
    points = first.points * seen[first.name] / len(first.tests)
    assert lines[-1].startswith(f"{points:g} of the ")


@each_master
def test_a_student_notebook_asks_for_a_name_and_opens_in_colab(made, master):
    path = made(master) / "student" / master.name
    assert submission.read(path).cells[0].splitlines()[1:] == [
        'student_name = ""',
        'student_id = ""',
    ]
    assert re.search(
        rf"colab\.research\.google\.com/github/\S+/{master.name}\)", path.read_text("utf-8")
    )

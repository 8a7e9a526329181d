"""What grading leaves behind: a table, what Moodle and Canvas import, a page for each student."""

import csv
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from masters import Question, Test
from submission import Notebook

FILES = ("grades.csv", "moodle.csv", "canvas.csv")
FEEDBACK = "feedback"
COLUMNS = ("student", "question", "points", "message", "seconds", "status", "assignment", "file")
#: Names that the two platforms give to what they let a teacher download.
MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_file")
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_.+")


@dataclass(frozen=True)
class Student:
    """Who handed in: what stands in the notebook, or what the file is called."""

    name: str
    number: str  # the notebook's, or nothing
    moodle: str  # "Participant 12", or nothing
    canvas: str  # the number in Canvas, or nothing

    @classmethod
    def of(cls, path: Path, notebook: Notebook | None) -> "Student":
        """Read who it is.

        >>> Student.of(Path("Ada Lovelace_12_assignsubmission_file/a.ipynb"), None)
        Student(name='Ada Lovelace', number='', moodle='Participant 12', canvas='')
        >>> Student.of(Path("lovelaceada_LATE_34_567_a.ipynb"), None).canvas
        '34'
        """
        moodle = MOODLE.fullmatch(path.parent.name) or MOODLE.match(path.name)
        canvas = None if moodle else CANVAS.fullmatch(path.name)
        known = moodle or canvas
        said = notebook.given("student_name") if notebook else ""
        return cls(
            name=said or (known["name"] if known else path.stem),
            number=notebook.given("student_id") if notebook else "",
            moodle=f"Participant {moodle['id']}" if moodle else "",
            canvas=canvas["id"] if canvas else "",
        )


@dataclass(frozen=True)
class Mark:
    """What one question came to."""

    question: str
    points: float
    possible: float
    message: str
    seconds: float
    status: str
    tests: Mapping[str, str]  # a sentence -> why it fails, or nothing

    @classmethod
    def of(cls, question: Question, said: Sequence[Mapping[str, str]], seconds: float) -> "Mark":
        """Add up what back-ends say of the tests of a question; one that disagrees gives nothing.

        >>> from masters import Test
        >>> tests = [Test("", "test_a", "", False), Test("", "test_b", "", True)]
        >>> mark = Mark.of(Question("f", 2, tests), [{"test_a": "", "test_b": "f is 1"}], 0.1)
        >>> mark.points, mark.status, mark.message
        (1.0, 'partly', 'f is 1')
        """
        failed = {name: next((v[name] for v in said if v[name]), "") for name in said[0]}
        messages = list(dict.fromkeys(message for message in failed.values() if message))
        passed = sum(not message for message in failed.values())
        if any(bool(v[name]) != bool(said[0][name]) for v in said for name in v):
            status = "disagree"
        elif not messages:
            status = "right"
        else:
            status = "partly" if passed else _kind(question.name, messages)
        return cls(
            question.name,
            question.points * passed / len(failed),
            question.points,
            "; ".join(messages),
            seconds,
            status,
            {sentence(test.name): _shown(test, failed[test.name]) for test in question.tests},
        )


def _shown(test: Test, message: str) -> str:
    """What a student is told of a test that fails; of a hidden one, the sentence has to do."""
    return "a test that you do not see" if message and test.hidden else message


def _kind(name: str, messages: Iterable[str]) -> str:
    """How a question failed that earned nothing: by the first words after its name.

    >>> _kind("ends", ["ends ended its process"]), _kind("ended_by", ["ended_by(1) should be 2"])
    ('stopped', 'wrong')
    """
    words = [m.removeprefix(f"{name} ") if m.startswith(f"{name} ") else "" for m in messages]
    if all(word.startswith("is not defined") for word in words):
        return "missing"
    if any(word.startswith(("gave no answer", "ended", "did not")) for word in words):
        return "stopped"
    return "wrong"


def sentence(test: str) -> str:
    """Return the sentence that is the name of a test.

    >>> sentence("test_the_first_goes")
    'the first goes'
    """
    return test.removeprefix("test_").replace("_", " ")


@dataclass(frozen=True)
class Graded:
    """A file, and what its questions came to; or why it was not graded."""

    path: Path
    student: Student
    assignment: str
    marks: Sequence[Mark]
    seconds: float
    refused: str

    @property
    def points(self) -> float:
        return sum(mark.points for mark in self.marks)

    @property
    def line(self) -> str:
        """What is said of it on the screen."""
        if self.refused:
            return f"not graded: {self.refused}"
        possible = sum(mark.possible for mark in self.marks)
        return f"{self.points:.4g} of {possible:.4g} points, {self.seconds:.1f} s"


def write(folder: Path, done: Sequence[Graded]) -> None:
    """Write the table, the files for the platforms and the feedback."""
    rows = [row for graded in done for row in _rows(folder, graded)]
    _table(folder / "grades.csv", [COLUMNS, *rows])
    moodle = ("Identifier", "Full name", "ID number", "Assignment", "Grade", "Feedback comments")
    _table(folder / "moodle.csv", [moodle, *(_moodle(graded) for graded in done)])
    _table(folder / "canvas.csv", _canvas(done))
    (folder / FEEDBACK).mkdir(exist_ok=True)
    for graded in done:
        name = "-".join(graded.path.relative_to(folder.absolute()).parts)
        (folder / FEEDBACK / f"{name}.html").write_text(_page(graded), "utf-8")


def _table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # as spreadsheets expect
        csv.writer(file).writerows([_safe(cell) for cell in row] for row in rows)


def _safe(cell: object) -> object:
    """No text of a student's becomes a formula in somebody's spreadsheet.

    >>> _safe("=1+1"), _safe(-0.5)
    ("'=1+1", -0.5)
    """
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _rows(folder: Path, graded: Graded) -> Iterable[Sequence[object]]:
    file = graded.path.relative_to(folder.absolute()).as_posix()
    end = (graded.assignment, file)
    if graded.refused:
        yield (graded.student.name, "", 0, graded.refused, _s(graded.seconds), "unreadable", *end)
    for mark in graded.marks:
        said = " ".join(mark.message.split())
        result = (mark.question, round(mark.points, 4), said, _s(mark.seconds), mark.status)
        yield (graded.student.name, *result, *end)


def _s(seconds: float) -> str:
    return f"{seconds:.2f}"


def _moodle(graded: Graded) -> Sequence[object]:
    who = graded.student
    said = graded.refused or graded.line
    return (who.moodle, who.name, who.number, graded.assignment, round(graded.points, 4), said)


def _canvas(done: Sequence[Graded]) -> Iterable[Sequence[object]]:
    names = sorted({graded.assignment for graded in done if graded.assignment})
    possible = {g.assignment: sum(mark.possible for mark in g.marks) for g in done if g.marks}
    yield ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", *names)
    yield ("    Points Possible", "", "", "", "", *(f"{possible[name]:g}" for name in names))
    students: dict[Student, dict[str, float]] = {}
    for graded in done:
        students.setdefault(graded.student, {})[graded.assignment] = round(graded.points, 4)
    for who, points in students.items():
        marks = (points.get(name, "") for name in names)
        yield (who.name, who.canvas, who.number, "", "", *marks)


def _page(graded: Graded) -> str:
    """A page for the student: points, and what each test says."""
    title = html.escape(f"{graded.assignment or graded.path.name}: {graded.student.name}")
    parts = [f"<h1>{title}</h1>", f"<p>{html.escape(graded.line)}</p>"]
    for mark in graded.marks:
        parts.append(f"<h2>{mark.question}: {mark.points:.4g} of {mark.possible:.4g}</h2><ul>")
        for said, why in mark.tests.items():
            verdict = (
                f"not yet: {said}<br><code>{html.escape(why)}</code>" if why else f"yes: {said}"
            )
            parts.append(f"<li>{verdict}</li>")
        parts.append("</ul>")
    head = f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return head + "\n".join(parts) + "</html>\n"

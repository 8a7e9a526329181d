"""Grade a folder of submissions: `make grade FROM=folder`, WITH=pytest, otter or both.

Every notebook, and every script, below the folder is run in a process of its own, with limits. The
tests run here. In the folder then lie grades.csv (a row for each question), what Moodle and Canvas
import, and a page of feedback for each submission.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import assignments
import gradebook
import pytest
from grade_with_pytest import Grading
from gradebook import Graded, Mark, Student
from masters import MASTERS, ROOT, Question
from otter.test_files import ExceptionTestFile
from submission import Limits, Notebook, Running, not_needed, read


class Refused(Exception):
    """Nothing can be graded; its text says why, and the way out, in one line."""


@dataclass(frozen=True)
class Assignment:
    """What `make assignments` made: where it lies, and its questions."""

    folder: Path
    questions: list[Question]

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def of(cls, folder: Path) -> "Assignment":
        """Read the questions that were written beside the tests."""
        told = json.loads((folder / "pytest" / "questions.json").read_text("utf-8"))
        return cls(folder, [Question.of(question) for question in told])


#: Back-end -> what it says of each test of each question: "" if it passed, why it failed otherwise.
Verdicts = dict[str, dict[str, str]]
Backend = Callable[[Assignment, Running], tuple[Verdicts, dict[str, float]]]


def with_pytest(assignment: Assignment, running: Running) -> tuple[Verdicts, dict[str, float]]:
    """Run the files of the folder pytest/."""
    grading = Grading(running)
    # The last two would collect garbage, which takes longer than the tests.
    without = ("cacheprovider", "terminal", "unraisableexception", "threadexception")
    quiet = ["--assert=plain", *(f"-pno:{plugin}" for plugin in without)]
    where = ["--import-mode=importlib", "--noconftest", "--rootdir", str(assignment.folder.parent)]
    files = [str(path) for path in sorted((assignment.folder / "pytest").glob("test_*.py"))]
    os.environ.pop("PYTEST_ADDOPTS", None)  # a teacher's own options are for other tests
    pytest.main([*quiet, *where, "-c", os.devnull, *files], plugins=[grading])
    verdicts, seconds = {}, {}
    for question in assignment.questions:
        names = [test.name for test in question.tests]
        verdicts[question.name] = {n: grading.verdicts.get(n, "it did not run") for n in names}
        seconds[question.name] = sum(grading.seconds.get(name, 0.0) for name in names)
    return verdicts, seconds


def with_otter(assignment: Assignment, running: Running) -> tuple[Verdicts, dict[str, float]]:
    """Run the files in otter's archive, by otter's own classes."""
    verdicts, seconds = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(assignment.folder / "otter" / "autograder.zip") as archive:
            archive.extractall(scratch)
        for question in assignment.questions:
            started = time.monotonic()
            file = ExceptionTestFile.from_file(str(Path(scratch, "tests", f"{question.name}.py")))
            file.run(running.functions([question.name]))
            verdicts[question.name] = {
                test.name: ""
                if result.passed
                else re.split(r"Error: ", result.message, maxsplit=1)[-1]
                for test, result in zip(question.tests, file.test_case_results, strict=True)
            }
            seconds[question.name] = time.monotonic() - started
    return verdicts, seconds


BACKENDS: dict[str, Backend] = {"pytest": with_pytest, "otter": with_otter}


def which(notebook: Notebook, known: Sequence[Assignment]) -> Assignment:
    """Return the assignment of a notebook: by its metadata, or by its functions and visible tests.

    Raises:
        ValueError: it defines none that is asked for, or its variant is not known.
    """
    otter = notebook.metadata.get("otter")
    told = otter if isinstance(otter, dict) else {}
    for assignment in known:
        if assignment.name == told.get("assignment_name"):
            return assignment
    if "seed" in told:  # it is ours, and any other variant would be the wrong one
        seed = f" SEED={told['seed']}" if told["seed"] else ""
        name = told.get("assignment_name")
        raise ValueError(f"{name} was not made here: `make assignments{seed}` does, then grade it")
    code = "\n".join(notebook.cells)

    def alike(assignment: Assignment) -> tuple[int, int]:
        tests = (test for q in assignment.questions for test in q.tests if not test.hidden)
        named = sum(bool(re.search(rf"\b{q.name}\b", code)) for q in assignment.questions)
        return named, sum(test.function in code for test in tests)

    best, *others = sorted(known, key=alike, reverse=True)
    if not alike(best)[0]:
        raise ValueError("it answers no question of an assignment that was made here")
    if others and alike(others[0]) == alike(best):
        names = f"{best.name} or {others[0].name}"
        raise ValueError(f"it does not say whether it is {names}: hand in the .ipynb as it was")
    return best


def grade(
    path: Path, known: Sequence[Assignment], backends: Sequence[str], limits: Limits
) -> Graded:
    """Grade one file."""
    started = time.monotonic()
    try:
        notebook = read(path)
        assignment = which(notebook, known)
    except (OSError, ValueError) as error:
        return Graded(path, Student.of(path, None), "", [], time.monotonic() - started, str(error))
    folders = (MASTERS, assignment.folder.parent, path.parent)
    closed = [folder for folder in folders if not ROOT.is_relative_to(folder)]
    without = not_needed(assignment.folder)
    found: list[Verdicts] = []
    for name in backends:
        with Running(notebook, limits, closed, without) as running:
            verdicts, seconds = BACKENDS[name](assignment, running)
        found.append(verdicts)
    marks = [
        Mark.of(question, [verdicts[question.name] for verdicts in found], seconds[question.name])
        for question in assignment.questions
    ]
    whole = time.monotonic() - started
    return Graded(path, Student.of(path, notebook), assignment.name, marks, whole, "")


def submissions(folder: Path) -> list[Path]:
    """What was handed in: every file below the folder that grading has not put there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    inside = [(path, path.relative_to(folder).parts) for path in files]
    ours = {*gradebook.FILES, gradebook.FEEDBACK}
    return [
        path
        for path, parts in inside
        if parts[0] not in ours and not any(part.startswith((".", "__")) for part in parts)
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Grade a folder of submissions.")
    parser.add_argument("folder", help="where the submissions are")
    parser.add_argument("--with", dest="backend", choices=[*BACKENDS, "both"], default="pytest")
    parser.add_argument("--built", type=Path, default=assignments.BUILT, help="the assignments")
    for name, unit in (("cell", "a cell"), ("call", "a call"), ("whole", "a notebook")):
        value = getattr(Limits, name)
        parser.add_argument(f"--{name}", type=float, default=value, help=f"seconds for {unit}")
    chosen = parser.parse_args(arguments)
    limits = Limits(cell=chosen.cell, call=chosen.call, whole=chosen.whole)
    backends = list(BACKENDS) if chosen.backend == "both" else [chosen.backend]
    try:
        if not chosen.folder:  # make grade, without FROM
            raise Refused("say where the submissions are: make grade FROM=folder")
        return report(Path(chosen.folder), chosen.built, backends, limits)
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def report(folder: Path, built: Path, backends: Sequence[str], limits: Limits) -> int:
    """Grade a folder, with a line for each file; return 1 if back-ends disagree."""
    if not folder.is_dir():
        raise Refused(f"{str(folder)!r} is no folder: make grade FROM=folder")
    known = [Assignment.of(path.parent.parent) for path in built.glob("*/pytest/questions.json")]
    if not known:
        raise Refused(f"no assignment lies in {built}; `make assignments` makes them")
    files, done = submissions(folder), []
    if not files:
        raise Refused(f"nothing was handed in below {folder}")
    for path in files:
        graded = grade(path.absolute(), known, backends, limits)
        done.append(graded)
        print(f"{path.relative_to(folder)}: {graded.line}", flush=True)
    gradebook.write(folder, done)
    print(f"{len(done)} graded; see {folder / gradebook.FILES[0]}")
    return int(any(mark.status == "disagree" for graded in done for mark in graded.marks))


if __name__ == "__main__":
    sys.exit(main())

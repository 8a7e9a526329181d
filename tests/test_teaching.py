"""The instructor guide: what it names exists, and no part and no chapter it sets is left out."""

import re

import build
import pytest
import yaml
from test_exercises import CHAPTERS, exercises

GUIDE = (build.ROOT / "book" / "teaching.md").read_text("utf-8")
HEADINGS = {
    stem: {
        heading
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for heading in re.findall(r"(?m)^#+ (.+)$", cell.source)
    }
    for stem, notebook in CHAPTERS.items()
}
LABELS = {label: stem for stem, nb in CHAPTERS.items() for _, label, _ in exercises(nb)}
PARTS = yaml.safe_load((build.ROOT / "book" / "_toc.yml").read_text("utf-8"))["parts"]


def section(heading):
    """The text below the heading that contains these words."""
    (found,) = re.findall(rf"(?ms)^## [^\n]*{re.escape(heading)}[^\n]*\n(.*?)(?=^## |\Z)", GUIDE)
    return found


def rows(heading):
    """The cells of a section's table, row by row, without its head."""
    lines = re.findall(r"(?m)^\| (.+) \|$", section(heading))
    return [line.split(" | ") for line in lines if not line.startswith("---")][1:]


def chapters(text):
    """The chapters that a text links, in order."""
    return re.findall(r"\(\.\./notebooks/([\w-]+)\.ipynb\)", text)


def test_a_lecture_fills_its_ninety_minutes():
    assert sum(int(minutes) for minutes, *_ in rows("One lecture of 90 minutes")) == 90


def test_two_weeks_have_four_sessions_and_two_labs():
    names = [name for name, *_ in rows("Two weeks")]
    assert [name[0] for name in names if name[0].isdigit()] == list("1234")
    assert sum(name.startswith("lab ") for name in names) == 2


def read_in_a_semester():
    """The chapters of the fourteen weeks, in the order of the book."""
    reading = " ".join(reading for _, reading, *_ in rows("A semester module"))
    return sorted(set(chapters(reading)))


def test_a_semester_has_fourteen_weeks_and_reads_the_chapters_of_the_book():
    """A chapter that comes later need not be squeezed in."""
    assert [int(week) for week, *_ in rows("A semester module")] == list(range(1, 15))
    assert set(read_in_a_semester()) <= set(CHAPTERS)
    assert len(read_in_a_semester()) >= 13


def test_a_semester_reads_in_the_order_of_the_book():
    """Method, does it work, use it, why: whoever leaves in the middle has seen the evidence."""
    weeks = [chapters(reading) for _, reading, *_ in rows("A semester module")]
    read = [stem for week in weeks for stem in week]
    assert read == sorted(read)


def test_every_chapter_of_the_semester_has_goals_that_exercises_of_its_own_check():
    goals = rows("What can a student do afterwards?")
    assert [chapters(chapter) for chapter, *_ in goals] == [[stem] for stem in read_in_a_semester()]
    for (stem,), goal, check in [(chapters(chapter), *rest) for chapter, *rest in goals]:
        assert len(goal.split()) >= 6
        labels = re.findall(r"\{ref\}`(ex-[\w-]+)`", check)
        assert labels
        assert {LABELS[label] for label in labels} == {stem}


def test_the_prerequisites_speak_of_every_chapter_of_the_semester():
    said = section("What must students bring?")
    numbers = {int(stem[:2]) for stem in read_in_a_semester()}
    spans = re.findall(r"\*\*Chapters? (\d+)(?: to (\d+))?\*\*", said)
    named = {n for first, last in spans for n in range(int(first), int(last or first) + 1)}
    assert "**Everyone**" in said
    assert numbers - named == {1, 2, 3}  # which everyone can begin


def test_a_chapter_has_the_number_of_its_file_wherever_a_link_is_but_a_number():
    pages = [*(build.ROOT / "book").glob("*.md"), *(build.ROOT / "course").glob("*/*.md")]
    linked = re.compile(
        r"\[(?:[Cc]hapter |[Aa]ppendix )?(\d+)\]\([./]*(?:notebooks/)?(\d\d)-[\w-]+\.ipynb"
    )
    found = [
        (page.name, *pair) for page in pages for pair in linked.findall(page.read_text("utf-8"))
    ]
    assert len(found) > 50
    assert [link for link in found if int(link[1]) != int(link[2])] == []


def test_every_part_of_the_book_is_discussed():
    asked = re.split(r"(?m)^\*\*(.+)\*\*$", section("What is worth discussing?"))
    questions = dict(zip(asked[1::2], asked[2::2], strict=True))
    assert list(questions) == [part["caption"] for part in PARTS]
    for text in questions.values():
        assert len(re.findall(r"(?m)^\d\. .*\?", text)) >= 2


def test_every_misconception_has_something_that_corrects_it():
    beliefs = rows("What will students get wrong?")
    assert len(beliefs) >= 12
    for belief, remedy in beliefs:
        assert belief.endswith((".", "?"))
        assert re.search(r"\{(numref|ref|prf:ref)\}`|\]\([^)]+#[^)]+\)|\* in \[chapter", remedy)


def test_every_criterion_of_the_rubric_has_four_levels():
    criteria = rows("A rubric for the project report")
    assert len(criteria) == 4
    assert all(len(cells) == 5 and all(cells) for cells in criteria)


def test_the_hardware_of_every_profile_is_named():
    named = [re.findall(r"`(\w+)`", profile)[0] for profile, *_ in rows("What runs on which hard")]
    assert named == list(build.CELL_TIMEOUT_S)


@pytest.mark.parametrize("label", sorted(set(re.findall(r"\{ref\}`(ex-[\w-]+)`", GUIDE))))
def test_an_exercise_that_is_set_exists(label):
    assert label in LABELS


SECTIONS = re.findall(r"\*([^*]+)\* in \[chapter \d+\]\(\.\./notebooks/([\w-]+)\.ipynb\)", GUIDE)


@pytest.mark.parametrize(("heading", "stem"), SECTIONS)
def test_a_section_that_is_named_stands_in_its_chapter(heading, stem):
    assert heading in HEADINGS[stem]


def test_the_targets_that_are_named_exist():
    targets = re.findall(r"(?m)^([\w-]+):.*##", (build.ROOT / "Makefile").read_text("utf-8"))
    assert set(re.findall(r"`make ([\w-]+)", GUIDE)) <= set(targets)

"""What chapters take is told by one recorded table, and typed nowhere."""

import re

import build
import chapter_times
import nbformat
import pytest
import times

UNIT = r"(?:s|sec|seconds?|minutes?|min|hours?|h|days?)\b"
LENGTH = r"\d[\d.]*|few|many|several|some"
TYPED = re.compile(rf"(?i)\b(?:(?:{LENGTH}) {UNIT}|an? (?:minute|hour|day)\b)")
# What a lesson takes is a plan and no measurement.
LESSONS = re.compile(r"\b(?:90|20|15|10|5) minutes\b|\bTen minutes\b|\bminutes a team\b")


def prose():
    """Every text that readers plan by: pages, the text and the parameters of chapters."""
    for page in (build.ROOT / "README.md", *sorted((build.ROOT / "book").glob("*.md"))):
        yield page.name, page.read_text("utf-8")
    for path in build.notebooks():
        cells = nbformat.read(path, as_version=4).cells
        told = [c.source for c in cells if "**Time.**" in c.source]
        told += [c.source for c in cells if "parameters" in c.metadata.get("tags", [])]
        assert len(told) == 2, path.name
        yield path.name, "\n".join(line for text in told for line in lines_of_time(text))


def lines_of_time(text):
    return [line for line in text.splitlines() if "**Time.**" in line or line.startswith("profile")]


def test_a_typed_time_is_found():
    for text in (
        "takes 90 s",
        "is made for a minute",
        "About a minute",
        "some 20 hours",
        "many hours",
    ):
        assert TYPED.search(text), text
    assert not TYPED.search("See *Measured* in the box above.")


@pytest.mark.parametrize(("name", "text"), list(prose()), ids=[name for name, _ in prose()])
def test_no_page_types_what_a_run_takes(name, text):
    outside = re.sub(r"(?s)^```.*?^```", "", LESSONS.sub("", text), flags=re.MULTILINE)
    assert not TYPED.findall(outside)


def test_the_table_has_every_chapter_and_names_the_machine():
    rows = chapter_times.recorded()
    assert {(path.stem, "ci") for path in build.notebooks()} <= set(rows)
    for row in rows.values():
        assert 0 < row.processor_s < 2 * row.wall_s
        assert re.search(r"\d+ cores.*torch \d", row.machine)


def test_the_guide_shows_the_table_and_the_machine_once():
    row = chapter_times.Took("03-why", "ci", 10.4, 20.0, 1.0, "one core")
    text = chapter_times.as_markdown([row._replace(chapter="04-how"), row])
    assert text.index("[3]") < text.index("[4]")
    assert "| [3](../notebooks/03-why.ipynb) | `ci` | 10 | 20 | 1.0 |" in text
    assert text.count("one core") == 1
    assert "```{chapter-times}" in (build.ROOT / "book" / "teaching.md").read_text("utf-8")


def test_times_are_recorded_from_the_runs_and_rows_of_other_profiles_stay(tmp_path, monkeypatch):
    run = {"parameters": {"profile": "ci"}, "seconds": 9.0, "processor_seconds": 4.0}
    notebook = nbformat.v4.new_notebook(metadata={"infcop_lite": run | {"peak_memory_mb": 512}})
    nbformat.write(notebook, tmp_path / "01-one.ipynb")
    monkeypatch.setattr(build, "notebooks", lambda: [tmp_path / "01-one.ipynb"])
    monkeypatch.setattr(build, "EXECUTED", tmp_path)
    table = tmp_path / "times.csv"
    other = chapter_times.Took("01-one", "laptop", 50.0, 60.0, 1.0, "2 cores, torch 2")
    chapter_times.write([other], table)
    monkeypatch.setattr(times, "TABLE", table)
    assert times.main(["idle"]) == 0
    rows = chapter_times.recorded(table)
    assert rows["01-one", "laptop"] == other
    assert rows["01-one", "ci"][2:5] == (4.0, 9.0, 0.5)
    assert rows["01-one", "ci"].machine.endswith("(idle)")


def test_without_executed_chapters_nothing_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "EXECUTED", tmp_path)
    assert times.main([]) == 2
    assert "has not been executed" in capsys.readouterr().err

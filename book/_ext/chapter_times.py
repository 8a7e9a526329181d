"""What chapters take: one recorded table, which the box of each chapter and the guide read."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TABLE = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "times.csv"


class Took(NamedTuple):
    """What one run of a chapter took: seconds of processor, seconds by the clock, and GB."""

    chapter: str
    profile: str
    processor_s: float
    wall_s: float
    memory_gb: float
    machine: str

    def in_words(self) -> str:
        """What the box of a chapter says.

        >>> Took("01-why", "ci", 10.2, 21.0, 0.94, "one core").in_words()
        '10 s of processor, 21 s by the clock, 0.9 GB at most, in profile ci'
        """
        return (
            f"{self.processor_s:.0f} s of processor, {self.wall_s:.0f} s by the clock, "
            f"{self.memory_gb:.1f} GB at most, in profile {self.profile}"
        )


def recorded(table: Path = TABLE) -> dict[tuple[str, str], Took]:
    """The rows of the table by chapter and profile."""
    rows = csv.DictReader(table.read_text("utf-8").splitlines())
    took = []
    for row in rows:
        processor, wall, memory = (float(row[name]) for name in Took._fields[2:5])
        took.append(Took(row["chapter"], row["profile"], processor, wall, memory, row["machine"]))
    return {(row.chapter, row.profile): row for row in took}


def write(rows: Iterable[Took], table: Path = TABLE) -> None:
    """Write the table, in the order of chapters."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Took._fields)
        writer.writerows(sorted(rows))


def as_markdown(rows: Iterable[Took]) -> str:
    """The rows as a table for the guide, by chapter; the machine stands below it, once."""
    rows = sorted(rows)
    lines = [
        "| chapter | profile | processor, s | clock, s | memory, GB |",
        "|---|---|--:|--:|--:|",
    ]
    for row in rows:
        link = f"[{int(row.chapter[:2])}](../notebooks/{row.chapter}.ipynb)"
        numbers = f"{row.processor_s:.0f} | {row.wall_s:.0f} | {row.memory_gb:.1f}"
        lines.append(f"| {link} | `{row.profile}` | {numbers} |")
    machines = "; ".join(sorted({row.machine for row in rows}))
    return "\n".join([*lines, "", f"Measured on {machines}."])


class ChapterTimes(SphinxDirective):
    """The whole table: `{chapter-times}`."""

    def run(self) -> list[nodes.Node]:
        """Parse it as part of the page."""
        self.env.note_dependency(str(TABLE))
        box = nodes.container()
        lines = as_markdown(recorded().values()).splitlines()
        self.state.nested_parse(StringList(lines, str(TABLE)), self.content_offset, box)
        return box.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("chapter-times", ChapterTimes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

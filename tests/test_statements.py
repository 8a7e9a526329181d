"""The page of all statements agrees with the chapters and with the tests of the theory."""

import functools
import re

import build
import nbformat
import pytest

TEXT = (build.ROOT / "book" / "statements.md").read_text("utf-8")
STATUSES = ("known", "published code", "derived here", "observed", "routine")
PARTS = {1: (1, 9), 2: (1, 6), 3: (0, 8), 4: (1, 6), 5: (1, 6), 6: (1, 5), 7: (1, 28)}
LEAST = {f"t{part}-{i}" for part, (first, last) in PARTS.items() for i in range(first, last + 1)}


def rows():
    """Label -> (test file, status), for every row of the page's tables."""
    found = {}
    for section in re.split(r"(?m)^## ", TEXT)[1:]:
        file = re.search(r"`(tests/theory/test_\w+\.py)`", section)[1]
        for label, cells in re.findall(r"(?m)^\| \{prf:ref\}`([\w-]+)` \|(.*)\|$", section):
            assert label not in found
            found[label] = file, re.sub(r"\$[^$]*\$", "", cells).split("|")[1].strip()
    return found


@functools.cache
def stated():
    """Label -> title, for every statement of the chapters."""
    block = re.compile(r"(?m)^`{3,}\{prf:\w+\} ?(.*)\n:label: (t\d-[\w-]+)$")
    found = {}
    for path in build.notebooks():
        for cell in nbformat.read(path, as_version=4).cells:
            found |= {label: title for title, label in block.findall(cell.source)}
    return found


ROWS = rows()


def test_the_page_lists_every_statement_of_the_chapters():
    assert set(ROWS) == set(stated()) >= LEAST


def test_where_the_statements_on_convolutions_stood_an_anchor_and_a_link_are_left():
    notebook = nbformat.read(
        build.ROOT / "notebooks" / "15-what-consistency-guarantees.ipynb", as_version=4
    )
    (cell,) = [cell for cell in notebook.cells if "# Convolutions and BatchNorm" in cell.source]
    left = set(re.findall(r'<span id="([\w-]+)"></span>', cell.source))
    assert left == {"t3-8", "t3-8a", "t3-8c", "fig-consist-kernels"}
    assert "](19-convolutions.ipynb)" in cell.source


def test_the_rows_of_each_table_stand_in_the_order_of_the_chapters():
    order = list(stated())
    tables = [
        [order.index(label) for label in re.findall(r"(?m)^\| \{prf:ref\}`([\w-]+)` \|", section)]
        for section in re.split(r"(?m)^## ", TEXT)[1:]
    ]
    assert tables == [sorted(table) for table in sorted(tables)]


@pytest.mark.parametrize("label", ROWS)
def test_the_page_gives_a_status_that_the_chapter_gives(label):
    given = [status for status in STATUSES if status in stated()[label].rpartition("(")[2]]
    assert set(ROWS[label][1].split(", ")) <= set(given)


@pytest.mark.parametrize("label", sorted(LEAST))
def test_every_statement_has_a_test_that_carries_its_number(label):
    source = (build.ROOT / ROWS[label][0]).read_text("utf-8")
    assert re.search(rf"(?m)^ *def test_{label.replace('-', '_')}[a-z]?_", source)


def test_the_addresses_of_statements_that_moved_still_lead_to_where_they_are_now():
    """The page they stood on keeps an anchor of that name, beside a link to the new page."""
    notebook = nbformat.read(build.ROOT / "notebooks" / "16-when-to-stop.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if '<span id="t6-1">' in cell.source]
    anchors = re.findall(r'<span id="([\w-]+)"></span>', cell.source)
    moved = ["t5-4", "t5-5", "t5-5b", "rem-stop-drift", "fig-stop-ends", "fig-stop-mask"]
    moved += [f"t6-{i}" for i in range(1, 6)]
    assert anchors == ["choosing-epsilon", *moved]
    assert "](17-what-a-round-acts-on.ipynb)" in cell.source.rpartition("</span>")[2]

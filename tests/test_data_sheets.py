"""The sheets of the data sets: one for each that is loaded, with the sizes that it has."""

import re

import build
import pytest

from infcop_lite import data
from infcop_lite.datasets import SOURCES

PAGE = (build.ROOT / "book" / "data-sheets.md").read_text("utf-8")
LINK, COUNT = r"\[`([\w-]+)`\]\(#([\w-]+)\)", r"([\d,]+)"
ROW = rf"(?m)^\| {LINK} \| {COUNT} \| {COUNT} \| (\d+) × (\d+), (grey|colour) \| (\d+) \|$"
ROWS = {name: row for name, *row in re.findall(ROW, PAGE)}


def test_every_data_set_has_its_sheet_which_says_the_same_things():
    assert set(ROWS) == set(SOURCES)
    sheets = dict(re.findall(r"(?ms)^## ([\w-]+)\n(.*?)(?=^## |\Z)", PAGE))
    assert set(sheets) == set(SOURCES) == {link for link, *_ in ROWS.values()}
    for sheet in sheets.values():
        told = re.findall(r"(?m)^\*\*(.+?)\.\*\*", sheet)
        assert told == ["Source", "Licence", "Split here", "Known faults"]


@pytest.mark.parametrize("name", SOURCES)
def test_the_sizes_on_the_page_are_those_of_the_files(name):
    _, *sizes, _, classes = ROWS[name]
    assert int(classes) == len(SOURCES[name].classes)
    if not data.available(name):
        pytest.skip(f"needs {name}")
    found = data.load(name)
    channels, height, width = found.test.inputs.shape[1:]
    train = len(found.train) + len(found.validation)
    assert [int(size.replace(",", "")) for size in sizes] == [train, len(found.test), height, width]
    assert ROWS[name][5] == {1: "grey", 3: "colour"}[channels]

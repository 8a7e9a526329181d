"""Numbers in prose: what a cell glues is what the page finds, and no part of the cell's output."""

import ast

import IPython.display
import nbformat.v4
import pytest
from myst_nb.core.variables import format_plain_text
from myst_nb.ext.glue import extract_glue_data_cell

from infcop_lite.glue import glue


@pytest.fixture
def cell(monkeypatch):
    """A cell that has printed a line, and whose later displays become outputs."""
    made = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text="a line")])

    def display(data, metadata, raw):
        assert raw
        made.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))

    monkeypatch.setattr(IPython.display, "display", display)
    return made


def test_the_page_shows_each_number_by_its_name_as_it_was_rounded(cell):
    glue(density=f"{0.92:.3f}", levels=3, words="one seed")
    found = {name: output["data"]["text/plain"] for name, output in extract_glue_data_cell(cell)}
    shown = {name: format_plain_text(text, "s") for name, text in found.items()}
    assert shown == {"density": "0.920", "levels": "3", "words": "one seed"}


@pytest.mark.parametrize("text", ["12%", "12 %", "3.1% to 12%", "it's 12%"])
def test_a_line_never_breaks_before_a_per_cent_sign(cell, text):
    glue(share=text)
    (shown,) = extract_glue_data_cell(cell)
    said = ast.literal_eval(shown[1]["data"]["text/plain"])
    assert "12\N{NARROW NO-BREAK SPACE}%" in said
    assert said.replace("\N{NARROW NO-BREAK SPACE}", "") == text.replace(" %", "%")


def test_the_cell_shows_what_it_printed_and_nothing_else(cell):
    glue(density=0.5)
    extract_glue_data_cell(cell)
    assert [output.output_type for output in cell.outputs] == ["stream"]

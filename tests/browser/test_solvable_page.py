"""The knobs of chapter 11, with the chapter's own markup in a page of its own, from a folder."""

import functools
import re

import build
import nbformat
import pytest

from .conftest import SIZES, STATIC


@pytest.fixture(scope="module")
def markup():
    """What chapter 11 has for the knobs, as HTML."""
    chapter = build.ROOT / "notebooks" / "11-one-solvable-model.ipynb"
    (cell,) = [c for c in nbformat.read(chapter, as_version=4).cells if 'id="solvable"' in c.source]
    return cell.source[cell.source.index("<div") :]


@pytest.fixture
def model_page(open_alone, markup):
    """Open the page with some setting in its address."""
    return functools.partial(open_alone, markup)


def sentence(page):
    return page.locator("#solvable [role=status]").inner_text()


def test_the_page_begins_with_the_pencil_example_and_says_what_it_shows(model_page):
    said = sentence(model_page())
    assert "The loss falls from 0.200 to 0.180" in said
    assert "rises to 0.360" in said
    assert "stops at once; one that first looks after t = 0.76 never does" in said
    assert "the best stop is at t = 0.69" in said


def test_every_knob_is_turned_by_keyboard_and_changes_sentence_picture_and_address(model_page):
    page = model_page()
    charts = page.locator("#solvable .charts")
    for name in ("rho", "second", "pruned", "start", "epsilon", "price"):
        radio = page.get_by_role("radio", name="input 2")
        knob = radio if name == "pruned" else page.locator(f"#knob-{name}")
        before = sentence(page), charts.inner_html()
        knob.press("ArrowLeft")
        assert sentence(page) != before[0], name
        assert charts.inner_html() != before[1], name
        assert f"{name}=" in page.evaluate("location.hash")
    page.get_by_role("button", name="Reset").press("Enter")
    assert page.evaluate("location.hash") == ""
    assert "The loss falls from 0.200 to 0.180" in sentence(page)


def test_the_address_restores_the_setting_and_leads_to_it(model_page):
    page = model_page()
    page.locator("#knob-rho").press("ArrowRight")
    page.get_by_role("button", name="pruned optimum").click()
    said, setting = sentence(page), page.evaluate("location.hash")
    again = model_page(setting)
    again.wait_for_function("scrollY > 500")
    assert sentence(again) == said
    assert again.locator("#knob-rho").get_attribute("aria-valuetext") == "−0.75"


@pytest.mark.parametrize("setting", ["#solvable?rho=7&price=-1&pruned=9", "#other?rho=0", "#x"])
def test_an_address_that_makes_no_sense_breaks_nothing(model_page, setting):
    page = model_page(setting)
    assert "The loss falls" in sentence(page)
    assert "At the price 0.01 the best stop" in sentence(page)
    assert "NaN" not in page.locator("#solvable").inner_text()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_too_wide_and_what_a_finger_meets_is_large_enough(model_page, size):
    page = model_page(size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    touched = page.locator("#solvable :is(input[type=range], fieldset label, button)").all()
    assert len(touched) == 10
    assert min(box.bounding_box()["height"] for box in touched) >= 44


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_keeps_no_reader_out(model_page, barriers, theme):
    assert not barriers(model_page(theme=theme))


def test_the_chapter_loads_scripts_that_exist_and_says_that_knobs_need_them(markup):
    found = re.findall(r'<script defer src="\.\./_static/([\w/]+\.js)"', markup)
    assert found == ["drawing.js", "solvable/model.js", "solvable/page.js"]
    assert all((STATIC / name).is_file() for name in found)
    assert "need JavaScript" in markup

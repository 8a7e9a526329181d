"""A recorded explorer in a page of its own, from a folder."""

import itertools
import shutil

import build
import pytest

from infcop_lite.explorer.choices import Knob
from infcop_lite.explorer.pages import as_page, describe

from .conftest import Opener

STATIC = build.ROOT / "book" / "_static"
PAGE = """<!doctype html><html lang="en" data-theme="light"><title>A toy</title>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="_static/book.css">
<main><h1>A toy</h1><p style="height: 1500px"></p>{markup}</main>
<script defer src="_static/drawing.js"></script>
<script defer src="_static/recorded.js"></script></html>"""
COLOUR = Knob("colour", {"red": "R", "green": "G"}, start=1, buttons=True)
COUNTS = {"R": Knob("count of red", {"one": 1, "two": 2}, start=1)}
COUNTS["G"] = Knob("count of green", {"two": 2, "three": 3, "four": 4})
SIZE = Knob("size", {"small": "s", "l & l": "l"})


def draw(colour, count, size):
    return f"<p>{colour}{count}{size}</p><svg></svg>"


MARKUP = as_page("toy", describe(draw, (COLOUR, COUNTS.get, SIZE)))


@pytest.fixture
def toy(browser, tmp_path):
    """Open the page with some setting in its address; at the end it may have no troubles."""
    shutil.copytree(STATIC, tmp_path / "_static")
    (tmp_path / "toy.html").write_text(PAGE.format(markup=MARKUP), "utf-8")
    opener = Opener(browser, {"file": f"{tmp_path.as_uri()}/"})
    yield lambda setting="": opener(f"{(tmp_path / 'toy.html').as_uri()}{setting}")
    opener.close()
    assert not opener.troubles


def said(page):
    return page.locator("#toy [role=status]").inner_text()


def test_every_setting_shows_what_python_says(toy):
    page = toy()
    for (name, colour), (place, size) in itertools.product(
        COLOUR.options.items(), enumerate(SIZE.options.values())
    ):
        page.get_by_role("radio", name=name).check()
        page.get_by_label("size").fill(str(place))
        count = page.get_by_label(f"count of {name}")
        for i, (words, value) in enumerate(COUNTS[colour].options.items()):
            count.fill(str(i))
            assert said(page) == draw(colour, value, size)[3:-15]
            assert count.get_attribute("aria-valuetext") == words


def test_a_knob_that_depends_on_another_says_its_name_and_keeps_its_place(toy):
    page = toy()
    page.get_by_label("count of green").fill("2")
    page.get_by_role("radio", name="red").press("Space")
    assert said(page) == "R2s"
    assert page.get_by_label("count of green").count() == 0
    assert page.evaluate("document.activeElement.parentElement.textContent") == "red"
    page.get_by_role("radio", name="green").press("Space")
    assert said(page) == "G4s"


def test_the_address_leads_to_a_setting_and_nonsense_breaks_nothing(toy):
    page = toy("#toy?colour=red&size=l+%26+l")
    page.wait_for_function("scrollY > 500")
    assert said(page) == "R2l"
    assert said(toy("#toy?colour=blue&shape=round")) == "G2s"
    assert said(toy("#elsewhere")) == "G2s"


def test_without_a_script_the_first_picture_is_there(browser, toy):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(toy().url)
    assert page.locator("#toy").inner_text().startswith("G2s")
    assert "need JavaScript" in page.locator("#toy").inner_text()
    context.close()

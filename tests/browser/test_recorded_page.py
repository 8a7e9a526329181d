"""A recorded explorer in a page of its own, from a folder."""

import functools
import itertools

import data_files
import pytest

from infcop_lite.explorer.choices import Knob
from infcop_lite.explorer.pages import as_page, describe

SCRIPTS = """<script defer src="../_static/drawing.js"></script>
<script defer src="../_static/recorded.js"></script>"""
# Begins as MathJax does, as soon as it has run, and notes what stands there when it sets formulas.
FORMULAS = """<script>window.DOCUMENTATION_OPTIONS = {}; window.MathJax = {};</script>
<script src="../_static/book.js"></script><script defer src="data:text/javascript,
const note = () => (window.seen = document.querySelectorAll('.knobs').length);
MathJax.config = { startup: {} };
Object.assign(MathJax.startup, { defaultPageReady: note }).pageReady();"></script>"""
COLOUR = Knob("colour", {"red": "R", "green": "G"}, start=1, buttons=True)
COUNTS = {"R": Knob("count of red", {"one": 1, "two": 2}, start=1)}
COUNTS["G"] = Knob("count of green", {"two": 2, "three": 3, "four": 4})
SIZE = Knob("size", {"small": "s", "l & l": "l"})


def draw(colour, count, size):
    return f"<p>{colour}{count}{size}</p><svg></svg>"


MARKUP = as_page("toy", describe(draw, (COLOUR, COUNTS.get, SIZE)))


@pytest.fixture
def toy(open_alone):
    """Open the page with some setting in its address."""
    return functools.partial(open_alone, MARKUP + SCRIPTS)


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


def test_data_in_a_file_of_their_own_are_there_when_a_picture_begins(open_alone, tmp_path):
    left, files = data_files.moved(MARKUP, "notebooks/toy", least=10)
    assert "application/json" not in left
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    page = open_alone(SCRIPTS + left)
    page.get_by_label("count of green").fill("2")
    assert said(page) == "G4s"


def test_formulas_are_set_after_the_first_picture_has_its_knobs(open_alone):
    page = open_alone(FORMULAS + SCRIPTS + MARKUP)
    assert page.wait_for_function("window.seen ?? null").json_value() == 1


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

"""Beat the constant, with chapter 7's own markup and data in a page of its own, from a folder."""

import functools
import re

import build
import nbformat
import playground_page
import pytest

from infcop_lite import evidence
from infcop_lite.explorer import challenge

from .conftest import SIZES, STATIC

NAMES = {"mlp-replay": "MLP on MNIST", "convnet": "ConvNet on CIFAR-10"}


@pytest.fixture(scope="module")
def markup():
    """What chapter 7 has for the rule and the slider, as HTML."""
    chapter = build.ROOT / "notebooks" / "07-fair-comparisons.ipynb"
    cells = nbformat.read(chapter, as_version=4).cells
    (cell,) = [c for c in cells if 'id="challenge"' in c.source]
    return cell.source[cell.source.index("<div") :]


@pytest.fixture(scope="module")
def data():
    tables = {name: evidence.read(name) for name in NAMES}
    fixed = {name: rows[rows["family"] == "fixed"] for name, rows in tables.items()}
    return challenge.script({k: challenge.table(rows, NAMES[k]) for k, rows in fixed.items()})


@pytest.fixture
def challenge_page(open_alone, markup, data):
    """Open the page with some setting in its address."""
    return functools.partial(open_alone, markup + data)


def sentence(page):
    return page.locator("#challenge [role=status]").inner_text()


def test_a_rule_that_ran_is_told_as_it_ran_beside_its_timetable(challenge_page):
    page = challenge_page()
    said = sentence(page)
    assert "MLP on MNIST: replayed, " in said
    assert "ConvNet on CIFAR-10: replayed, " in said
    assert "When this very rule ran it took" in said
    facts = page.locator("#challenge dl").first.inner_text()
    assert "Its timetable alone, told beforehand" in facts
    assert "So looking added" in facts
    assert "Of a rule left out, it was off by" in facts
    assert "NaN" not in page.locator("#challenge").inner_text()


def test_a_rule_is_typed_and_changes_sentence_picture_and_address(challenge_page):
    page = challenge_page()
    before = sentence(page), page.locator("#challenge .charts").inner_html()
    page.locator("#knob-rule").fill("epoch >= 0.3 and loss < prev(loss)")
    assert sentence(page) != before[0]
    assert "The nearest timetable that ran says" in sentence(page)
    assert page.locator("#challenge .charts").inner_html() != before[1]
    assert "rule=epoch" in page.evaluate("location.hash")
    page.get_by_role("button", name="Reset").press("Enter")
    assert page.evaluate("location.hash") == ""
    assert sentence(page) == before[0]


def test_every_rule_to_begin_with_can_be_chosen_by_keyboard_and_is_understood(challenge_page):
    page = challenge_page()
    seen = {sentence(page)}
    for _ in range(8):
        page.locator("#knob-preset").press("ArrowDown")
        assert "cannot be read" not in sentence(page)
        seen.add(sentence(page))
    assert len(seen) == 9
    assert page.locator("#knob-rule").get_attribute("aria-invalid") == "false"


def test_the_slider_is_x_and_a_constant_is_told_that_it_is_one(challenge_page):
    page = challenge_page("#challenge?rule=epoch+>%3D+x")
    assert "replayed, 8.17 epochs" in sentence(page)
    assert "a constant itself, gain 0." in page.locator("#challenge dl").first.inner_text()
    page.locator("#knob-x").press("End")
    assert "replayed, 65.4 epochs" in sentence(page)


def test_an_error_is_one_line_with_its_column_and_the_next_rule_ends_it(challenge_page):
    page = challenge_page()
    page.locator("#knob-rule").fill("loss < fetch(1)")
    assert re.fullmatch(r"This rule cannot be read\. In column 8: “fetch” .+", sentence(page))
    assert page.locator("#knob-rule").get_attribute("aria-invalid") == "true"
    assert not page.locator("#challenge .charts").is_visible()
    page.locator("#knob-rule").fill("loss < 0.1")
    assert page.locator("#challenge .charts").is_visible()


def test_a_link_leads_to_the_playground_with_the_rule_in_its_address(challenge_page):
    page = challenge_page("#challenge?rule=information+%3C+x+and+loss+%3C+0.5&x=0.4")
    address = page.get_by_role("link", name="Let it train").get_attribute("href")
    text = "information%20%3C%20x%20and%20loss%20%3C%200.5"
    assert address == f"../book/playground.html#play&rule=own&text={text}&epsilon=0.4"
    page.locator("#knob-rule").fill("loss <")
    assert not page.get_by_role("link", name="Let it train").is_visible()


def test_the_address_restores_the_rule_and_leads_to_it(challenge_page):
    page = challenge_page()
    page.locator("#knob-rule").fill("information < x or mask < 0.05")
    page.locator("#knob-x").press("ArrowRight")
    said, setting = sentence(page), page.evaluate("location.hash")
    again = challenge_page(setting)
    again.wait_for_function("scrollY > 500")
    assert sentence(again) == said
    assert again.locator("#knob-rule").input_value() == "information < x or mask < 0.05"
    assert again.locator("#knob-preset").input_value() == ""


@pytest.mark.parametrize("setting", ["#challenge?x=nobody&rule=%3Cb%3E", "#other?rule=1", "#x"])
def test_an_address_that_makes_no_sense_breaks_nothing(challenge_page, setting):
    page = challenge_page(setting)
    assert sentence(page)
    assert page.locator("#challenge b").count() == 0
    assert "NaN" not in page.locator("#challenge").inner_text()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_too_wide_and_what_a_finger_meets_is_large_enough(challenge_page, size):
    page = challenge_page(size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    touched = page.locator("#challenge :is(input, select, button, summary)").all()
    assert len(touched) == 5
    assert min(box.bounding_box()["height"] for box in touched) >= 44
    shown = page.locator("#challenge :is(input[type=text], select, label, dd, [role=status])")
    fonts = shown.evaluate_all("all => all.map((e) => parseFloat(getComputedStyle(e).fontSize))")
    assert min(fonts) >= 16


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_keeps_no_reader_out(challenge_page, barriers, theme):
    assert not barriers(challenge_page(theme=theme))


def test_the_chapter_loads_scripts_that_exist_and_says_that_the_rule_needs_them(markup):
    found = re.findall(r'<script defer src="\.\./_static/([\w/]+\.js)"', markup)
    assert found == ["drawing.js", *(f"challenge/{n}.js" for n in ("language", "replay", "page"))]
    made = [name for name in found if not (STATIC / name).is_file()]
    assert made == [playground_page.LANGUAGE.removeprefix("_static/")]
    assert "need JavaScript" in markup

"""The knobs in the built pages, with no kernel: drawn once, turned by keyboard and by mouse."""

import build
import nbformat
import pytest
from bs4 import BeautifulSoup
from test_exercises import CHAPTERS, RUNS_NOW, pictures_with_knobs, sections_with_knobs

from .conftest import Opener

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def counted(names):
    """Chapter -> how many of its cells call one of these; every other chapter has none."""
    found = {stem: len(sections_with_knobs(nb, names)) for stem, nb in CHAPTERS.items()}
    return {stem: count for stem, count in found.items() if count}


WITH_KNOBS = counted(pictures_with_knobs())
NEED_A_KERNEL = counted(RUNS_NOW)
NUM_WIDGETS = counted(pictures_with_knobs() | RUNS_NOW)
STATE = 'script[type="application/vnd.jupyter.widget-state+json"]'
VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
WIDGET = ".widget-subarea"
SLIDERS, BUTTONS = ".noUi-handle", "button.widget-toggle-button"
each_chapter = pytest.mark.parametrize("chapter", [path.stem for path in build.notebooks()])
each_with_widgets = pytest.mark.parametrize("chapter", NUM_WIDGETS)


def widgets_of(page, chapter):
    """The widgets of a page, once all of them are there."""
    page.wait_for_function(
        "([name, count]) => document.querySelectorAll(name).length >= count",
        arg=[f"{WIDGET} > .jupyter-widgets", NUM_WIDGETS[chapter]],
    )
    return page.locator(WIDGET).all()


def picture(widget):
    """What a widget shows now, but for its controls."""
    return "".join(box.inner_html() for box in widget.locator(".widget-html-content:visible").all())


def controls(widget, kind):
    return [control for control in widget.locator(kind).all() if control.is_visible()]


def turn_slider_by_key(widget, slider):
    now, last = (slider.get_attribute(f"aria-value{what}") for what in ("now", "max"))
    slider.focus()
    slider.press("ArrowLeft" if float(now) == float(last) else "ArrowRight")


def turn_slider_by_mouse(widget, slider):
    """Click on the end of its track that is farther away."""
    slider.scroll_into_view_if_needed()
    track = slider.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]").bounding_box()
    handle = slider.bounding_box()
    is_right = handle["x"] + handle["width"] / 2 > track["x"] + track["width"] / 2
    x = track["x"] + (2 if is_right else track["width"] - 2)
    widget.page.mouse.click(x, track["y"] + track["height"] / 2)


def press_button_by_key(widget, button):
    button.focus()
    button.press("Enter")


def click_button(widget, button):
    button.click()


@each_chapter
def test_the_state_of_its_widgets_is_in_each_page_that_has_some(site, chapter):
    executed = nbformat.read(build.EXECUTED / f"{chapter}.ipynb", as_version=4)
    page = BeautifulSoup((site / "notebooks" / f"{chapter}.html").read_text("utf-8"), "html.parser")
    assert ("widgets" in executed.metadata) == (chapter in NUM_WIDGETS)
    assert len(page.select(STATE)) == (chapter in NUM_WIDGETS)
    assert len(page.select(VIEW)) == NUM_WIDGETS.get(chapter, 0)


@each_with_widgets
@pytest.mark.parametrize(
    ("over", "slide", "press"),
    [
        ("file", turn_slider_by_key, press_button_by_key),
        ("http", turn_slider_by_mouse, click_button),
    ],
    ids=["keyboard", "mouse"],
)
def test_each_widget_is_drawn_once_and_each_control_changes_its_picture_and_no_other(
    open_page, chapter, over, slide, press
):
    page = open_page(f"notebooks/{chapter}", over=over)
    page.wait_for_load_state("networkidle")
    widgets = widgets_of(page, chapter)
    drawn = [widget.locator(":scope > .jupyter-widgets").count() for widget in widgets]
    assert drawn == [1] * NUM_WIDGETS[chapter]
    for widget in widgets:
        others = [other for other in widgets if other is not widget]
        before_elsewhere = [picture(other) for other in others]
        for slider in controls(widget, SLIDERS):
            before = picture(widget)
            slide(widget, slider)
            assert picture(widget) != before
        for button in controls(widget, BUTTONS):
            before, was_on = picture(widget), "mod-active" in button.get_attribute("class")
            press(widget, button)
            assert (picture(widget) != before) is not was_on
        assert [picture(other) for other in others] == before_elsewhere


@pytest.fixture(scope="module", params=WITH_KNOBS)
def page(request, browser, bases):
    """A chapter on a phone, opened once for the tests that only look."""
    opener = Opener(browser, bases)
    page = opener(f"notebooks/{request.param}", size="phone")
    widgets_of(page, request.param)
    yield page
    opener.close()


class TestLook:
    def test_every_knob_has_a_name(self, page):
        sliders = controls(page, SLIDERS)
        assert sliders
        for slider in sliders:
            assert slider.get_attribute("aria-label")
            assert slider.get_attribute("aria-valuetext")

    def test_every_picture_says_what_it_shows_and_is_as_wide_as_a_phone_allows(self, page):
        for image in page.locator(f"{WIDGET} svg[role=img]:visible").all():
            assert len(image.get_attribute("aria-label")) > 20
            box = image.bounding_box()
            assert box["x"] >= 0
            assert 250 < box["width"] <= 375 - box["x"]

    def test_the_words_in_a_picture_are_large_enough_to_read(self, page):
        sizes = page.locator(f"{WIDGET} svg[role=img]:visible text").evaluate_all(
            "all => all.map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"
        )
        upright = [size for size in sizes if size > 1]  # those along an axis are turned
        assert len(upright) >= len(sizes) / 2
        assert min(upright, default=10) >= 10  # pixels

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_nothing_of_a_widget_is_cut_off(self, page, scheme):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "theme => document.documentElement.dataset.theme === theme", arg=scheme
        )
        for widget in page.locator(WIDGET).all():
            box = widget.bounding_box()
            for part in widget.locator("button, input, select, .widget-slider, svg").all():
                if part.is_visible():
                    inner = part.bounding_box()
                    assert inner["x"] >= box["x"]
                    assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1

    def test_the_same_stands_below_each_picture_as_a_table(self, page):
        """What needs a kernel has no picture here, and nothing to be told in a table."""
        cells = page.locator(f"div.cell_output:has({WIDGET} svg[role=img])").all()
        assert cells
        for cell in cells:
            details = cell.locator("details:has(> summary):has(table)")
            assert details.count() == 1
            details.locator("summary").press("Enter")
            assert details.locator("table").is_visible()
            assert details.locator("tbody tr").count() > 1


@pytest.mark.parametrize("chapter", NEED_A_KERNEL)
def test_what_needs_a_kernel_says_so_and_is_off(open_page, chapter):
    page = open_page(f"notebooks/{chapter}")
    own = widgets_of(page, chapter)[-1]
    assert "Needs a kernel" in own.inner_text()
    for control in own.locator("button, select, input").all():
        assert control.is_disabled()

"""The knobs in the built pages, with no kernel: drawn once, turned by keyboard and by mouse."""

import build
import nbformat
import pytest
from bs4 import BeautifulSoup
from sampling import sampled
from test_exercises import CHAPTERS, RUNS_NOW, pictures_with_knobs, sections_with_knobs

from .conftest import SIZES, Opener

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def counted(names):
    """Chapter -> how many of its cells call one of these; every other chapter has none."""
    found = {stem: len(sections_with_knobs(nb, names)) for stem, nb in CHAPTERS.items()}
    return {stem: count for stem, count in found.items() if count}


WITH_KNOBS = counted(pictures_with_knobs())
NEED_A_KERNEL = counted(RUNS_NOW)
NUM_WIDGETS = counted(pictures_with_knobs() | RUNS_NOW)
WIDGET, FORM = ".recorded", ".drawn:has(a.button)"
SLIDERS, BUTTONS = "input[type=range]", "input[type=radio]"
each_chapter = pytest.mark.parametrize("chapter", [path.stem for path in build.notebooks()])
each_with_knobs = pytest.mark.parametrize("chapter", WITH_KNOBS)


def widgets_of(page, chapter):
    """The explorers of a page, with their knobs."""
    widgets = page.locator(f"{WIDGET}:has(.knobs)").all()
    assert len(widgets) == WITH_KNOBS[chapter]
    return widgets


def picture(widget):
    """What an explorer shows now, but for its knobs."""
    return "".join(widget.locator(part).inner_html() for part in ("[role=status]", ".shown"))


def turn_slider_by_key(widget, slider):
    is_last = slider.input_value() == slider.get_attribute("max")
    slider.press("ArrowLeft" if is_last else "ArrowRight")


def turn_slider_by_mouse(widget, slider):
    """Click on the end of its track that is farther away, near the edge of what a finger meets."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    is_right = int(slider.input_value()) > int(slider.get_attribute("max")) / 2
    x = box["x"] + (2 if is_right else box["width"] - 2)
    widget.page.mouse.click(x, box["y"] + 4)


def press_button_by_key(widget, button):
    button.press("Space")


def click_button(widget, button):
    button.click()


@each_chapter
def test_each_page_has_its_explorers_with_names_of_their_own_and_no_other_widgets(site, chapter):
    executed = nbformat.read(build.EXECUTED / f"{chapter}.ipynb", as_version=4)
    page = BeautifulSoup((site / "notebooks" / f"{chapter}.html").read_text("utf-8"), "html.parser")
    assert "widgets" not in executed.metadata
    names = [widget["id"] for widget in page.select(WIDGET)]
    assert len(set(names)) == len(names) == WITH_KNOBS.get(chapter, 0)
    assert len(page.select(FORM)) == NEED_A_KERNEL.get(chapter, 0)
    has_script = any("/recorded.js" in script.get("src", "") for script in page.select("script"))
    assert has_script == bool(names)


BY_KEYBOARD = ("file", turn_slider_by_key, press_button_by_key)
BY_MOUSE = ("http", turn_slider_by_mouse, click_button)


@pytest.mark.parametrize(
    ("chapter", "over", "slide", "press"),
    [
        *(pytest.param(chapter, *BY_KEYBOARD, id=f"{chapter}-keyboard") for chapter in WITH_KNOBS),
        *(
            pytest.param(*some.values, *BY_MOUSE, id=f"{some.id}-mouse", marks=some.marks)
            for some in sampled(WITH_KNOBS, 4)
        ),
    ],
)
def test_each_control_changes_its_picture_and_no_other_and_reset_brings_it_back(
    open_page, chapter, over, slide, press
):
    page = open_page(f"notebooks/{chapter}", over=over)
    page.wait_for_load_state("networkidle")
    widgets = widgets_of(page, chapter)
    for widget in widgets:
        others = [other for other in widgets if other is not widget]
        at_first, elsewhere = picture(widget), [picture(other) for other in others]
        for kind, turn in ((SLIDERS, slide), (BUTTONS, press)):
            for control in widget.locator(kind).all():
                before, was_on = picture(widget), control.is_checked() if turn is press else False
                turn(widget, control)
                assert (picture(widget) != before) is not was_on
        assert page.evaluate("location.hash").startswith(f"#{widget.get_attribute('id')}?")
        assert [picture(other) for other in others] == elsewhere
        press(widget, widget.get_by_role("button", name="Reset"))
        assert picture(widget) == at_first
        assert page.evaluate("location.hash") == ""


@each_with_knobs
def test_the_address_brings_a_setting_back(open_page, chapter):
    page = open_page(f"notebooks/{chapter}")
    widget = widgets_of(page, chapter)[-1]
    turn_slider_by_key(widget, widget.locator(SLIDERS).last)
    again = open_page(page.url)
    assert picture(widgets_of(again, chapter)[-1]) == picture(widget)


@pytest.fixture(scope="module", params=WITH_KNOBS)
def page(request, browser, bases):
    """A chapter on a phone, opened once for the tests that only look."""
    opener = Opener(browser, bases)
    page = opener(f"notebooks/{request.param}", size="phone")
    widgets_of(page, request.param)
    yield page
    opener.close()


class TestLook:
    def test_every_knob_has_a_name_and_is_large_enough_for_a_finger(self, page):
        for name in (SLIDERS, f"{WIDGET} label:has(> input)", f"{WIDGET} button"):
            for control in page.locator(name).all():
                assert control.bounding_box()["height"] >= 44
        sliders = page.locator(f"{WIDGET} {SLIDERS}").all()
        assert sliders
        for slider in sliders:
            assert slider.evaluate("input => input.labels[0].textContent")
            assert slider.get_attribute("aria-valuetext")

    def test_every_picture_says_what_it_shows_and_is_as_wide_as_a_phone_allows(self, page):
        for image in page.locator(f"{WIDGET} svg[role=img]").all():
            assert len(image.get_attribute("aria-label")) > 20
            box = image.bounding_box()
            assert box["x"] >= 0
            assert 250 < box["width"] <= 375 - box["x"]

    def test_the_words_in_a_picture_are_large_enough_to_read(self, page):
        sizes = page.locator(f"{WIDGET} svg[role=img] text").evaluate_all(
            "all => all.map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"
        )
        upright = [size for size in sizes if size > 1]  # those along an axis are turned
        assert len(upright) >= len(sizes) / 2
        assert min(upright, default=10) >= 10  # pixels

    @pytest.mark.parametrize("size", SIZES)
    def test_nothing_of_a_widget_is_cut_off(self, page, size):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        for widget in page.locator(WIDGET).all():
            box = widget.bounding_box()
            for part in widget.locator("button, input, svg").all():
                inner = part.bounding_box()
                assert inner["x"] >= box["x"]
                assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
        page.set_viewport_size(dict(zip(("width", "height"), SIZES["phone"], strict=True)))

    def test_the_same_stands_below_each_picture_as_a_table(self, page):
        cells = page.locator(f"div.cell_output:has({WIDGET})").all()
        assert cells
        for cell in cells:
            details = cell.locator("details:has(> summary):has(table)")
            assert details.count() == 1
            details.locator("summary").press("Enter")
            assert details.locator("table").is_visible()
            assert details.locator("tbody tr").count() > 1


@pytest.mark.parametrize("chapter", NEED_A_KERNEL)
def test_what_needs_a_kernel_says_what_it_would_do_and_leads_to_the_notebook(open_page, chapter):
    form = open_page(f"notebooks/{chapter}").locator(FORM)
    assert "Needs a kernel" in form.inner_text()
    address = form.locator("a").get_attribute("href")
    assert address.startswith("https://colab.research.google.com/github/")
    assert address.endswith(f"/notebooks/{chapter}.ipynb")

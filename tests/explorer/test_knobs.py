"""Knobs and pictures: the same helper with ipywidgets 8, with 7, and without."""

import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from ipywidgets import Widget

from infcop_lite.explorer import knobs
from infcop_lite.explorer.knobs import Knob, as_svg, explore, style

TABLE = pd.DataFrame({"a": [1, 2]})
ONE = Knob("one", {"x": 1, "y": 2, "z": 3}, start=1)
TWO = Knob("two", {"ten": 10, "twenty": 20}, buttons=True)


def product(a, b=1):
    return f"<p>{a} times {b} is {a * b}.</p>"


def shown(widget):
    """The text of the picture that a reader sees now, following each box's choice."""
    if type(widget).__name__ == "HTML":
        return re.search(r"<p>(.*?)</p>", widget.value)[1]
    if type(widget).__name__ == "Stack":
        return shown(widget.children[widget.selected_index])
    texts = [shown(child) for child in getattr(widget, "children", ())]
    return next((text for text in texts if text), "")


def turn(control, index):
    """Move a knob, and do what the browser does with the links that hang on it."""
    control.index = index
    for link in list(Widget.widgets.values()):
        if type(link).__name__ == "DirectionalLink" and link.source[0] is control:
            setattr(*link.target, index)


@pytest.fixture(params=["ipywidgets 8", "ipywidgets 7"])
def widgets(request, monkeypatch):
    """ipywidgets 7 has no Stack: the kernel switches, not the browser."""
    if request.param == "ipywidgets 7":
        monkeypatch.delattr(knobs.ipywidgets, "Stack", raising=False)
    return knobs.ipywidgets


class TestPicture:
    def test_it_begins_where_the_knobs_begin(self, widgets):
        explorer = explore(product, ONE, TWO, table=TABLE, title="t")
        assert shown(explorer.widget) == "2 times 10 is 20."

    def test_every_setting_has_its_picture(self, widgets):
        box = explore(product, ONE, TWO, table=TABLE, title="t").widget
        first, second = box.children[:2]
        for i, a in enumerate(ONE.options.values()):
            for j, b in enumerate(TWO.options.values()):
                turn(first, i)
                turn(second, j)
                assert shown(box) == product(a, b)[3:-4]

    def test_a_knob_may_depend_on_the_ones_before(self, widgets):
        def inner(a):
            return Knob("b", {str(b): b for b in range(a, 4)})

        box = explore(product, ONE, inner, table=TABLE, title="t").widget
        outer = box.children[0]
        for i, a in enumerate(ONE.options.values()):
            turn(outer, i)
            assert shown(box) == product(a, a)[3:-4]

    def test_controls_are_named_and_begin_where_they_should(self, widgets):
        first, second, _ = explore(product, ONE, TWO, table=TABLE, title="t").widget.children
        assert (first.description, first.label) == ("one", "y")
        assert (second.description, second.label) == ("two", "ten")


def test_without_ipywidgets_pictures_along_the_first_knob_stand_side_by_side(monkeypatch):
    monkeypatch.setattr(knobs, "ipywidgets", None)
    explorer = explore(product, ONE, TWO, table=TABLE, title="t")
    assert explorer.widget is None
    assert re.findall(r"\d times \d+", explorer.plain) == ["1 times 10", "2 times 10", "3 times 10"]
    assert "one: z, two: ten" in explorer.plain


@pytest.mark.parametrize("present", [True, False])
def test_a_cell_shows_the_pictures_and_the_same_as_a_folded_table(monkeypatch, present, capsys):
    if not present:
        monkeypatch.setattr(knobs, "ipywidgets", None)
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    explore(product, ONE, table=pd.DataFrame({"a": [1.5, None]}), title="a < b")._ipython_display_()
    picture, table = displayed
    assert (type(picture).__name__ == "HTML") is not present
    assert "<summary>a &lt; b</summary>" in table.data
    assert ">1.5<" in table.data
    assert "nan" not in table.data.lower()


@pytest.mark.parametrize("start", [-1, 1])
def test_a_knob_begins_with_one_of_its_options(start):
    with pytest.raises(ValueError, match="the knob a has no option"):
        Knob("a", {"x": 1}, start)


def test_nothing_to_turn_is_an_error():
    with pytest.raises(ValueError, match="no knobs"):
        explore(product, table=TABLE, title="t")


def figure(title="a"):
    with style():
        figure, ax = plt.subplots()
        ax.plot([1, 2, 3], marker="o")
        ax.bar([0], [1], hatch="//")
        ax.scatter([1, 2], [2, 1])
        ax.set(title=title)
        return as_svg(figure, f'{title} "quoted" & more')


def test_a_picture_says_what_it_shows_and_fits_any_width():
    before = plt.get_fignums()
    text = figure()
    assert 'aria-label="a &quot;quoted&quot; &amp; more"' in text
    assert 'role="img"' in text
    assert not re.search(r"<svg [^>]*\b(?:width|height)=", text)
    assert "viewBox" in text
    assert plt.get_fignums() == before


def test_a_picture_has_no_colours_of_a_theme():
    text = figure()
    assert "currentColor" in text
    assert not re.search(r"#000000|#ffffff|#010203", text)
    assert "font-family" not in text


def test_two_pictures_on_one_page_share_no_id_and_every_reference_is_met():
    ids = [set(re.findall(r' id="([^"]+)"', figure(title))) for title in "ab"]
    assert ids[0]
    assert not ids[0] & ids[1]
    for title, own in zip("ab", ids, strict=True):
        referred = re.findall(r'(?:href="|url\()#(\w+)', figure(title))
        assert set(referred) == own
        assert len(own) >= 4  # a clip, two markers, a hatch


def test_a_picture_is_the_same_each_time_whatever_the_notebook_has_set_and_small():
    before = figure()
    with plt.style.context(["dark_background", {"axes.grid": True, "font.size": 30}]):
        assert figure() == before
    assert len(figure()) < 12_000

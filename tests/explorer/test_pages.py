"""In a page without a kernel every setting shows what Python drew for it, and no other."""

import html
import itertools
import json
import os
import shutil
import subprocess

import build
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from infcop_lite.explorer.knobs import Knob, explore
from infcop_lite.explorer.pages import describe

SCRIPT = build.ROOT / "book" / "_static" / "recorded.js"
PLAY = """
const R = require(process.argv[1]);
const { told, addresses } = JSON.parse(require("fs").readFileSync(0));
const show = (values) => {
  const { path, picture } = R.follow(told, R.asked(told, values));
  return { picture: told.pictures[picture], address: Object.fromEntries(R.different(path)) };
};
console.log(JSON.stringify(addresses.map(show)));
"""
COLOUR = Knob("colour", {"red": "R", "green": "G"}, start=1, buttons=True)
COUNTS = {"R": Knob("count of red", {"one": 1, "two": 2}, start=1)}
COUNTS["G"] = Knob("count of green", {"two": 2, "three": 3, "four": 4})
SIZE = Knob("size", {"</script>": "s", "l & l": "l"})
KNOBS = COLOUR, COUNTS.get, SIZE
TABLE = pd.DataFrame({"a": [1]})


def draw(colour, count, size):
    return f"<p>{colour}{count}{size}</p><svg>{html.escape(SIZE.label)}</svg>"


def settings():
    """The words of every setting, by label, and its values."""
    for name, colour in COLOUR.options.items():
        counts = COUNTS[colour]
        for (text, count), (words, size) in itertools.product(
            counts.options.items(), SIZE.options.items()
        ):
            yield {"colour": name, counts.label: text, "size": words}, (colour, count, size)


def shown(*addresses):
    """What the page's script shows for addresses, from one run of node."""
    node = shutil.which("node")
    if node is None:
        refuse = pytest.fail if os.environ.get("INFCOP_NEED_BROWSER") else pytest.skip
        refuse("no node: install the Debian package nodejs")
    text = json.dumps({"told": describe(draw, KNOBS), "addresses": addresses})
    command = [node, "-e", PLAY, str(SCRIPT)]
    run = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.fixture
def page(monkeypatch):
    """An explorer in a page without a kernel, parsed."""
    monkeypatch.setenv("INFCOP_STATIC_PAGE", "1")
    explorer = explore(draw, *KNOBS, table=TABLE, title="t", name="toy")
    assert explorer.widget is None
    return BeautifulSoup(explorer.plain, "html.parser").find(id="toy")


def test_every_setting_in_an_address_shows_its_own_picture_and_is_written_back():
    addresses, values = zip(*settings(), strict=True)
    starts = {"colour": "green", "count of red": "two", "count of green": "two"}
    starts["size"] = "</script>"
    for address, setting, found in zip(addresses, values, shown(*addresses), strict=True):
        assert found["picture"] == draw(*setting)
        assert found["address"] == {k: v for k, v in address.items() if starts[k] != v}


def test_an_address_that_makes_no_sense_shows_the_start():
    start = draw("G", 2, "s")
    senseless = {}, {"colour": "blue"}, {"count of red": "four"}, {"shape": "round"}
    assert [found["picture"] for found in shown(*senseless)] == [start] * 4


def test_a_knob_that_depends_on_another_keeps_its_own_place():
    """The count of green in the address does not touch that of red."""
    (found,) = shown({"colour": "red", "count of green": "four"})
    assert found["picture"] == draw("R", 2, "s")


def test_the_page_has_the_first_picture_without_a_script_and_says_what_is_missing(page):
    assert page.select_one(".shown").decode_contents() == draw("G", 2, "s")
    assert "need JavaScript" in page.noscript.text


def test_what_is_written_in_a_picture_does_not_end_the_data_of_the_page(page):
    told = json.loads(page.script.string)
    assert told == json.loads(json.dumps(describe(draw, KNOBS)))
    assert len(told["pictures"]) == len(list(settings()))


def test_equal_pictures_are_on_the_page_once():
    told = describe(lambda a, b: f"<p>{a}</p>", [COLOUR, Knob("b", {"x": 1, "y": 2})])
    assert told["pictures"] == ["<p>R</p>", "<p>G</p>"]
    assert told["tree"] == [0, [1, 0, 0], [1, 1, 1]]

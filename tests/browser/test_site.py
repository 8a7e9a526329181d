"""The built book in a browser: from a folder or a server, in both themes, at three sizes."""

import gzip
import re
import subprocess
import sys
import zipfile
from itertools import pairwise

import build
import pytest
from sampling import sampled
from test_book import PAGES as CONTENTS
from test_book import parse

from .conftest import SIZES, Opener
from .test_widgets import NUM_WIDGETS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGES = [*CONTENTS, "search", "genindex", "prf-prf", "py-modindex"]
REDIRECTS = [
    line.split()
    for line in (build.ROOT / "book" / "redirects.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
#: One of each kind: the first, a chapter, prose with formulas, signatures, what scripts draw.
KINDS = ("book/intro", "notebooks/04-mnist", "book/notation", "book/api-smaller", "book/playground")
KINDS += ("search", "genindex")
each_page = pytest.mark.parametrize("page_name", PAGES)
each_way = pytest.mark.parametrize("over", ["file", "http"])


@pytest.fixture(scope="module")
def opener(browser, bases):
    opener = Opener(browser, bases)
    yield opener
    opener.close()


@pytest.fixture(scope="module", params=PAGES)
def page(request, opener):
    """A page, opened once from its folder for all the tests that take it."""
    opener.troubles.clear()
    page = opener(request.param)
    yield page
    page.context.close()
    opener.contexts.remove(page.context)


def test_no_page_escapes_these_tests(site):
    """What only leads on is tested as such below, and what is shown for a missing page too."""
    found = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    shown = {name for name in found if not name.startswith("_static/")}
    assert shown == {*PAGES, *(old for old, _ in REDIRECTS), "index", "404"}


class TestEveryPage:
    def test_it_works_from_a_folder_without_a_network(self, page, opener):
        page.wait_for_load_state("networkidle")
        assert not opener.troubles

    @pytest.mark.parametrize("size", SIZES)
    def test_nothing_is_wider_than_the_screen(self, page, size):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_what_scrolls_on_a_phone_can_be_reached_by_keyboard(self, page, barriers):
        page.set_viewport_size({"width": 375, "height": 812})
        assert not barriers(page, "scrollable-region-focusable")

    def test_it_keeps_no_reader_out(self, page, barriers):
        page.set_viewport_size({"width": 1440, "height": 900})
        assert not barriers(page)

    @pytest.mark.parametrize("page", sampled(PAGES, 14, always=KINDS), indirect=True)
    def test_nor_in_the_dark(self, page, barriers):
        """The theme changes colours alone, so that contrast is all there is to test again."""
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        assert not barriers(page, "color-contrast", "link-in-text-block")


WITHOUT_WIDGETS = [p for p in PAGES if p.split("/")[-1] not in NUM_WIDGETS]


@pytest.mark.parametrize("page_name", sampled(WITHOUT_WIDGETS, 8, always=KINDS))
def test_every_page_works_from_a_server_without_a_network(open_page, page_name):
    """Those with widgets are opened there by the tests of their widgets."""
    open_page(page_name, over="http").wait_for_load_state("networkidle")
    assert not open_page.troubles


@each_page
def test_no_page_is_heavy(site, page_name):
    html = (site / f"{page_name}.html").read_bytes()
    assert len(html) <= 2e6
    assert len(gzip.compress(html)) <= 60e3


@each_way
def test_search_finds_a_known_term(open_page, over):
    page = open_page("book/intro", over=over)
    page.keyboard.press("Control+k")
    page.keyboard.type("rewind")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
    page.get_by_text("Search finished").wait_for()
    assert "Glossary" in page.locator("#search-results").inner_text()
    quotes = page.locator("#search-results p.context")
    if over == "http":
        quotes.first.wait_for()
    else:  # where pages may not read each other
        assert quotes.count() == 0


@each_way
def test_the_theme_is_switched_by_keyboard_and_remembered(open_page, over):
    page = open_page("book/intro", over=over)
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "light"
    button = page.locator("button.theme-switch-button")
    tab_to(page, button)
    for _ in range(3):  # automatic, light, dark
        page.keyboard.press("Enter")
        if page.evaluate(theme) == "dark":
            break
    assert page.evaluate(theme) == "dark"
    page.reload()
    assert page.evaluate(theme) == "dark"


def tab_to(page, target, limit=80):
    for _ in range(limit):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{limit} tabs do not reach {target}")


def test_the_first_tab_leads_past_the_navigation(open_page):
    page = open_page("notebooks/01-why-prune")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to main content"
    assert focused.is_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#main-content').contains(document.activeElement)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_sees_where_the_keyboard_is(open_page, scheme):
    page = open_page("notebooks/01-why-prune", scheme=scheme)
    for _ in range(40):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
              const style = getComputedStyle(document.activeElement);
              const outlined = style.outlineStyle !== "none" && style.outlineWidth !== "0px";
              return outlined || style.boxShadow !== "none";
            }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")[:200]


@each_way
@pytest.mark.parametrize(("old", "new"), REDIRECTS)
def test_short_and_old_addresses_lead_to_pages_of_the_book(open_page, over, old, new):
    page = open_page(old, over=over)
    page.wait_for_url(re.compile(rf"/{new}\.html$"))
    assert page.locator("article h1").count() == 1


def test_each_page_leads_to_the_one_before_and_the_one_after(site):
    for before, after in pairwise(CONTENTS):
        for here, there, way in ((before, after, "right-next"), (after, before, "left-prev")):
            page = site / f"{here}.html"
            (link,) = parse(page).select(f"a.{way}")
            assert (page.parent / link["href"]).resolve() == site / f"{there}.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_missing_page_says_so_and_where_to_go(open_page, served, barriers, scheme):
    page = open_page(f"{served}notebooks/no-such-page.html", scheme=scheme)
    assert "not found" in page.locator("article h1").inner_text().lower()
    assert not barriers(page)
    page.locator("article a").first.click()
    assert page.url == f"{served}book/intro.html"
    assert [text for text in open_page.troubles if "404" in text] == open_page.troubles
    open_page.troubles.clear()


def test_the_zipped_book_is_whole_and_opens_where_it_is_unpacked(open_page, site, tmp_path):
    """What `make zip` packs, in a folder with a name of its own."""
    packed, unpacked = tmp_path / "book.zip", tmp_path / "some where" / site.name
    pack = [sys.executable, "-m", "zipfile", "-c", packed, site.name]
    subprocess.run(pack, cwd=site.parent, check=True)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(unpacked.parent)
    page = open_page(f"{unpacked.as_uri()}/notebooks/04-mnist.html")
    assert page.locator(".recorded .knobs").count() == 1
    assert page.locator("mjx-container svg").count() > 0
    own = f"asked for {unpacked.as_uri()}"
    open_page.troubles[:] = [text for text in open_page.troubles if own not in text]

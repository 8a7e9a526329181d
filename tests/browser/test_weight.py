"""What keeps pages light: formulas in folds wait until one opens; the library has nine pages."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
#: The chapters with most formulas, nearly all of their proofs and solutions folded.
FORMULAS = [
    "notebooks/12-how-much-to-prune",
    "notebooks/13-information-flow",
    "notebooks/15-what-consistency-guarantees",
]
UNSET = """() => [...document.querySelectorAll(".math")]
  .filter((formula) => !formula.querySelector("mjx-container"))"""
SHOWN = "{ visibilityProperty: true }"


def count(page, script):
    return page.evaluate(f"({script})().length")


def unset_and_shown(page):
    return count(page, f"{UNSET}.filter((formula) => formula.checkVisibility({SHOWN}))")


@pytest.mark.parametrize("chapter", FORMULAS)
def test_a_chapter_of_formulas_has_no_more_elements_than_a_browser_likes(open_page, chapter):
    page = open_page(chapter)
    assert page.evaluate("document.querySelectorAll('*').length") <= 25_000
    assert unset_and_shown(page) == 0
    assert count(page, UNSET) > 50


def test_formulas_in_a_fold_are_set_when_it_is_opened(open_page):
    page = open_page(FORMULAS[-1])
    fold = page.locator(".admonition.toggle-hidden:has(.math)").first
    inside = fold.locator(".math").count()
    before = count(page, UNSET)
    fold = page.locator(f"#{fold.get_attribute('id')}")
    fold.locator(".admonition-title").first.click()
    fold.locator("mjx-container").nth(inside - 1).wait_for()
    assert fold.locator("mjx-container").count() == inside == before - count(page, UNSET)
    assert fold.locator("mjx-assistive-mml math").count() == inside


def test_on_paper_every_formula_is_set(open_page, tmp_path):
    page = open_page(FORMULAS[-1])
    assert count(page, UNSET) > 50
    page.pdf(path=tmp_path / "chapter.pdf")
    assert count(page, UNSET) == 0


@pytest.mark.parametrize("over", ["file", "http"])
@pytest.mark.parametrize("chapter", FORMULAS[1:])
def test_an_address_within_a_chapter_of_formulas_leads_to_its_heading(
    open_page, bases, over, chapter
):
    page = open_page(chapter, over=over)
    names = "all => all.map((each) => each.id)"
    name = page.locator(".bd-article section[id]").evaluate_all(names)[-3]
    page = open_page(f"{bases[over]}{chapter}.html#{name}")
    page.wait_for_timeout(300)
    top = page.locator(f"#{name}").evaluate("element => element.getBoundingClientRect().top")
    assert 0 <= top < 300 or page.evaluate(
        "scrollY + innerHeight >= document.documentElement.scrollHeight - 2"
    )


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("infcop_lite.masks.density", "api-method"),
        ("module-infcop_lite.tree", "api-runs"),
        ("evidence", "api-evidence"),
    ],
)
@pytest.mark.parametrize("over", ["file", "http"])
def test_old_addresses_of_the_library_lead_to_where_a_name_stands_now(
    open_page, bases, over, name, where
):
    page = open_page("book/api", over=over)
    page.goto(f"{bases[over]}book/api.html#{name}")
    page.wait_for_url(f"**/book/{where}.html#{name}")
    assert page.evaluate("name => document.getElementById(name) !== null", name)

"""Search answers what a reader would ask, from folder and server, and marks whole words."""

import pytest

from .conftest import Opener

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ASKED = {  # a natural question, and a page that must be among the first three
    "when should I stop retraining": "notebooks/16-when-to-stop",
    "how much can I prune": "notebooks/12-how-much-to-prune",
    "tutorial for transformers": "book/api-integrations",
    "ResNet": "notebooks/05-cifar10",
    "lottery ticket": "book/glossary",
    "PQ index": "notebooks/12-how-much-to-prune",
    "dead units": "book/glossary",
    "gradient flow": "notebooks/14-gradient-flow",
    "how do I prune my own network": "notebooks/09-prune-your-own-model",
    "does it work on CIFAR-10": "notebooks/05-cifar10",
    "what is information flow": "notebooks/13-information-flow",
    "which weights are removed": "notebooks/01-why-prune",
    "is early stopping worth it": "notebooks/16-when-to-stop",
    "how many images do I need": "notebooks/18-planning-a-probe",
    "convolutions and batch norm": "notebooks/19-convolutions",
    "keep my own training loop": "notebooks/10-keep-your-own-loop",
    "slides for a lecture": "book/teaching",
    "what could not be reproduced": "book/not-reproduced",
}
FIRST = """(query) => {
  const stemmer = new Stemmer();
  const stem = (word) => stemmer.stemWord(word);
  const found = BookSearch.rank(Search._index, query, stem, BookSearch.words);
  return found.slice(0, 3).map((one) => one.page);
}"""


@pytest.fixture(scope="module")
def search_page(browser, bases):
    opener = Opener(browser, bases)
    page = opener("search")
    page.wait_for_function("Search.hasIndex() && Object.keys(BookSearch.words).length > 0")
    yield page
    opener.close()
    assert not opener.troubles


@pytest.mark.parametrize("question", ASKED)
def test_a_question_finds_its_page_among_the_first_three(search_page, question):
    assert ASKED[question] in search_page.evaluate(FIRST, question)


@pytest.mark.parametrize("over", ["file", "http"])
def test_the_list_names_chapters_by_number_and_marks_words_not_letters(open_page, over):
    page = open_page("book/intro", over=over)
    page.keyboard.press("Control+k")
    page.keyboard.type("when should I stop retraining")
    page.keyboard.press("Enter")
    page.get_by_text("Search finished").wait_for()
    first = page.locator("#search-results li a").first
    assert first.inner_text().startswith("16. When may a level stop")
    marked = {text.lower() for text in page.locator(".highlighted").all_inner_texts()}
    assert marked
    assert all(word.startswith(("stop", "retrain")) for word in marked)


def test_on_the_page_that_is_found_the_same_words_are_marked(open_page):
    page = open_page("search")
    page.goto(f"{page.url}?q=what+is+rewinding")
    page.locator("#search-results li a").first.click()
    page.wait_for_selector(".bd-article .highlighted", state="attached")
    marked = page.locator(".bd-article .highlighted").all_text_contents()
    assert all(word.lower().startswith("rewind") for word in marked)

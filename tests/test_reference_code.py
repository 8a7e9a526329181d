"""The pages on code, published, lying or ours: every block runs and prints what they show."""

import doctest
import re

import build
import pytest

PAGES = {"reference-code": 50, "lying-pruning-code": 50, "many-runs": 10}  # examples, at least
TEXTS = {name: (build.ROOT / "book" / f"{name}.md").read_text("utf-8") for name in PAGES}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"(?ms)^```pycon\n(.*?)^```$")


def blocks(text):
    """The console blocks of a page: (line number in the page, source)."""
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text)]


def run(text, page="a page"):
    """Run the blocks one after the other, as a reader would; return what came out otherwise."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(None, False, FLAGS)
    names, report = {}, []
    for line, source in blocks(text):
        test = parser.get_doctest(source, names, page, page, line)
        runner.run(test, out=report.append, clear_globs=False)
        names = test.globs
    return "".join(report)


@pytest.mark.parametrize("page", PAGES)
def test_every_number_of_the_page_is_what_its_command_prints(page):
    failures = run(TEXTS[page], page)
    assert not failures, failures


def test_a_wrong_number_on_the_page_would_be_found():
    shown = "```pycon\n>>> half = 0.5\n```\n\nText.\n\n```pycon\n>>> half\n0.5\n```\n"
    assert not run(shown)
    assert "Got:\n    0.5" in run(shown.replace("\n0.5\n", "\n0.6\n"))


@pytest.mark.parametrize("page", PAGES)
def test_every_example_of_the_page_stands_in_a_block(page):
    inside = sum(source.count(">>> ") for _, source in blocks(TEXTS[page]))
    assert inside == TEXTS[page].count(">>> ") > PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_short(page):
    lengths = [len(re.findall(r"(?m)^(>>>|\.\.\.)", source)) for _, source in blocks(TEXTS[page])]
    assert max(lengths) <= 12


ROWS = [(page, row) for page in PAGES for row in re.findall(r"(?m)^\| \[.*$", TEXTS[page])]


@pytest.mark.parametrize(("page", "row"), ROWS)
def test_every_fact_of_the_table_has_its_section(page, row):
    anchor = re.search(r"\(#([\w-]+)\)", row)[1]
    headings = re.findall(r"(?m)^### (.+)$", TEXTS[page])
    assert anchor in [re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings]

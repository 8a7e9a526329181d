"""The slides: what their sources may say, and how they look, at 16:9 and without a network."""

import re

import build
import nbformat
import pytest
import slides
import vendor
from nbformat.v4 import new_code_cell, new_notebook, new_output
from sampling import sampled

from .conftest import Opener, missing

SOURCES = {path.stem: path.read_text("utf-8") for path in sorted(slides.SOURCES.glob("*.md"))}
FENCE = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$.+?\$", re.DOTALL)
each_source = pytest.mark.parametrize("name", SOURCES)


class TestSources:
    @each_source
    def test_a_deck_has_a_dozen_slides_and_each_has_a_title_and_notes(self, name):
        deck = slides.parse(SOURCES[name])
        assert len(deck) >= 12
        assert deck[0].text.startswith("# ")
        for slide in deck[1:]:
            assert re.findall(r"^#+ ", slide.text, re.MULTILINE) == ["## "], slide.text
        assert all(slide.notes for slide in deck)

    @each_source
    def test_a_note_says_how_long_and_what_answer_to_expect_and_a_deck_fits_a_lecture(self, name):
        notes = [slide.notes for slide in slides.parse(SOURCES[name])]
        minutes = [int(slides.MINUTES.match(note)[1]) for note in notes]
        assert 60 <= sum(minutes) <= 90
        for note in notes:
            _, _, answer = note.partition("\n\nExpect: ")
            assert len(answer.split()) >= 8, note

    @each_source
    def test_a_slide_is_short(self, name):
        for slide in slides.parse(SOURCES[name]):
            said = FORMULA.sub("", FENCE.sub("", slide.text))
            said = re.sub(r"\]\[[\w-]+\]|\]\(\S+\)", "]", said)  # where links lead
            assert len(re.findall(r"\w[\w'’.-]*", said)) <= 40, slide.text

    @each_source
    def test_what_a_slide_shows_is_one_cell_of_one_chapter(self, name):
        cells = [cell for path in build.notebooks() for cell in nbformat.read(path, 4).cells]
        names = [cell.id for cell in cells if cell.cell_type == "code"]
        names += [cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells]
        for page in slides.BOOK.glob("*.md"):
            names += [label for label, _ in slides.PAGE_FIGURE.findall(page.read_text("utf-8"))]
        for _, shown in slides.SHOW.findall(SOURCES[name]):
            assert names.count(shown) == 1, shown

    @each_source
    def test_the_teaching_guide_asks_what_the_notes_quote_from_it(self, name):
        guide = " ".join((slides.BOOK / "teaching.md").read_text("utf-8").split())
        quotes = re.findall(r"\[Guide\]\[teaching\]:\s+\*(.+?)\*", SOURCES[name], re.DOTALL)
        assert SOURCES[name].count("[Guide]") == len(quotes) > 0
        for quote in quotes:
            assert " ".join(quote.split()) in guide

    @each_source
    def test_code_and_what_it_prints_stand_on_a_page_that_is_tested(self, name):
        page = (slides.BOOK / "lying-pruning-code.md").read_text("utf-8")
        tested = {line.strip().removeprefix(">>> ") for line in page.splitlines()}
        tested |= {line.removeprefix("... ").strip() for line in tested}
        for block in FENCE.findall(SOURCES[name]):
            assert set(block.splitlines()) <= tested


class TestBuilding:
    def test_without_executed_chapters_it_says_so_in_a_line(self, tmp_path, capsys):
        assert slides.main(tmp_path / "slides", tmp_path) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "has not been executed: run `make book`" in line
        assert not (tmp_path / "slides").exists()

    def test_a_name_that_no_chapter_knows_is_an_error(self):
        (slide,) = slides.parse("# One\n\n![](fig-none)\n\nNote: none.")
        with pytest.raises(slides.SlidesError, match="no chapter shows 'fig-none'"):
            slides.notebook([slide], {})

    def test_what_a_cell_printed_in_pieces_is_one_box_and_blanks_are_none(
        self, tmp_path, monkeypatch
    ):
        pieces = [new_output("stream", text=text) for text in ("one ", "two\n")]
        blank = new_output("stream", name="stderr", text=" \n")
        cell = new_code_cell(id="what-it-prints", outputs=[pieces[0], blank, pieces[1]])
        run = {"infcop_lite": {"parameters": {"profile": "ci"}}}
        nbformat.write(new_notebook(cells=[cell], metadata=run), tmp_path / "01-one.ipynb")
        monkeypatch.setattr(build, "notebooks", lambda: [tmp_path / "01-one.ipynb"])
        monkeypatch.setattr(slides.room, "PAGES", {})
        (output,) = slides.gather(tmp_path)["what-it-prints"].cell.outputs
        assert output.text == "one two\n"

    def test_boxes_of_one_slide_share_its_height(self):
        long, short = (new_code_cell(outputs=[new_output("stream", text=t)]) for t in "ab")
        shown = {
            name: slides.Shown(cell, "teaching", "", "")
            for name, cell in [("x", long), ("y", short)]
        }
        (slide,) = slides.parse("# One\n\n![](x)\n\n![](y)\n\nNote: none.")
        boxes = [cell for cell in slides.notebook([slide], shown).cells if cell.cell_type == "code"]
        assert [(box.metadata.boxes, box.metadata["lines"]) for box in boxes] == [(2, 2), (2, 2)]

    def test_a_picture_without_its_figure_is_refused(self):
        output = new_output("display_data", {"image/png": "iVBORw0KGgo="})
        with pytest.raises(slides.SlidesError, match="kept no figure"):
            slides.drawn(output, "wide", 80)

    def test_without_npm_slides_load_from_a_cdn_and_it_says_so(self, monkeypatch, capsys):
        monkeypatch.setattr(vendor, "fetch", lambda package, into: None)
        found = slides.assets()
        assert found["script"] == "https://cdn.jsdelivr.net/npm/reveal.js@5.2.1/dist/reveal.js"
        assert found["mathjax"].startswith("https://cdn.jsdelivr.net/npm/mathjax@")
        assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.fixture(scope="module")
def decks(outcomes, tmp_path_factory):
    """The folder of the decks, with what the executed chapters show."""
    if failed := [notebook.name for notebook, error in outcomes.items() if error]:
        pytest.fail(f"no slides without {failed}", pytrace=False)
    if vendor.fetch(slides.REVEAL, slides.BOOK / "_build" / "vendor") is None:
        missing("no reveal.js: install npm (the Debian packages nodejs and npm)")
    folder = tmp_path_factory.mktemp("slides")
    slides.decks(folder)
    return folder


@pytest.fixture(scope="module", params=SOURCES)
def deck(request, browser, decks):
    """A deck, open at its first slide; it may raise nothing and ask for nothing."""
    opener = Opener(browser, {"file": f"{decks.as_uri()}/"})
    page = opener(request.param)
    page.name = request.param
    yield page
    opener.close()
    assert not opener.troubles


# What is wrong with the slide in sight. A box is a text, a picture or a listing; at the foot there
# are the page number and where the slide's figure comes from.
FAULTS = """() => {
  const slide = Reveal.getCurrentSlide();
  const frame = slide.getBoundingClientRect();
  const within = (inner, outer) =>
    inner.left >= outer.left - 1 && inner.right <= outer.right + 1 &&
    inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  const apart = (one, two) =>
    one.right <= two.left + 1 || two.right <= one.left + 1 ||
    one.bottom <= two.top + 1 || two.bottom <= one.top + 1;
  const foot = slide.querySelector(".origin");
  const boxes = [...slide.children].filter((box) => box.tagName !== "ASIDE");
  const faults = [];
  boxes.forEach((box, number) => {
    const place = box.getBoundingClientRect();
    if (!within(place, frame)) faults.push(`${box.className} leaves the slide`);
    if (frame.bottom - place.bottom < frame.height * 0.02) faults.push("no foot");
    if (box.scrollWidth > box.clientWidth + 1) faults.push(`${box.className} is cut off`);
    for (const part of box.querySelectorAll("*:not(defs, defs *)")) {
      if (part !== foot && part.parentNode !== foot && !within(part.getBoundingClientRect(), place))
        faults.push(`${part.tagName} leaves its box`);
    }
    for (const other of boxes.slice(number + 1)) {
      if (!apart(place, other.getBoundingClientRect())) faults.push("two boxes overlap");
    }
    if (foot && number && !apart(place, foot.getBoundingClientRect())) faults.push("on the foot");
    if (box.tagName === "IMG") {
      if (!box.complete || box.naturalWidth === 0) faults.push("a picture is not drawn");
      if (box.alt.length < 20) faults.push("a picture is not described");
      const drawn = Math.min(place.width, (place.height * box.naturalWidth) / box.naturalHeight);
      if (drawn < frame.width * 0.6) faults.push("a picture is too small to read");
      const points = (box.dataset.points * drawn) / (72 * box.dataset.inches);
      if (!(points >= 14 * frame.width / 1280)) faults.push("labels are too small to read");
    }
    for (const text of [box, ...box.querySelectorAll("pre")]) {
      if (parseFloat(getComputedStyle(text).fontSize) < 14) faults.push("small print");
    }
  });
  return [...new Set(faults)];
}"""


def walk(deck, key):
    """Go through the deck by that key; the faults of every slide on the way."""
    deck.evaluate("Reveal.slide(0)")
    faults = {}
    while True:
        number = deck.evaluate("Reveal.getSlidePastCount()")
        if number in faults:
            return faults
        faults[number] = deck.evaluate(FAULTS)
        deck.keyboard.press(key)


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestDecks:
    def test_every_slide_is_reached_by_keyboard_and_is_whole(self, deck):
        self.is_whole(deck, "ArrowRight", 1280, 720)

    @pytest.mark.parametrize("deck", sampled(SOURCES, 1), indirect=True)
    def test_so_it_is_on_a_larger_screen_by_another_key(self, deck):
        self.is_whole(deck, "Space", 1920, 1080)

    def is_whole(self, deck, key, width, height):
        deck.set_viewport_size({"width": width, "height": height})
        faults = walk(deck, key)
        assert len(faults) == len(slides.parse(SOURCES[deck.name]))
        assert not {number: found for number, found in faults.items() if found}

    def test_formulas_are_set_and_links_lead_somewhere(self, deck):
        formulas = len(FORMULA.findall(SOURCES[deck.name]))
        assert deck.locator("mjx-container").count() == formulas
        assert deck.locator("mjx-merror").count() == 0
        text = deck.evaluate("document.querySelector('.slides').textContent")
        assert "$" not in text
        assert "][" not in text
        links = deck.locator(".slides a").evaluate_all("links => links.map(link => link.href)")
        assert links
        assert all(link.startswith("https://") for link in links)

    def test_what_is_printed_has_one_page_for_each_slide(self, deck):
        printed = deck.context.new_page()
        printed.goto(f"{deck.url.partition('#')[0]}?print-pdf")
        printed.wait_for_selector(".pdf-page")
        high = "sections => sections.map(section => section.scrollHeight)"
        assert max(printed.locator(".pdf-page > section").evaluate_all(high)) <= 720
        pages = re.findall(rb"/Type\s*/Page\b", printed.pdf(prefer_css_page_size=True))
        assert len(pages) == len(slides.parse(SOURCES[deck.name]))

    @pytest.mark.parametrize("deck", ["method"], indirect=True)
    def test_the_speaker_sees_the_notes(self, deck):
        deck.evaluate("Reveal.slide(0)")
        with deck.expect_popup() as opened:
            deck.keyboard.press("s")
        notes = opened.value.locator(".speaker-controls-notes .value")
        first = slides.parse(SOURCES[deck.name])[0].notes.split(";")[0].split(".")[0]
        notes.filter(has_text=" ".join(first.split())).wait_for()
        opened.value.close()

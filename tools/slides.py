"""Build the slides: a deck for each part of the book, one file that needs no network.

    make slides     course/slides/<part>.md → book/_build/slides/<part>.html

A source holds slides between lines of `---`; what follows `Note:` is for the speaker. A line
`![](name)` shows what the book showed: a figure by its label, or a chapter's cell by its id, what
it printed or, if it printed nothing, its code. With `![side](name)` the text stands to its left.
`[chapter 3]` and `[so][teaching]` are links to a chapter and to a page of the book. No figure and
no number is stored here: both come from the executed chapters, so `make book` runs first.
"""

import base64
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import address
import build
import nbformat
import room
import vendor
from keep_figures import keep
from nbconvert import SlidesExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode, v4

BOOK = build.ROOT / "book"
SOURCES = build.ROOT / "course" / "slides"
DECKS = BOOK / "_build" / "slides"
REVEAL = vendor.Package(
    "reveal.js",
    "5.2.1",
    "sha512-r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFgfQ7zNQ==",
    ("dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE"),
)
SHOW = re.compile(r"^!\[(side)?\]\(([\w-]+)\)$", re.MULTILINE)
MINUTES = re.compile(r"^(\d+) min\. ")
PAGE_FIGURE = re.compile(r"^```\{figure\} \S+\.svg\n:name: (\S+)\n:alt: (.+)\n", re.MULTILINE)
COLUMNS = {"wide": 80, "side": 31}  # of what a cell printed


class SlidesError(Exception):
    """A deck that cannot be built; its text says what is missing."""


@dataclass(frozen=True)
class Slide:
    """What one slide says, what it shows as (layout, name), and what is for the speaker alone."""

    text: str
    shown: tuple[tuple[str, str], ...]
    notes: str


@dataclass(frozen=True)
class Shown:
    """A cell that the book shows, and where: the name of the page, its path, how it was run."""

    cell: NotebookNode
    page: str
    path: str
    run: str


def parse(source: str) -> list[Slide]:
    """Read a deck.

    >>> parse("# One\\n\\n---\\n\\n## Two?\\n\\n![side](fig-two)\\n\\nNote: Ask.")[1]
    Slide(text='## Two?', shown=(('side', 'fig-two'),), notes='Ask.')
    """
    slides = []
    for part in re.split(r"^---$", source, flags=re.MULTILINE):
        said, _, notes = part.partition("\nNote:")
        shown = tuple((layout or "wide", name) for layout, name in SHOW.findall(said))
        slides.append(Slide(SHOW.sub("", said).strip(), shown, notes.strip()))
    return slides


def links() -> dict[str, str]:
    """Names of chapters and pages, and where the published book has them."""
    owner, name = address.configured()[0].split("/")
    book = f"https://{owner}.github.io/{name}"
    chapters = {
        f"chapter {int(notebook.stem[:2])}": f"{book}/notebooks/{notebook.stem}.html"
        for notebook in build.notebooks()
    }
    return chapters | {page.stem: f"{book}/book/{page.stem}.html" for page in BOOK.glob("*.md")}


def gather(executed: Path = build.EXECUTED) -> dict[str, Shown]:
    """Everything that the book shows, by the label of a figure and by the id of a cell.

    Raises:
        SlidesError: a chapter has not been executed.
    """
    found: dict[str, Shown] = {}
    merge = CoalesceStreamsPreprocessor()
    for notebook in build.notebooks():
        copy = executed / notebook.name
        if not copy.is_file():
            raise SlidesError(f"{notebook.name} has not been executed: run `make book`")
        page, run = f"chapter {int(notebook.stem[:2])}", build.record(copy)["parameters"]
        for cell in nbformat.read(copy, as_version=4).cells:
            if cell.cell_type == "code":
                cell.outputs = [o for o in cell.get("outputs", []) if not _blank(o)]
                merge.preprocess_cell(cell, {}, 0)
                label = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", cell.id)
                shown = Shown(cell, page, notebook.stem, f", profile {run['profile']}")
                found |= {cell.id: shown, label: shown}
    for path in sorted(BOOK.glob("*.md")):
        for label, alt in PAGE_FIGURE.findall(path.read_text("utf-8")):
            if label in room.PAGES:
                figure = v4.new_output("display_data", keep(room.PAGES[label]()))
                cell = v4.new_code_cell(outputs=[figure])
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
                found[label] = Shown(cell, path.stem, path.stem, "")
    return found


def _blank(output: NotebookNode) -> bool:
    empty = output.output_type == "stream" and not output.text.strip()
    return empty or "scrapbook" in output.get("metadata", {})  # a number for the prose


def drawn(output: NotebookNode, layout: str, columns: int) -> NotebookNode:
    """What a slide shows of an output: a figure in large letters, or lines of text that fit.

    Raises:
        SlidesError: an output is a picture without the figure that it is of.
    """
    figure = room.kept(output)
    if figure is not None:
        png, *size = room.enlarge(figure, layout)
        about = dict(zip(("inches", "points"), size, strict=True))
        return v4.new_output("display_data", {"image/png": png}, metadata=about)
    data = output.get("data", {})
    if any(kind.startswith("image/") for kind in data):
        raise SlidesError("a chapter kept no figure beside its picture: run `make book`")
    lines = (output.get("text") or data["text/plain"]).rstrip().splitlines()
    wrapper = textwrap.TextWrapper(columns, replace_whitespace=False, drop_whitespace=False)
    fitting = [part for line in lines for part in wrapper.wrap(line) or [""]]
    return v4.new_output("stream", text="\n".join(fitting))


def notebook(slides: list[Slide], book: dict[str, Shown]) -> NotebookNode:
    """The deck as a notebook: each slide a cell of text, the cells that it shows, and its notes.

    Raises:
        SlidesError: the book shows nothing of that name.
    """
    cells: list[NotebookNode] = []
    known = links()
    references = "\n\n" + "\n".join(f"[{name}]: {url}" for name, url in known.items())
    for slide in slides:
        if unknown := [name for _, name in slide.shown if name not in book]:
            raise SlidesError(
                f"no chapter shows {unknown[0]!r}: give a figure's label or a cell's id"
            )
        pictures = [(layout, book[name]) for layout, name in slide.shown]
        origins = dict.fromkeys(
            f'<a href="{known[shown.page]}">{shown.page}</a>{shown.run}' for _, shown in pictures
        )
        origin = f'\n\n<p class="origin">from {"; ".join(origins)}</p>' if origins else ""
        cells.append(_text("slide", slide.text + origin + references))
        cells += _pictures(pictures)
        cells.append(_text("notes", slide.notes + references))
    title = slides[0].text.splitlines()[0].removeprefix("# ")
    return v4.new_notebook(cells=cells, metadata={"title": title})


def _pictures(pictures: list[tuple[str, Shown]]) -> list[NotebookNode]:
    """Cells for what a slide shows; boxes of printed lines share its height."""
    columns = COLUMNS["side" if "side" in dict(pictures) else "wide"]
    cells = []
    for layout, shown in pictures:
        outputs = [drawn(output, layout, columns) for output in shown.cell.outputs]
        cell = v4.new_code_cell(shown.cell.source, outputs=outputs)
        alt = shown.cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        cell.metadata.update(slideshow={"slide_type": "-"}, layout=layout, alt=alt)
        cells.append(cell)
    printed = [o.text.splitlines() for cell in cells for o in cell.outputs if "text" in o]
    lines = [line for box in printed for line in box]
    for cell in cells:
        cell.metadata["boxes"] = len(printed)
        cell.metadata["lines"] = len(lines)
        cell.metadata["columns"] = max(map(len, lines), default=1)
    return cells


def _text(kind: str, text: str) -> NotebookNode:
    return v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def assets() -> dict[str, str]:
    """Addresses of the scripts and styles: the files themselves, or their place on a CDN."""
    wanted = {"reveal": REVEAL, "mathjax": vendor.MATHJAX}
    folders = {key: vendor.fetch(wanted[key], BOOK / "_build" / "vendor") for key in wanted}
    if None in folders.values():
        print("no npm or no network: the slides will load reveal.js and MathJax from a CDN")
        folders = dict.fromkeys(wanted)

    def at(key: str, file: str, mime: str = "text/javascript") -> str:
        folder = folders[key]
        if folder is None:
            return f"{wanted[key].cdn}/{file}"
        content = (folder / wanted[key].folder / file).read_bytes()
        return f"data:{mime};base64,{base64.b64encode(content).decode()}"

    return {
        "style": at("reveal", "dist/reveal.css", "text/css"),
        "script": at("reveal", "dist/reveal.js"),
        "notes": at("reveal", "plugin/notes/notes.js"),
        "mathjax": at("mathjax", "es5/tex-svg-full.js"),
        "look": (SOURCES / "deck.css").read_text("utf-8"),
    }


def decks(into: Path = DECKS, executed: Path = build.EXECUTED) -> dict[Path, int]:
    """Build every deck; its file, and how many slides it has."""
    book, deck = gather(executed), assets()
    exporter = SlidesExporter(
        template_file=str(SOURCES / "deck.html.j2"), exclude_anchor_links=True
    )
    into.mkdir(parents=True, exist_ok=True)
    built = {}
    for source in sorted(SOURCES.glob("*.md")):
        slides = parse(source.read_text("utf-8"))
        try:
            html, _ = exporter.from_notebook_node(notebook(slides, book), {"deck": deck})
        except SlidesError as error:
            raise SlidesError(f"{source.name}: {error}") from None
        target = into / f"{source.stem}.html"
        target.write_text(html, "utf-8")
        built[target] = len(slides)
    return built


def main(into: Path = DECKS, executed: Path = build.EXECUTED) -> int:
    """The command line; see the top of this file."""
    try:
        for deck, num_slides in decks(into, executed).items():
            print(f"{deck}: {num_slides} slides")
    except (SlidesError, vendor.VendorError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

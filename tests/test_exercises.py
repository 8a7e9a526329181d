"""The exercises: of every kind in every chapter, each with a solution that runs and can fail."""

import ast
import collections
import re

import build
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KINDS = "by hand", "in code", "to explore", "open"
EXERCISE = re.compile(r"(?ms)^(`{3,})\{exercise\} *([^\n]*)\n:label: (\S+)\n(.*?)^\1$")
ENDING = re.compile(rf"(?:, ({'|'.join(KINDS)})|\? ({'|'.join(k.capitalize() for k in KINDS)}))$")
LINK = re.compile(r"\]\((?:([\w-]+)\.ipynb)?(?:#([\w-]+))?\)")
RUNS_NOW = {"run_now"}  # what needs a kernel, below a picture with knobs or alone
CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in build.notebooks()}
each_chapter = pytest.mark.parametrize("stem", CHAPTERS)


def exercises(notebook):
    """(title, label, text) of each, in order."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [found[1:] for text in prose for found in EXERCISE.findall(text)]


def kind(title):
    found = ENDING.search(title)
    return (found[1] or found[2]).lower() if found else None


def tags(cell):
    return cell.metadata.get("tags", [])


def solutions(notebook):
    """(label, is folded, code cells that run) of each, in order; no label if it never ends."""
    found, inside = [], False
    for cell in notebook.cells:
        if start := re.search(r"(?m)^`{3,}\{solution-start\} (\S+)$", cell.source):
            found.append([start[1], ":class: dropdown" in cell.source, []])
            inside = True
        elif re.search(r"(?m)^`{3,}\{solution-end\}$", cell.source):
            inside = False
        elif inside and cell.cell_type == "code" and "skip-execution" not in tags(cell):
            found[-1][2].append(cell.source)
    if inside:
        found[-1][0] = ""
    return found


def tells_or_fails(source):
    """Whether a cell prints or shows something that it computes, or asserts what may be false."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "display"):
            return True
    last = tree.body[-1] if tree.body else None
    silent = isinstance(last, ast.Expr) and re.fullmatch(r".*\.show\(\)", ast.unparse(last))
    return isinstance(last, ast.Expr) and not isinstance(last.value, ast.Constant) and not silent


def pictures_with_knobs():
    """Names of the library's functions that return one."""
    paths = (build.ROOT / "infcop_lite" / "explorer").glob("*.py")
    nodes = [node for path in paths for node in ast.parse(path.read_text("utf-8")).body]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.returns]
    found = {node.name for node in functions if ast.unparse(node.returns) == "Explorer"}
    return found - {"explore"}  # which makes them all


def slug(heading):
    """The anchor that a page has for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def sections_with_knobs(notebook, names):
    """The anchor of the section of every picture with knobs, in order: one for each cell."""
    call, heading, found = re.compile(rf"\b(?:{'|'.join(names)})\("), "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"(?m)^#+ (.+)$", cell.source) or [heading])[-1]
        elif call.search(cell.source):
            found.append(slug(heading))
    return found


def places_with_knobs(chapters, names):
    """(chapter, anchor of the section) of every picture with knobs."""
    found = {stem: sections_with_knobs(notebook, names) for stem, notebook in chapters.items()}
    return {(stem, anchor) for stem, anchors in found.items() for anchor in anchors}


def places_drawn_in_the_page(chapters):
    """The same for pictures that a script draws, whose knobs stand in the prose."""
    found = set()
    for stem, notebook in chapters.items():
        for cell in notebook.cells:
            if cell.cell_type == "markdown" and 'class="drawn"' in cell.source:
                found.add((stem, slug(re.findall(r"(?m)^#+ (.+)$", cell.source)[-1])))
    return found


def complaints(stem, notebook, places):
    """What is wrong with the exercises of a chapter, in words."""
    found = exercises(notebook)
    kinds, solved = {kind(title) for title, _, _ in found}, solutions(notebook)
    for title, label, text in found:
        if kind(title) is None:
            yield f"{label}: the title does not end with its kind"
        targets = {(page or stem, anchor) for page, anchor in LINK.findall(text)}
        if kind(title) == "to explore" and not targets & places:
            yield f"{label}: links no section with knobs"
    yield from (f"no exercise {missing}" for missing in KINDS if missing not in kinds)
    if [label for label, _, _ in solved] != [label for _, label, _ in found]:
        yield "exercises and solutions do not go together"
    for label, folded, cells in solved:
        if not folded:
            yield f"{label}: the solution is not folded"
        if not any(map(tells_or_fails, cells)):
            yield f"{label}: no cell of the solution prints or asserts anything"


def repeated(values):
    return [value for value, count in collections.Counter(values).items() if count > 1]


# --- the book ---


@pytest.fixture(scope="module")
def places():
    drawn = places_drawn_in_the_page(CHAPTERS)
    return places_with_knobs(CHAPTERS, pictures_with_knobs()) | drawn


def test_there_are_pictures_with_knobs_to_explore(places):
    assert len(places) >= 6


def test_the_page_of_what_can_be_turned_links_every_section_with_knobs_and_no_other():
    page = (build.ROOT / "book" / "explorer.md").read_text("utf-8")
    linked = set(re.findall(r"\(\.\./notebooks/([\w-]+)\.ipynb#([\w-]+)\)", page))
    knobs = places_with_knobs(CHAPTERS, pictures_with_knobs() | RUNS_NOW)
    assert linked == knobs | places_drawn_in_the_page(CHAPTERS)


@each_chapter
def test_every_chapter_has_exercises_of_all_kinds_with_solutions_that_run(stem, places):
    assert list(complaints(stem, CHAPTERS[stem], places)) == []


def test_no_label_and_no_title_is_used_twice_in_the_book():
    every = [exercise for notebook in CHAPTERS.values() for exercise in exercises(notebook)]
    assert len(every) >= 4 * len(CHAPTERS)
    assert repeated(label for _, label, _ in every) == []
    assert repeated(title.lower() for title, _, _ in every) == []


# --- the checks themselves, on a small chapter that is sound, or broken in one place ---

KNOBS = "## Turn it, twice\n", "threshold_explorer(rows)"


def chapter(edit=lambda cells: cells):
    """A chapter with a picture with knobs and an exercise of each kind; `edit` may break it."""
    cells = [new_markdown_cell(KNOBS[0]), new_code_cell(KNOBS[1])]
    for number, kind_of in enumerate(KINDS):
        text = "Turn [it](#turn-it-twice)." if kind_of == "to explore" else "Why?"
        cells += [
            new_markdown_cell(f"```{{exercise}} A, {kind_of}\n:label: ex-{number}\n\n{text}\n```"),
            new_markdown_cell(f"````{{solution-start}} ex-{number}\n:class: dropdown\n````"),
            new_code_cell("assert 1 + 1 == two"),
            new_markdown_cell("````{solution-end}\n````"),
        ]
    return new_notebook(cells=edit(cells))


def replaced(index, old, new):
    """An edit of the source of one cell."""

    def edit(cells):
        assert old in cells[index].source
        cells[index].source = cells[index].source.replace(old, new)
        return cells

    return edit


def tagged(cells):
    cells[4].metadata["tags"] = ["skip-execution"]
    return cells


BROKEN = {
    "a kind is missing": (lambda cells: cells[:-4], "no exercise open"),
    "a title has no kind": (replaced(2, "A, by hand", "By hand"), "does not end with its kind"),
    "a kind stands in brackets": (replaced(6, ", in code", " (in code)"), "does not end with"),
    "a solution is missing": (lambda cells: cells[:3] + cells[6:], "do not go together"),
    "a solution has another label": (replaced(3, "ex-0", "ex-9"), "do not go together"),
    "an exercise is missing": (lambda cells: cells[:2] + cells[3:], "do not go together"),
    "the last solution never ends": (lambda cells: cells[:-1], "do not go together"),
    "a solution is open": (replaced(3, ":class: dropdown\n", ""), "not folded"),
    "a solution is never run": (tagged, "ex-0: no cell"),
    "a solution has no code": (lambda cells: cells[:4] + cells[5:], "ex-0: no cell"),
    "a solution is silent": (replaced(4, "assert 1 + 1 == two", "two = 2"), "ex-0: no cell"),
    "a solution only draws": (replaced(4, "assert 1 + 1 == two", "plt.show()"), "ex-0: no cell"),
    "an assertion cannot fail": (replaced(4, "1 + 1 == two", "True"), "ex-0: no cell"),
    "nothing is linked": (replaced(10, "(#turn-it-twice)", ""), "links no section"),
    "another page is linked": (replaced(10, "(#", "(02-other.ipynb#"), "links no section"),
    "another section is linked": (replaced(10, "twice", "once"), "links no section"),
    "nothing can be turned": (replaced(1, "threshold_explorer", "figure"), "links no section"),
}


def complaints_of(notebook):
    places = places_with_knobs({"01-small": notebook}, pictures_with_knobs())
    return list(complaints("01-small", notebook, places))


@pytest.mark.parametrize("shown", ["print(two)", "table.round(2)", "import math\nmath.pi"])
def test_a_sound_chapter_passes(shown):
    assert complaints_of(chapter()) == []
    assert complaints_of(chapter(replaced(4, "assert 1 + 1 == two", shown))) == []


@pytest.mark.parametrize(("edit", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_broken_chapter_is_found_out(edit, complaint):
    assert any(complaint in found for found in complaints_of(chapter(edit)))


def test_a_repetition_is_found_out():
    assert repeated(["ex-1", "ex-2", "ex-1"]) == ["ex-1"]

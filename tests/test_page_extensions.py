"""What extensions make of a page: numbers, folded cells, tables in words, counted words."""

from collections import Counter
from configparser import RawConfigParser
from pathlib import Path
from types import SimpleNamespace

import build
import chapter_map
import chapter_numbers
import data_files
import fold_cells
import found
import light_code
import nbformat
import offline
import plain_tables
import pydata_sphinx_theme
import pytest
import theorem_names
import word_counts
from docutils import nodes
from docutils.utils import new_document
from pygments.styles import get_style_by_name
from pygments.token import STANDARD_TYPES, Text
from sphinx_proof.nodes import proof_node

from infcop_lite import glue


def test_theorems_are_numbered_within_their_chapter_in_order_and_figures_beside_them():
    counted = {
        "book/intro": {"figure": {"overview": (1,)}},
        "notebooks/15-x": {"theorem": {"t7-2": (2,), "t7-1": (1,)}, "figure": {"path": (2,)}},
        "notebooks/08-x": {"theorem": {"t5-1": (3,)}},
        "book/speed": {"figure": {"clock": (3,)}},
    }
    assert chapter_numbers.by_chapter(counted) == {
        "book/intro": {"figure": {"overview": (1,)}},
        "notebooks/15-x": {
            "theorem": {"t7-1": (15, 1), "t7-2": (15, 2)},
            "figure": {"path": (15, 1)},
        },
        "notebooks/08-x": {"theorem": {"t5-1": (8, 1)}},
        "book/speed": {"figure": {"clock": (2,)}},
    }


@pytest.mark.parametrize(
    ("docname", "title"),
    [("notebooks/16-when-to-stop", "16. When?"), ("book/2nd-thoughts", "When?")],
)
def test_a_chapter_has_its_number_in_its_title_and_keeps_its_anchor(docname, title):
    document = new_document("page")
    document += nodes.section("", nodes.title("", "When?"), ids=["when"])
    app = SimpleNamespace(env=SimpleNamespace(docname=docname))
    chapter_numbers.number_title(app, document)
    assert document[0][0].astext() == title
    assert document[0]["ids"] == ["when"]


def mention(text, label="t5-5"):
    return nodes.paragraph("", "", nodes.reference("", text, refuri=f"08.html#{label}"))


def test_a_statement_has_its_name_beside_its_number_once_a_section_and_as_a_tooltip_ever_after():
    stated, page = new_document("chapter"), new_document("page")
    title = nodes.title("", " (Only the mask survives (routine))")
    stated += nodes.Element("", title, label="t5-5", realtype="lemma")
    first = nodes.section("", mention("Lemma 8.5"), proof_node("", mention("Lemma 8.5")))
    inner = nodes.section("", mention("Remark 8.6", "t5-6"), classes=["lemma-content"])
    first += [mention("Lemma 8.5"), mention("the lemma"), inner, mention("Remark 8.6", "t5-6")]
    title = nodes.title("", " (Drift (observed))")
    here = nodes.Element("", title, label="t5-6", realtype="remark")
    page += [nodes.section("", here, mention("Remark 8.6", "t5-6"))]
    page += [first, nodes.section("", proof_node("", mention("Lemma 8.5")), mention("Lemma 8.5"))]
    app = SimpleNamespace(env=SimpleNamespace(proof_list={"t5-5": {}, "t5-6": {}}))
    for document in (stated, page):
        theorem_names.note_names(app, document)
    theorem_names.show_names(app, page, "page")
    assert [reference.astext() for reference in page.findall(nodes.reference)] == [
        "Remark 8.6",
        "Lemma 8.5 “Only the mask survives”",
        *["Lemma 8.5"] * 2,
        "the lemma",
        "Remark 8.6 “Drift”",
        "Remark 8.6",
        "Lemma 8.5",
        "Lemma 8.5 “Only the mask survives”",
    ]
    tips = [r.get("reftitle") for r in page.findall(nodes.reference) if r.astext() == "Lemma 8.5"]
    assert tips == ["Only the mask survives"] * 3


def cells(*sources, tags=()):
    made = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in made:
        cell.metadata["tags"] = list(tags)
    return nbformat.v4.new_notebook(cells=made)


def test_cells_that_set_up_or_draw_are_folded_and_those_that_teach_are_not():
    notebook = cells(
        "import torch\nx = 1",
        'profile = "ci"  # a minute',
        "%matplotlib inline\nfig, ax = plt.subplots()",
        "masks = magnitude_masks(net, fraction=0.5)",
        "def look(figure):\n    return figure",
    )
    fold_cells.fold(notebook)
    folded = ["hide-input" in cell.metadata.tags for cell in notebook.cells]
    assert folded == [True, True, True, False, False]


def test_what_a_notebook_tags_or_shows_in_a_solution_stays_as_it_is():
    hidden, solution = cells("import torch", tags=["remove-cell"]), cells("plt.plot(x)")
    solution.cells[0].id = "exercise-2-solution"
    for notebook in (hidden, solution):
        fold_cells.fold(notebook)
    assert [n.cells[0].metadata.tags for n in (hidden, solution)] == [["remove-cell"], []]


def test_the_call_that_prunes_a_network_of_ones_own_is_not_folded():
    """It imports the library, so it was: under "here is all that you write" stood nothing."""
    (path,) = build.ROOT.glob("notebooks/*-prune-your-own-model.ipynb")
    notebook = nbformat.read(path, as_version=4)
    fold_cells.fold(notebook)
    (call,) = [cell for cell in notebook.cells if cell.id == "own-five-lines"]
    assert "infcop_lite.prune(" in call.source
    assert not fold_cells.folded(call)


def test_folded_cells_in_a_row_are_one_if_one_at_most_shows_something():
    notebook = cells("import torch", "a = 1", "glue(a=a)", "print(a)", "b = a", "ax.plot(b)", "b")
    for cell in notebook.cells[:-1]:
        cell.metadata.tags = ["hide-input"]
    notebook.cells[1].metadata.tags = ["hide-cell"]
    output = nbformat.v4.new_output("display_data", data={f"{glue.PREFIX}text/plain": "'1'"})
    shown = nbformat.v4.new_output("stream", text="1")
    notebook.cells[2].outputs = [output]
    notebook.cells[3].outputs = [shown]
    figure = {"figure": {"name": "fig-b"}}
    notebook.cells[5].metadata["mystnb"] = figure
    fold_cells.join(notebook)
    joined = ["import torch\n\na = 1\n\nglue(a=a)\n\nprint(a)\n\nb = a", "ax.plot(b)", "b"]
    assert [cell.source for cell in notebook.cells] == joined
    assert notebook.cells[0].outputs == [output, shown]
    assert notebook.cells[1].metadata["mystnb"] == figure


@pytest.mark.parametrize("last", ["hide-input", "hide-cell"])
def test_joined_cells_are_hidden_as_the_one_that_shows_something(last):
    notebook = cells("a = 1", "a")
    notebook.cells[0].metadata.tags, notebook.cells[1].metadata.tags = ["hide-cell"], [last]
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="1")]
    fold_cells.join(notebook)
    assert [cell.metadata.tags for cell in notebook.cells] == [[last]]


HEAD = '<table border="1" class="dataframe"><thead>{}</thead><tbody>{}</tbody></table>'


def test_a_table_says_in_words_what_is_missing_true_and_measured():
    head = "<tr><th></th><th>plus_minus</th></tr><tr><th>rule</th><th></th></tr>"
    body = "<tr><th>k = 1</th><td>NaN</td></tr><tr><th>full</th><td>True</td></tr>"
    shown = plain_tables.in_words(HEAD.format(head, body))
    assert "<thead><tr><th>rule</th><th>± (95 %)</th></tr></thead>" in shown
    assert shown.endswith(
        "<tr><th>k = 1</th><td>–</td></tr><tr><th>full</th><td>yes</td></tr></tbody></table>"
    )


def test_row_numbers_go_and_levels_and_seeds_stay():
    body = "<tr><th>4</th><td>a</td></tr><tr><th>0</th><td>b</td></tr>"
    numbers = "<tr><th></th><th>rule</th></tr>"
    bare = plain_tables.in_words(HEAD.format(numbers, body))
    assert bare == HEAD.format("<tr><th>rule</th></tr>", "<tr><td>a</td></tr><tr><td>b</td></tr>")
    named = "<tr><th></th><th>drop</th></tr><tr><th>level</th><th></th></tr>"
    assert "<th>4</th>" in plain_tables.in_words(HEAD.format(named, body))
    axis = "<tr><th>seed</th><th>0</th></tr><tr><th>rule</th><th></th></tr>"
    assert axis in plain_tables.in_words(HEAD.format(axis, body))


def test_words_are_counted_by_page_without_raw_html_and_without_the_rare_ones():
    document = new_document("page")
    document += nodes.paragraph("", "A mask, the Mask and MASK; an epoch.")
    document += nodes.raw("", "<b>mask</b>", format="html")
    counted = word_counts.count(document)
    assert counted["mask"] == 3
    assert word_counts.table({"p": counted, "q": Counter(mask=1)}) == {"mask": {"p": 3}}


def test_a_page_shows_what_another_page_has_glued():
    output = nbformat.v4.new_output(
        "display_data",
        data={f"{glue.PREFIX}text/plain": repr("0.920")},
        metadata={"scrapbook": {"name": "density", "mime_prefix": glue.PREFIX}},
    )
    cell = nbformat.v4.new_code_cell(outputs=[output, nbformat.v4.new_output("stream", text="x")])
    assert found.glued(nbformat.v4.new_notebook(cells=[cell])) == {"density": "0.920"}


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("<p>no formula</p>", 1),
        ('<span class="math notranslate">', 2),
    ],
)
def test_formulas_are_set_where_there_are_any(body, kept):
    context = {"body": body, "script_files": ["_static/book.js", "mathjax/es5/tex-svg-full.js"]}
    offline.leave_out_formulas(None, "page", "page.html", context, None)
    assert len(context["script_files"]) == kept


def test_a_figure_of_a_chapter_is_found_by_its_label_with_its_alt_text():
    picture = nbformat.v4.new_output("display_data", {"image/png": "cGl4ZWxz"})
    about = {"figure": {"name": "fig-a"}, "image": {"alt": "A line."}}
    cell = nbformat.v4.new_code_cell(outputs=[picture], metadata={"mystnb": about})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert found.drawn(notebook, "fig-a") == (b"pixels", "A line.")
    assert found.drawn(notebook, "fig-b") is None


def test_the_map_draws_an_arrow_from_what_a_chapter_says_it_needs_and_wraps_its_titles(tmp_path):
    text = "# B?\n\nSee [C](03-c.ipynb).\n\n**What it needs.** [A](01-a.ipynb) of it.\n\nMore."
    title = nbformat.v4.new_markdown_cell(text)
    nbformat.write(nbformat.v4.new_notebook(cells=[title]), tmp_path / "02-b.ipynb")
    needed = chapter_map.needs(tmp_path / "02-b.ipynb")
    assert needed == ["notebooks/01-a"]
    assert chapter_map.needs(tmp_path / "page.ipynb") == []
    pages = ["notebooks/01-a", "notebooks/02-b"]
    parts = [chapter_map.Part("One & two", pages)]
    titles = dict(zip(pages, ("1. A?", "2. B or not B?"), strict=True))
    svg = chapter_map.draw(parts, titles, {pages[1]: needed}, "../{}.html".format, 8)
    assert svg.count("<path") == 1
    assert svg.count("<tspan") == 3
    assert '<a href="../notebooks/02-b.html">' in svg
    assert "One &amp; two" in svg


def test_the_contents_of_the_map_are_the_parts_that_hold_chapters(tmp_path):
    contents = "parts:\n- {caption: I, chapters: [{file: notebooks/01-a}, {file: book/b}]}\n"
    contents += "- {caption: Reference, chapters: [{file: book/api}]}\n"
    (tmp_path / "_toc.yml").write_text(contents)
    assert chapter_map.parts(tmp_path / "_toc.yml") == [("I", ["notebooks/01-a", "book/b"])]


def test_large_data_stand_in_a_script_of_their_own_and_small_ones_stay():
    large, small = f'{{"a":"<\\/b>{"é" * data_files.LEAST}"}}', '{"a":1}'
    kinds = ((' id="one"', large), ("", small), ("", large))
    data = [f'<script type="application/json"{name}>{text}</script>' for name, text in kinds]
    body = "<i></i>" + "".join(data)
    left, files = data_files.moved(body, "notebooks/04-mnist")
    assert list(files) == [f"_static/data/notebooks-04-mnist-{i}.js" for i in (0, 1)]
    assert left.count(small) == 1
    assert "é" not in left
    assert left.startswith('<i></i><script defer src="../_static/data/notebooks-04-mnist-0.js?v=')
    assert ['"id": "one"' in text for text in files.values()] == [True, False]
    assert data_files.moved("<p></p>", "index") == ("<p></p>", {})


def test_marks_of_listings_that_have_the_colour_of_the_text_are_left_out_and_no_others():
    context = {
        "body": '<pre><span class="kn">import</span><span class="w"> </span><span class="n">a'
        '</span><span class="p">(&lt;</span><span class="mi">1</span></pre><b class="n"></b>'
    }
    light_code.lighten(None, "page", "", context, None)
    left = (
        '<pre><span class="kn">import</span> a(&lt;<span class="mi">1</span></pre><b class="n"></b>'
    )
    assert context["body"] == left
    theme = RawConfigParser()
    folder = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
    theme.read(folder / "theme.conf")
    tokens = {short: token for token, short in STANDARD_TYPES.items()}
    for tone in ("light", "dark"):
        style = get_style_by_name(theme["options"][f"pygments_{tone}_style"])
        plain = style.style_for_token(Text)["color"]
        for short in light_code.PLAIN:
            look = style.style_for_token(tokens[short])
            assert look["color"] == plain
            assert not any(look[name] for name in ("bold", "italic", "underline"))

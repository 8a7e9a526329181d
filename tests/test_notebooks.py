"""The notebooks: that they run, that they are clean, and that they keep to the book's shape."""

import ast
import itertools
import os
import re
import statistics
import sys
from pathlib import Path

import address
import build
import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

NOTEBOOKS = build.notebooks()
# words; a number only in the names of exercises, of statements and of data sets
CELL_WORD = r"(?:[a-z]+|exercise-\d{1,2}|t\d-\d{1,2}[a-z]?|cifar10)"
CELL_ID = re.compile(rf"{CELL_WORD}(?:-{CELL_WORD})*")
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def read(notebook):
    return nbformat.read(notebook, as_version=4)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    return [cell for cell in read(notebook).cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in read(notebook).cells if cell.cell_type == "markdown")


def write_notebook(path, *sources, parameters='profile = "ci"\nsteps = 3\nrate = 0.5\nfast = True'):
    """A small notebook: a parameters cell, then one cell per source."""
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)
    return path


def printed(executed):
    outputs = [output for cell in code_cells(executed) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


# --- the book's notebooks run ---


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
@each_notebook
def test_a_notebook_runs_in_the_ci_profile(notebook, outcomes):
    assert outcomes[notebook] is None, str(outcomes[notebook])
    seconds = build.record(build.EXECUTED / notebook.name)["seconds"]
    assert seconds <= 120, "the ci profile is for 60 s on two free cores; twice that is too much"


@pytest.mark.slow
@pytest.mark.timeout(900)
@each_notebook
def test_every_figure_has_its_alt_text(notebook, outcomes):
    assert outcomes[notebook] is None
    for number, cell in enumerate(code_cells(build.EXECUTED / notebook.name), 1):
        images = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(images) <= 1, f"code cell {number}: one figure per cell, each with its own text"
        assert not images or len(alt) >= 20, f"code cell {number}: say what the figure shows"


# --- what build.py promises ---


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"stepps": 4}, "no parameter 'stepps'"),
        ({"fast": "false"}, "fast is a bool"),
        ({"fast": 0}, "fast is a bool"),
        ({"steps": 4.0}, "steps is a int"),
        ({"steps": True}, "steps is a int"),
        ({"rate": "0.5"}, "rate is a float"),
        ({"profile": "quick"}, "profile is one of"),
    ],
)
def test_unknown_and_wrongly_typed_parameters_are_refused(tmp_path, parameters, complaint):
    notebook = write_notebook(tmp_path / "a.ipynb")
    with pytest.raises(build.NotebookError, match=complaint):
        build.execute(notebook, into=tmp_path / "out", **parameters)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def runs(monkeypatch):
    """Replace running by noting the parameters that would have been passed."""
    noted = []

    def run(notebook, parameters, timeout):
        noted.append(parameters)
        return read(notebook)

    monkeypatch.setattr(build, "_run", run)
    return noted


def test_a_notebook_is_run_again_only_when_something_it_depends_on_changed(
    tmp_path, runs, monkeypatch
):
    monkeypatch.setenv("INFCOP_DATA_DIR", str(tmp_path / "data"))
    notebook, out = write_notebook(tmp_path / "a.ipynb"), tmp_path / "out"
    for _ in range(2):
        build.execute(notebook, into=out)
    assert len(runs) == 1
    build.execute(notebook, into=out, steps=4)
    assert runs[1:] == [{"steps": 4}]
    write_notebook(notebook, "print('new')")
    build.execute(notebook, into=out, steps=4)
    assert len(runs) == 3
    images = tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.parent.mkdir(parents=True)
    images.write_text("a data set has arrived")
    build.execute(notebook, into=out, steps=4)
    assert len(runs) == 4


def test_parameters_equal_to_the_default_add_no_cell_to_the_page(tmp_path, runs):
    notebook = write_notebook(tmp_path / "a.ipynb")
    build.execute(notebook, into=tmp_path / "out", profile="ci", rate=0.5, fast=True)
    assert runs == [{}]


@pytest.mark.parametrize("stalls", [1, 2])
@pytest.mark.parametrize(
    "error",
    [
        CellTimeoutError("stalled"),
        DeadKernelError("Kernel died"),
        RuntimeError("Kernel died before replying to kernel_info"),
        RuntimeError("Kernel didn't respond in 120 seconds"),
    ],
    ids=str,
)
def test_a_stalled_kernel_is_tried_once_more(tmp_path, monkeypatch, stalls, error):
    notebook, calls = write_notebook(tmp_path / "a.ipynb", parameters='profile = "ci"'), []

    def execute_notebook(path, *_, **__):
        calls.append(path)
        if len(calls) <= stalls:
            raise error
        executed = read(path)
        executed.cells[0].execution_count = 1
        executed.metadata.papermill = {"input_path": "", "output_path": ""}
        return executed

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    if stalls == 1:
        assert build.execute(notebook, into=tmp_path / "out").exists()
    else:
        with pytest.raises(build.NotebookError, match="stalled, twice"):
            build.execute(notebook, into=tmp_path / "out")
    assert len(calls) == 2


def test_the_kernel_is_the_running_interpreter_whatever_the_machine_has(tmp_path, monkeypatch):
    notebook = write_notebook(tmp_path / "a.ipynb", parameters='profile = "ci"')
    seen = {}

    def execute_notebook(path, *_, kernel_name, cwd, **__):
        seen["kernel"] = Path(cwd, "jupyter", "kernels", kernel_name, "kernel.json").read_text()
        raise CellTimeoutError("enough")

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(build.NotebookError):
        build.execute(notebook, into=tmp_path / "out")
    assert sys.executable in seen["kernel"]


@pytest.mark.slow
def test_a_notebook_gets_its_parameters_and_data_folder_and_no_working_directory(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("INFCOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = (
        "import os\n"
        "print(profile, rate, os.environ['INFCOP_DATA_DIR'], os.getcwd(), os.environ['MPLBACKEND'])"
    )
    notebook = write_notebook(tmp_path / "a.ipynb", source)
    options = {"profile": "laptop", "rate": 2, "into": tmp_path / "out"}
    assert build.execute_all([notebook], **options) == {notebook: None}
    seen = printed(tmp_path / "out" / "a.ipynb")
    assert seen.startswith(f"laptop 2 {tmp_path / 'data'}")
    assert str(build.ROOT / "notebooks") not in seen
    assert "Agg" not in seen, "figures must be drawn inline, whatever the reader's backend"
    record = build.record(tmp_path / "out" / "a.ipynb")
    assert record["seconds"] > 0
    assert record["peak_memory_mb"] > 20
    assert str(tmp_path / "a.ipynb") not in (tmp_path / "out" / "a.ipynb").read_text("utf-8")


@pytest.mark.slow
def test_a_worker_that_fails_ends_no_other_notebook(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "print(rate)")
    gone = tmp_path / "gone.ipynb"
    outcomes = build.execute_all([gone, notebook], into=tmp_path / "out")
    assert isinstance(outcomes[gone], build.NotebookError)
    assert re.match(r"gone\.ipynb did not run: .*No such file", str(outcomes[gone]))
    assert outcomes[notebook] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("deep = {}\ndeep['missing']", r"(?s)a\.ipynb, cell 2 failed.*deep\['missing'\].*KeyError"),
        ("import sys\nsys.exit()", "cell 3 never ran"),
    ],
)
def test_a_failing_notebook_says_where_and_keeps_the_earlier_copy(tmp_path, source, complaint):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.ipynb").write_text('{"nbformat": 4, "metadata": {"infcop_lite": {}}, "cells": []}')
    earlier = (out / "a.ipynb").read_bytes()
    notebook = write_notebook(tmp_path / "a.ipynb", source, "print('after')")
    (error,) = build.execute_all([notebook], into=out).values()
    assert error is not None
    assert re.search(complaint, str(error))
    assert (out / "a.ipynb").read_bytes() == earlier
    assert [path.name for path in out.iterdir()] == ["a.ipynb"]


# --- the shape of a chapter ---


@each_notebook
def test_no_outputs_are_stored(notebook):
    for cell in code_cells(notebook):
        assert not cell.outputs, f"clear the outputs of {notebook.name}"
        assert cell.execution_count is None
    assert "widgets" not in read(notebook).metadata


@each_notebook
def test_one_cell_holds_the_parameters(notebook):
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    assignments = {node.targets[0].id: node.value for node in ast.parse(cell.source).body}
    assert ast.literal_eval(assignments["profile"]) == "ci"


@each_notebook
def test_the_first_cell_gives_the_title_and_the_question_and_opens_in_colab(notebook):
    first, install = read(notebook).cells[:2]
    slug, branch = address.configured()
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    link = (
        f"https://colab.research.google.com/github/{slug}/blob/{branch}/notebooks/{notebook.name}"
    )
    assert first.source.startswith("# ")
    assert "?" in first.source
    assert f"{badge}({link})" in first.source
    assert tags(install) >= {"skip-execution", "remove-cell"}


@each_notebook
def test_headings_start_at_one_and_never_jump(notebook):
    text = re.sub(r"(?ms)^(`{3,}).*?^\1`*$", "", prose(notebook))
    levels = [len(match) for match in re.findall(r"(?m)^(#+) ", text)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def says_what_it_is(cell_id):
    return CELL_ID.fullmatch(cell_id) is not None and len(cell_id) <= 40


@each_notebook
def test_cell_ids_are_words(notebook):
    ids = [cell.id for cell in read(notebook).cells]
    assert [cell_id for cell_id in ids if not says_what_it_is(cell_id)] == []
    assert len(set(ids)) == len(ids)


def test_an_id_that_counts_or_is_drawn_by_lot_is_no_word():
    good = ["title", "hand-mask", "exercise-2", "exercise-2-solution", "theorem-t2-5a", "the-t3-1"]
    bad = ["abc-012", "why-prune-9", "da7b83b8", "hand-1b", "Title", "a_b", "-a", "a--b", "a-" * 20]
    assert [*map(says_what_it_is, good)] == [True] * len(good)
    assert [*map(says_what_it_is, [*bad, "a" * 41])] == [False] * (len(bad) + 1)


@each_notebook
def test_cells_are_short(notebook):
    shown = [cell for cell in code_cells(notebook) if "remove-cell" not in tags(cell)]
    lengths = [cell.source.count("\n") + 1 for cell in shown]
    assert statistics.median(lengths) <= 6.5
    assert max(lengths) <= 25


@each_notebook
def test_the_chapter_says_what_data_it_uses(notebook):
    assert re.search("MNIST|digits|CIFAR", prose(notebook))


def test_no_page_promises_other_data_than_the_chapters_use():
    """Where MNIST is not on disk, what ships with the package is taken."""
    sources = [cell.source for path in NOTEBOOKS for cell in code_cells(path)]
    instead = {name for s in sources for name in re.findall(r'available\(.+?\) else "([\w-]+)"', s)}
    assert instead == {"mnist-small"}
    for page in ("README.md", "CONTRIBUTING.md", "book/intro.md", "book/teaching.md"):
        text = (build.ROOT / page).read_text("utf-8")
        assert not re.search(r"digits\W+otherwise", text), page


@each_notebook
def test_images_in_the_prose_have_alt_text(notebook):
    images = re.findall(r"!\[([^\]]*)\]\(", prose(notebook))
    assert all(alt.strip() for alt in images)


def test_no_function_is_defined_in_two_notebooks():
    homes: dict[str, str] = {}
    for notebook in NOTEBOOKS:
        for cell in code_cells(notebook):
            for name in re.findall(r"(?m)^(?:def|class) (\w+)", cell.source):
                home = homes.setdefault(name, notebook.name)
                assert home == notebook.name, f"{name} is defined in {home} and {notebook.name}"

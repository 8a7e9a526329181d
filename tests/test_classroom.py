"""The classroom in one zip: unpacked elsewhere, without a network, a chapter runs to its end."""

import shutil
import subprocess
import sys
import zipfile

import address
import alone
import build
import classroom
import nbformat
import pytest
from test_colab import everything_but_us

SMALLEST = "11-one-solvable-model.ipynb"


@pytest.fixture
def root(tmp_path):
    """A clone in which everything is built, in small; the wheel is none."""
    root = tmp_path / "clone"
    for name in ("dist", "notebooks", "experiments/results/mlp", "book/_build/html/book"):
        (root / name).mkdir(parents=True)
    for name in ("slides", "quiz"):
        (root / "book" / "_build" / name).mkdir()
        (root / "book" / "_build" / name / "one.html").touch()
    (root / "dist" / "infcop_lite-0-py3-none-any.whl").touch()
    (root / "experiments" / "error_rate.csv").touch()
    (root / "experiments" / "one_layer.csv").touch()
    (root / "experiments" / "results" / "mlp" / "runs.csv").touch()
    (root / "book" / "_build" / "html" / "book" / "intro.html").touch()
    shutil.copy(build.ROOT / "notebooks" / SMALLEST, root / "notebooks")
    return root


def test_the_zip_holds_wheel_notebooks_tables_book_and_decks(root, tmp_path):
    assert classroom.write(tmp_path / "a.zip", root) == 8
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = {name.removeprefix(f"{classroom.TOP}/") for name in archive.namelist()}
        readme = archive.read(f"{classroom.TOP}/README.txt").decode()
    assert names == {
        "README.txt",
        f"notebooks/{SMALLEST}",
        "notebooks/infcop_lite-0-py3-none-any.whl",
        "notebooks/clone/experiments/error_rate.csv",
        "notebooks/clone/experiments/one_layer.csv",
        "notebooks/clone/experiments/results/mlp/runs.csv",
        "book/book/intro.html",
        "slides/one.html",
        "quiz/one.html",
    }
    assert "pip install notebook notebooks/infcop_lite-0-py3-none-any.whl" in readme


@pytest.mark.parametrize(
    ("missing", "target"), [("dist", "dist"), ("book/_build/slides", "slides")]
)
def test_what_has_to_be_built_first_is_named(root, missing, target):
    shutil.rmtree(root / missing)
    with pytest.raises(classroom.ClassroomError, match=f"run `make {target}`"):
        list(classroom.contents(root))


def offline(folder):
    """A stranger's machine: torch and its like, not the library; no address can be reached."""
    (folder / "below").mkdir()
    python = alone.overlay(everything_but_us(folder / "below"), folder / "venv")
    env = alone.variables(folder, folder / "nowhere", address.configured()[0], offline=True)
    return python, env


WHOLE = pytest.param("", marks=pytest.mark.soak)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("until", ["data.load(", WHOLE])
def test_unpacked_without_a_network_a_chapter_installs_the_wheel_and_runs(root, tmp_path, until):
    """As far as its imports and its data, for every commit; what comes then, the book runs too."""
    shutil.rmtree(root / "dist")
    source = alone.repository(tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    wheel = [*pip, "--no-build-isolation", "--wheel-dir", root / "dist", source]
    subprocess.run(wheel, check=True, capture_output=True)
    classroom.write(tmp_path / "a.zip", root)
    room = tmp_path / "room"
    room.mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(room)
    (room / classroom.TOP / "notebooks").rename(room / "content")
    python, env = offline(room)
    notebook = nbformat.read(room / "content" / SMALLEST, as_version=4)
    last = max(n for n, cell in enumerate(notebook.cells) if until in cell.source)
    notebook.cells = notebook.cells[: last + 1]
    alone.run(notebook, python, room, env)
    assert alone.installed(python, env)["infcop-lite"]


@pytest.mark.slow
def test_where_nothing_can_be_reached_the_install_cell_ends_with_a_sentence_that_helps(tmp_path):
    (tmp_path / "content").mkdir()
    python, env = offline(tmp_path)
    notebook = nbformat.read(build.ROOT / "notebooks" / SMALLEST, as_version=4)
    with pytest.raises(alone.NotAlone, match="put its wheel, infcop_lite-"):
        alone.run(notebook, python, tmp_path, env)

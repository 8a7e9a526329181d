"""A chapter is executed again when something it depends on has changed, and not otherwise."""

import shutil

import build
import keys
import pytest

CHAPTERS = {path.stem[3:]: path for path in build.notebooks()}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """What chapters depend on, in a copy that a test may change."""
    monkeypatch.setenv("INFCOP_DATA_DIR", str(tmp_path / "data"))
    ignore = shutil.ignore_patterns("__pycache__", "_build", "masks.zip")
    for name in ("infcop_lite", "experiments/results", "notebooks", "tools"):
        shutil.copytree(build.ROOT / name, tmp_path / name, ignore=ignore)
    return tmp_path


def keys_of(clone):
    chapters = {number: clone / "notebooks" / path.name for number, path in CHAPTERS.items()}
    return {number: keys.key(path, {"profile": "ci"}, clone) for number, path in chapters.items()}


def changed(clone, edit):
    before = keys_of(clone)
    edit()
    after = keys_of(clone)
    return {number for number in CHAPTERS if before[number] != after[number]}


def append(path, text):
    path.write_text(path.read_text("utf-8") + text, "utf-8")


def test_a_change_of_a_module_concerns_the_chapters_that_import_it(clone):
    costs = clone / "infcop_lite" / "explorer" / "costs.py"
    assert changed(clone, lambda: append(costs, "\nNEW = 1\n")) == {"when-to-stop"}


def test_a_comment_concerns_no_chapter(clone):
    for module in ("explorer/costs", "masks", "__init__"):
        path = clone / "infcop_lite" / f"{module}.py"
        assert changed(clone, lambda path=path: append(path, "\n# why\n")) == set()


def test_what_a_module_imports_counts_as_the_module(clone):
    masks = clone / "infcop_lite" / "masks.py"
    assert changed(clone, lambda: append(masks, "\nNEW = 1\n")) == set(CHAPTERS)
    knobs = clone / "infcop_lite" / "explorer" / "knobs.py"
    concerned = changed(clone, lambda: append(knobs, "\nNEW = 1\n"))
    assert {"when-to-stop", "mnist"} <= concerned
    assert "iterative-magnitude-pruning" not in concerned


def test_a_table_concerns_the_chapters_that_read_it(clone):
    tables = clone / "experiments" / "results"
    grid = next((tables / "mlp-grid").glob("fixed-*.csv"))
    others = {
        "when-to-stop",
        "mnist",
        "cifar10",
        "fair-comparisons",
        "neighbours",
        "prune-your-own-model",
    }
    assert changed(clone, lambda: append(grid, "0\n")) == {"gradient-flow", *others}
    assert changed(clone, lambda: append(tables / "lenet5" / "runs.csv", "0\n")) == others
    assert changed(clone, lambda: append(tables / "provenance.jsonl", "{}\n")) == others


def test_a_table_beside_the_results_concerns_the_chapter_that_names_it():
    rates = build.ROOT / "experiments" / "error_rate.csv"
    assert keys.tables(keys.code_of(CHAPTERS["information-flow"])) == [rates]
    assert rates not in keys.tables(keys.code_of(CHAPTERS["gradient-flow"]))


def test_its_own_text_a_pin_and_the_data_concern_a_chapter(clone, monkeypatch):
    path = clone / "notebooks" / CHAPTERS["stopping-criterion"].name
    assert changed(clone, lambda: path.write_text(path.read_text("utf-8") + "\n")) == {
        "stopping-criterion"
    }
    data = clone / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    data.parent.mkdir(parents=True)
    assert changed(clone, lambda: data.write_text("new")) == set(CHAPTERS)
    assert changed(clone, lambda: data.with_name("notes.txt").write_text("mine")) == set()
    fewer = keys._pins()[1:]

    def one_less():
        monkeypatch.setattr(keys, "_pins", lambda: fewer)

    assert changed(clone, one_less) == set(CHAPTERS)


def test_a_folder_of_data_that_is_named_by_nothing_is_not_the_working_one(clone, monkeypatch):
    monkeypatch.setenv("HOME", str(clone))
    monkeypatch.setenv("INFCOP_DATA_DIR", "")
    monkeypatch.chdir(clone)
    file = clone / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.parent.mkdir(parents=True)
    file.write_text("of somebody who runs make here")
    assert list(keys._data()) == []


def test_the_number_of_threads_concerns_a_chapter(clone, monkeypatch):
    chapter, before = clone / "notebooks" / CHAPTERS["iterative-magnitude-pruning"].name, []
    for threads in ("1", "7"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        before.append(keys.key(chapter, {"profile": "ci"}, clone))
    assert before[0] != before[1]


def imported(source):
    found = keys.modules(keys.ast.parse(source))
    return {str(path.relative_to(keys.ROOT / "infcop_lite")) for path in found}


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("from infcop_lite import labels", "labels.py"),
        ("from infcop_lite.labels import KINDS", "labels.py"),
        ("import infcop_lite.labels as words", "labels.py"),
        ("from infcop_lite import evidence", "labels.py"),
        ("from infcop_lite import prune", "pruning.py"),
        ("import infcop_lite\ninfcop_lite.prune(1).masks", "pruning.py"),
        ("def later():\n    from infcop_lite import read_runs", "collecting.py"),
        ("from infcop_lite.theory import schedules", "theory/schedules.py"),
        ("from infcop_lite.explorer.costs import RATES", "explorer/knobs.py"),
    ],
)
def test_an_import_is_followed_to_the_file_it_comes_from(source, file):
    assert file in imported(source)


def test_the_front_door_alone_is_no_reason_to_run_a_chapter_again():
    assert "pruning.py" not in imported("from infcop_lite import labels")
    assert imported("import numpy") == set()


def test_a_name_that_no_import_explains_may_come_from_anywhere():
    assert {"pruning.py", "labels.py", "__init__.py"} <= imported(
        "import infcop_lite\ninfcop_lite.x"
    )


def test_no_module_of_the_library_reads_a_table_behind_a_chapters_back():
    for path in (build.ROOT / "infcop_lite").rglob("*.py"):
        assert keys.tables(keys.ast.parse(path.read_text("utf-8"))) == []

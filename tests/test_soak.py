"""The book from nothing: what differs from the copy that is there is named by its cell."""

import build
import nbformat
import pytest
import soak
from nbformat.v4 import new_code_cell, new_notebook, new_output


def executed(folder, *texts, count=1):
    """An executed copy with one cell for each text."""
    cells = [
        new_code_cell(
            "print(x)",
            id=f"cell-{'abc'[n]}",
            execution_count=count,
            outputs=[new_output("stream", name="stdout", text=text)],
        )
        for n, text in enumerate(texts)
    ]
    folder.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), folder / "a.ipynb")
    return folder / "a.ipynb"


def test_another_output_is_named_by_its_cell(tmp_path):
    one = executed(tmp_path / "one", "1\n", "2\n")
    assert soak.differences(one, executed(tmp_path / "two", "1\n", "2\n", count=7)) == []
    assert soak.differences(one, executed(tmp_path / "two", "1\n", "3\n")) == ["cell-b"]
    assert soak.differences(one, executed(tmp_path / "two", "1\n")) == ["number of cells"]


@pytest.mark.parametrize(("text", "complaint"), [("1\n", None), ("2\n", "a.ipynb, cell cell-a")])
def test_the_book_is_compared_with_what_lies_there(tmp_path, monkeypatch, text, complaint):
    there = executed(tmp_path / "there", "1\n")

    def execute_all(notebooks, into):
        if into != there.parent:
            executed(into, text)
        return dict.fromkeys(notebooks)

    monkeypatch.setattr(build, "execute_all", execute_all)
    if complaint is None:
        assert soak.book([there], there.parent) == "1 chapters, every output the same"
    else:
        with pytest.raises(RuntimeError, match=complaint):
            soak.book([there], there.parent)


def test_a_chapter_that_fails_fails_the_soak(tmp_path, monkeypatch):
    error = build.NotebookError("a.ipynb, cell 2 failed")
    monkeypatch.setattr(build, "execute_all", lambda chosen, into: dict.fromkeys(chosen, error))
    with pytest.raises(RuntimeError, match="cell 2 failed"):
        soak.book([tmp_path / "a.ipynb"], tmp_path)


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_only_a_soak_that_passed_whole_is_written_down(tmp_path, monkeypatch, fails, code):
    def part():
        if fails:
            raise RuntimeError("no")
        return "all | well"

    monkeypatch.setattr(soak, "SAID", tmp_path / "soak.md")
    monkeypatch.setattr(soak, "PARTS", {"kills": part, "book": lambda: "same"})
    monkeypatch.setattr("sys.argv", ["soak.py", "book"])
    assert soak.main() == 0
    assert not soak.SAID.exists()
    monkeypatch.setattr("sys.argv", ["soak.py"])
    assert soak.main() == code
    assert soak.SAID.exists() is not fails

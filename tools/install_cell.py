"""The second cell of every notebook: what it installs where it runs alone, as in Colab."""

import re

import nbformat

#: Extras of the library that are named after what a notebook imports for them.
EXTRAS = ("lightning", "transformers")
INSTALL = """\
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

if find_spec("infcop_lite") is None:
    git = "git+https://github.com/{slug}"
    beside = [f"./{wheel}{extras}" for wheel in Path().glob("infcop_lite-*.whl")]
    source = max(beside, default=f"infcop-lite{extras} @ {git}")
    %pip install -q "{source}"
    invalidate_caches()
assert find_spec("infcop_lite"), (
    "infcop_lite could not be installed: put its wheel, infcop_lite-….whl, beside this "
    "notebook (in Colab: under Files), and run this cell again."
)
"""
FETCH_RESULTS = """
from infcop_lite import evidence

if not evidence.results_folder().exists():
    ![ -d clone ] || git clone -q --depth 1 https://github.com/{slug} clone
    %env INFCOP_RESULTS_DIR=clone/experiments/results
"""


def reads_results(notebook: nbformat.NotebookNode) -> bool:
    """Whether a notebook reads `experiments/results`, which the library does not bring."""
    source = "\n".join(cell.source for cell in notebook.cells[2:] if cell.cell_type == "code")
    return bool(re.search(r"\bevidence\.(read|tables|results_folder)\b", source))


def extras(notebook: nbformat.NotebookNode) -> str:
    """Extras of the library that a notebook imports, in brackets as pip takes them; or nothing."""
    source = "\n".join(cell.source for cell in notebook.cells[2:] if cell.cell_type == "code")
    found = [name for name in EXTRAS if re.search(rf"(?m)^\s*(import|from) {name}\b", source)]
    return f"[{','.join(found)}]" if found else ""


def install_cell(notebook: nbformat.NotebookNode, slug: str) -> str:
    """What the second cell has to be: with the extras, and the results, that a notebook needs."""
    text = INSTALL + (FETCH_RESULTS if reads_results(notebook) else "")
    return text.replace("{slug}", slug).replace("{extras}", extras(notebook)).rstrip("\n")

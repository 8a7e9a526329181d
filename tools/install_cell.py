"""The second cell of every notebook: what it installs where it runs alone, as in Colab."""

import re

import nbformat

INSTALL = """\
from importlib.util import find_spec

if find_spec("infcop_lite") is None:
    %pip install -q "infcop-lite @ git+https://github.com/{slug}"
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


def install_cell(notebook: nbformat.NotebookNode, slug: str) -> str:
    """What the second cell of a notebook has to be; one that reads results fetches them too."""
    text = INSTALL + (FETCH_RESULTS if reads_results(notebook) else "")
    return text.format(slug=slug).rstrip("\n")

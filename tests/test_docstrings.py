"""Docstrings of the library are read aloud: no sentence of a public one has more than 30 words."""

import ast
import re
from pathlib import Path

import build
import pytest

MOST = 30
MODULES = sorted((build.ROOT / "infcop_lite").glob("*.py"))
FIELD = r"(?:\*{0,2}\w+(?:, \*{0,2}\w+)*|Args|Returns|Raises|Yields|Note|Source):"


def public(source):
    """Yield (name, docstring) of a module and of all in it that has a public name."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "name", "")
        if isinstance(node, kinds) and not name.startswith("_") and ast.get_docstring(node):
            yield name, ast.get_docstring(node)


def long_sentences(docstring):
    """Return the sentences with too many words; examples are none, and code is one word."""
    prose = re.sub(r"(?ms)^\s*>>>.*?(?:\n\s*\n|\Z)", "\n\n", docstring)
    prose = re.sub(r"``[^`]*``|`[^`]*`", "code", prose)
    parts = re.split(rf"\n\s*\n|\n(?=\s*{FIELD})", prose)
    said = [" ".join(s.split()) for part in parts for s in re.split(r"(?<=[.!?])\)?\s+", part)]
    return [s for s in said if sum(bool(re.search(r"\w", word)) for word in s.split()) > MOST]


def test_a_long_sentence_is_found_and_a_list_of_short_ones_is_not():
    words = " ".join(["word"] * 20)
    assert long_sentences(f"First.\n\nOne {words}\n    and {words}.") == [
        f"One {words} and {words}."
    ]
    assert not long_sentences(f"{words}. {words}.\n\nArgs:\n    a: {words}\n    b, c: {words}")
    assert not long_sentences(f"{words}\n\n>>> {words} {words}\n{words}")
    assert not long_sentences(f"``{words}`` {words} `{words}`")


def test_all_that_is_public_is_read_and_nothing_private():
    source = '"""M."""\nclass A:\n    """A."""\n    def f(self):\n        """F."""\n'
    source += "    def _g(self):\n        '''G.'''\n"
    assert dict(public(source)) == {"": "M.", "A": "A.", "f": "F."}


@pytest.mark.parametrize("path", MODULES, ids=[path.stem for path in MODULES])
def test_no_sentence_of_a_docstring_is_long(path: Path):
    found = dict(public(path.read_text("utf-8")))
    assert path.stem == "__init__" or found
    assert {name: long for name, text in found.items() if (long := long_sentences(text))} == {}

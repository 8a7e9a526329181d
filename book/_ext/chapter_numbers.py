"""Chapters, and what is numbered within them, carry the number that begins the chapter's file name.

`make renumber` names the files as _toc.yml orders them; so a number in a sentence, in the sidebar,
in a title and in an address is the same one.
"""

import re
from collections import Counter
from pathlib import PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx_proof.proof_type import PROOF_TYPES

FigureNumbers = dict[str, dict[str, dict[str, tuple[int, ...]]]]  # page -> kind -> id -> number


def chapter(docname: str) -> int | None:
    """The number of a chapter; other pages have none.

    >>> chapter("notebooks/08-x"), chapter("book/glossary")
    (8, None)
    """
    found = re.match(r"(\d+)-", PurePosixPath(docname).name)
    return int(found[1]) if found else None


def by_chapter(numbers: FigureNumbers) -> FigureNumbers:
    """Number what stands in a chapter from one, behind the chapter's number; the rest apart.

    >>> before = {"book/intro": {"figure": {"a": (1,)}}, "notebooks/08-x": {"figure": {"b": (2,)}}}
    >>> by_chapter(before)
    {'book/intro': {'figure': {'a': (1,)}}, 'notebooks/08-x': {'figure': {'b': (8, 1)}}}
    """
    used: Counter[tuple[int | None, str]] = Counter()
    found: FigureNumbers = {}
    for page, kinds in numbers.items():
        number = chapter(page)
        for kind, ids in kinds.items():
            for name in sorted(ids, key=ids.__getitem__):
                used[number, kind] += 1
                prefix = () if number is None else (number,)
                own = found.setdefault(page, {}).setdefault(kind, {})
                own[name] = (*prefix, used[number, kind])
    return found


def number_title(app: Sphinx, doctree: nodes.document) -> None:
    """Put a chapter's number before its title, in all that is made from it later."""
    number = chapter(app.env.docname)
    title = next(doctree.findall(nodes.title), None)
    if number is not None and title is not None:
        title.insert(0, nodes.Text(f"{number}. "))


def number_contents(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """After Sphinx has counted through the book."""
    env.toc_fignumbers = by_chapter(env.toc_fignumbers)
    return []


def count_together(app: Sphinx, config: Config) -> None:
    """Theorems, lemmas and definitions share one count, so that a number says where to look."""
    config.prf_realtyp_to_countertyp = dict.fromkeys(PROOF_TYPES, "theorem")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx: titles before they are collected, numbers after they are counted."""
    app.connect("config-inited", count_together)
    app.connect("doctree-read", number_title, priority=50)
    app.connect("env-get-updated", number_contents, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

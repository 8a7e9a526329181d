"""How often each page says each word: Sphinx's index knows only whether, and search ranks by it."""

import json
import re
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

LEAST = 3  # what a page says less often is in Sphinx's index all the same
Counts = dict[str, dict[str, int]]


def count(doctree: nodes.document) -> Counter[str]:
    """Count the words of a page, code and outputs of text among them, raw HTML and scripts not."""
    texts = (str(t) for t in doctree.findall(nodes.Text) if not isinstance(t.parent, nodes.raw))
    return Counter(re.findall(r"[^\W_]{2,}", " ".join(texts).lower()))


def table(pages: dict[str, Counter[str]]) -> Counts:
    """Turn counts by page into counts by word, without the rare ones.

    >>> table({"a": Counter(mask=3, epoch=1), "b": Counter(mask=7)})
    {'mask': {'a': 3, 'b': 7}}
    """
    found: Counts = {}
    for page, counts in pages.items():
        for word, times in sorted(counts.items()):
            if times >= LEAST:
                found.setdefault(word, {})[page] = times
    return found


def note(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Count one page."""
    lang = getattr(getattr(app.builder, "indexer", None), "lang", None)
    if lang is None:  # no search in this format
        return
    stems: Counter[str] = Counter()
    for word, times in count(doctree).items():
        stems[lang.stem(word)] += times
    app.env.book_words[docname] = stems  # type: ignore[attr-defined]


def begin(app: Sphinx) -> None:
    """Before pages are written."""
    app.env.book_words = {}  # type: ignore[attr-defined]


def write(app: Sphinx, failure: Exception | None) -> None:
    """Write a script, which a page from a folder can load, and a page of data it cannot."""
    pages = app.env.book_words  # type: ignore[attr-defined]
    if failure is None and pages:
        text = json.dumps(table(pages), ensure_ascii=False, separators=(",", ":"))
        Path(app.outdir, "_static", "words.js").write_text(f"BookSearch.words = {text};\n", "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", begin)
    app.connect("doctree-resolved", note)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}

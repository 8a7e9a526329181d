"""Boxes (proofs, exercises, solutions): a folded proof gets a title, and every box its own id."""

from collections import Counter

from docutils import nodes
from sphinx.application import Sphinx
from sphinx_proof.nodes import proof_node

SHARED_IDS = ("proof", "proof-content", "exercise-content", "solution-content")


def give_titles(app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx-proof gives proofs no title to unfold them by, and the fold script then stops."""
    for proof in doctree.findall(proof_node):
        (box,) = proof.children
        if "dropdown" in box["classes"]:
            text = next(box.findall(nodes.Text))
            text.parent.replace(text, nodes.Text(text.removeprefix("Proof. ")))
            box.insert(0, nodes.title("", "Proof"))


def number_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Sphinx-proof and sphinx-exercise give all boxes of a kind the same id, and their contents."""
    used: Counter[str] = Counter()
    for node in doctree.findall(nodes.Element):
        for name in set(node.get("ids", ())) & set(SHARED_IDS):
            used[name] += 1
            node["ids"] = [f"{name}-{used[name]}" if i == name else i for i in node["ids"]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", give_titles)
    app.connect("doctree-resolved", number_ids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

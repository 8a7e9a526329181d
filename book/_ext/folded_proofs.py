"""Proofs fold: a proof of class dropdown gets the title that its button hangs on, and an id."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx_proof.nodes import proof_node


def give_titles(app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx-proof gives all proofs one id and none a title; the fold script then stops."""
    for number, proof in enumerate(doctree.findall(proof_node), 1):
        (box,) = proof.children
        box["ids"] = [f"proof-{number}"]
        if "dropdown" in box["classes"]:
            text = next(box.findall(nodes.Text))
            text.parent.replace(text, nodes.Text(text.removeprefix("Proof. ")))
            box.insert(0, nodes.title("", "Proof"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", give_titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

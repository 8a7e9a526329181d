"""Where a statement is mentioned by its number, its name stands beside it.

`Lemma 16.2` becomes `Lemma 16.2 “Only the mask survives”`, from the title of the block, the first
time a section mentions it. After that, and in proofs, which are folded, the name is a tooltip.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx_proof.nodes import proof_node

NUMBERED = re.compile(r"[A-Z]\w+ \d+(\.\d+)*")


def name(title: str) -> str:
    """The name in a title, without the status that follows it.

    >>> name(" (The ± pair (derived here))"), name(" (Lipschitz (in f) losses (known))")
    ('The ± pair', 'Lipschitz (in f) losses')
    """
    inner = re.sub(r"^\((.*)\)$", r"\1", title.strip())
    return re.sub(r" \([^()]*\)$", "", inner)


def note_names(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the name of each statement of a page beside its number."""
    stated = getattr(app.env, "proof_list", {})
    for node in doctree.findall(nodes.Element):
        if "realtype" in node and node["label"] in stated:
            stated[node["label"]]["name"] = name(node[0].astext())


def enclosing(node: nodes.Node, kind: type[nodes.Node]) -> nodes.Node | None:
    """The nearest node of a kind that a node lies in, if any."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kind):
            return node
    return None


def show_names(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """After references have been given their numbers."""
    stated = getattr(app.env, "proof_list", {})
    named: set[tuple[str, nodes.Node | None]] = set()
    for node in doctree.findall(nodes.reference):
        label = node.get("refid") or node.get("refuri", "").rpartition("#")[2]
        found = stated.get(label, {}).get("name")
        if not found or not NUMBERED.fullmatch(node.astext()):
            continue
        node["reftitle"] = found
        once = label, enclosing(node, nodes.section)
        if once not in named and enclosing(node, proof_node) is None:
            named.add(once)
            node += nodes.Text(f" “{found}”")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", note_names)
    app.connect("doctree-resolved", show_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

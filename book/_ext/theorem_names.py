"""Where a statement is mentioned by its number, its name stands beside it.

`Lemma 16.2` becomes `Lemma 16.2 “Only the mask survives”`, from the title of the block, the first
time another section mentions it. After that, and in proofs, which are folded, it is a tooltip.
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


def statements(doctree: nodes.document) -> list[nodes.Element]:
    """The numbered blocks of a page."""
    return [node for node in doctree.findall(nodes.Element) if "realtype" in node]


def note_names(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the name of each statement of a page beside its number."""
    stated = getattr(app.env, "proof_list", {})
    for node in statements(doctree):
        stated[node["label"]]["name"] = name(node[0].astext())


def around(node: nodes.Node) -> list[nodes.Node]:
    """What a node lies in, the nearest first."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def section(node: nodes.Node) -> nodes.Node | None:
    """The section of the page that a node lies in; what a block holds is not one, though a node."""
    parts = [part for part in around(node) if isinstance(part, nodes.section)]
    return next((p for p in parts if not any(c.endswith("-content") for c in p["classes"])), None)


def show_names(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """After references have been given their numbers; not where the block itself stands."""
    stated = getattr(app.env, "proof_list", {})
    named = {(node["label"], section(node)) for node in statements(doctree)}
    for node in doctree.findall(nodes.reference):
        label = node.get("refid") or node.get("refuri", "").rpartition("#")[2]
        found = stated.get(label, {}).get("name")
        if not found or not NUMBERED.fullmatch(node.astext()):
            continue
        node["reftitle"] = found
        once = label, section(node)
        if once not in named and not any(isinstance(part, proof_node) for part in around(node)):
            named.add(once)
            node += nodes.Text(f" “{found}”")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", note_names)
    app.connect("doctree-resolved", show_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

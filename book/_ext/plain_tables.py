"""Tables of pandas in words: names of columns, no NaN, no row numbers that say nothing.

Folding and sorting are the page's own, in tables.js; without scripts the whole table stands.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

TABLE = re.compile(r'<table border="1" class="dataframe">.*?</table>', re.DOTALL)
NAMES = {
    "beats": "beats it",
    "count": "number",
    "gradient_warmup": "gradient, warm-up",
    "half_width": "± (95 %)",
    "information_trained": "information, trained",
    "information_warmup": "information, warm-up",
    "loss": "drop",
    "looking_half_width": "looking, ± (95 %)",
    "non_inferior": "non-inferior",
    "num_bytes": "bytes",
    "num_flops": "FLOPs",
    "num_macs": "MACs",
    "num_parameters": "parameters",
    "num_prunable": "prunable",
    "plus_minus": "± (95 %)",
    "reached_retraining": "reached, retraining alone",
    "saving_retraining": "saving, retraining alone",
    "timetable_half_width": "timetable, ± (95 %)",
    "train_loss": "training loss",
    "trained_loss": "trained loss",
    "warmup": "warm-up",
    "warmup_epochs": "warm-up epochs",
    "worst_loss": "worst drop",
}
NETWORKS = {
    "convnet": "ConvNet",
    "lenet5": "LeNet-5",
    "mlp": "MLP",
    "resnet18": "ResNet-18",
    "resnet20": "ResNet-20",
    "vgg16": "VGG-16",
}
WORDS = NETWORKS | {"NaN": "–", "True": "yes", "False": "no"}
CELL = re.compile(r"(<t[dh][^>]*>)([^<]*)(</t[dh]>)")


def name(text: str) -> str:
    """What a reader calls a column: from the list, else its words without underscores.

    >>> name("plus_minus"), name("test_accuracy"), name("ε")
    ('± (95 %)', 'test accuracy', 'ε')
    """
    plain = re.fullmatch(r"[a-z][a-z0-9_]*", text) is not None
    return (NAMES | NETWORKS).get(text, text.replace("_", " ") if plain else text)


def in_words(table: str) -> str:
    """Rewrite one table.

    >>> in_words("<thead><tr><th>worst_loss</th></tr></thead><td>NaN</td>")
    '<thead><tr><th>worst drop</th></tr></thead><td>–</td>'
    """
    head, cut, body = table.partition("</thead>")
    head = on_one_line(CELL.sub(lambda cell: cell[1] + name(cell[2]) + cell[3], head))
    body = CELL.sub(lambda cell: cell[1] + WORDS.get(cell[2], cell[2]) + cell[3], body)
    return without_numbers(head + cut + body)


def on_one_line(head: str) -> str:
    """Join the two rows of a head, of which pandas gives one to the columns and one to the index.

    >>> on_one_line("<tr><th></th><th>drop</th></tr><tr><th>rule</th><th></th></tr>")
    '<tr><th>rule</th><th>drop</th></tr>'
    """
    rows = re.findall(r"<tr[^>]*>.*?</tr>", head, re.DOTALL)
    cells = [re.findall(r"<th[^>]*>([^<]*)</th>", row) for row in rows]
    if len(rows) != 2 or "colspan" in head or len(cells[0]) != len(cells[1]):
        return head
    if any(bool(a) == bool(b) for a, b in zip(*cells, strict=True)):
        return head
    names = iter([a or b for a, b in zip(*cells, strict=True)])
    joined = re.sub(r"(<th[^>]*>)[^<]*(</th>)", lambda th: th[1] + next(names) + th[2], rows[0])
    start, end = head.index(rows[0]), head.rindex(rows[1]) + len(rows[1])
    return head[:start] + joined + head[end:]


def without_numbers(table: str) -> str:
    """Drop the first column where it has no name and counts rows, in whatever order."""
    head, cut, body = table.partition("</thead>")
    first = [re.search(r"<t[dh][^>]*>([^<]*)</t[dh]>", row) for row in body.split("<tr>")[1:]]
    index = [cell[1] if cell and cell[0].startswith("<th") else "x" for cell in first]
    one_row = head.count("<tr") == 1
    nameless = re.search(r"<tr[^>]*>\s*<th></th>", head)
    if not (one_row and nameless and index and all(map(str.isdecimal, index))):
        return table
    head = re.sub(r"(<tr[^>]*>\s*)<th></th>\s*", r"\1", head, count=1)
    body = re.sub(r"(<tr>\s*)<th>[^<]*</th>\s*", r"\1", body)
    return head + cut + body


def rewrite(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Rewrite the tables of a page."""
    context["body"] = TABLE.sub(lambda found: in_words(found[0]), context.get("body", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

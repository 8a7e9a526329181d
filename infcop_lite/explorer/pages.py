"""Explorers in a page without a kernel, with all pictures as data for the page's script."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..explorer.choices import Chooser, settled

WITHOUT_SCRIPTS = "Its knobs need JavaScript. The table below has every setting."


def describe(draw: Callable[..., str], knobs: Sequence[Chooser]) -> dict[str, Any]:
    """Return everything that an explorer can show, as plain data.

    Args:
        draw: called with a value of each knob; returns HTML.
        knobs: from the outermost, as for `explore`.

    Returns:
        ``knobs``, each with its label, options, start and buttons; ``pictures``, as HTML; and
        ``tree``: a list of the number of a knob and a branch for each of its options. A branch is
        such a list, or after the last knob the number of a picture.

    >>> from infcop_lite.explorer.choices import Knob
    >>> found = describe(lambda a: f"<p>{a}</p>", [Knob("a", {"one": 1, "two": 2})])
    >>> found["tree"], found["pictures"]
    ([0, 0, 1], ['<p>1</p>', '<p>2</p>'])
    """
    controls, pictures = dict[str, int](), dict[str, int]()

    def grow(values: tuple[Any, ...]) -> Any:
        if len(values) == len(knobs):
            return pictures.setdefault(draw(*values), len(pictures))
        knob = settled(knobs[len(values)], values)
        control: dict[str, Any] = {"label": knob.label, "options": list(knob.options)}
        control |= {"start": knob.start, "buttons": knob.buttons}
        number = controls.setdefault(json.dumps(control), len(controls))
        return [number, *(grow((*values, value)) for value in knob.options.values())]

    tree = grow(())
    return {"knobs": [*map(json.loads, controls)], "tree": tree, "pictures": list(pictures)}


def first_picture(told: dict[str, Any]) -> str:
    """Return the picture of an explorer before anything is turned, of what `describe` returns."""
    branch = told["tree"]
    while isinstance(branch, list):
        branch = branch[1 + told["knobs"][branch[0]]["start"]]
    return str(told["pictures"][branch])


def as_page(name: str, told: dict[str, Any]) -> str:
    """Return an explorer as HTML that holds the first picture, and the others as data.

    Args:
        name: of the explorer, one word; unlike the others' on a page.
        told: as `describe` returns it.
    """
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div class="drawn recorded" id="{name}"><div class="shown">{first_picture(told)}</div>'
        f"<noscript><p>{WITHOUT_SCRIPTS}</p></noscript>"
        f'<script type="application/json">{data}</script></div>'
    )

"""Numbers that a cell computes, and that a sentence anywhere on the page shows."""

import re
from typing import Any

#: What MyST-NB looks for; outputs so named are no part of what a cell shows.
PREFIX = "application/papermill.record/"


def glue(**facts: Any) -> None:
    """Give the prose of a notebook's page its numbers, each by a name.

    Source: as `myst_nb.glue`, which a hosted notebook service does not bring. On the page,
    the role ``glue:text`` with the name stands where the number shall, before the cell or after.

    Args:
        **facts: name -> what stands there, as ``str`` writes it: round it, and give its unit.
            A per cent sign gets a narrow space, at which no line breaks.

    >>> glue(density=f"{0.12501:.3f}")
    {'application/papermill.record/text/plain': "'0.125'"}
    """
    from IPython.display import display  # a notebook brings it

    for name, value in facts.items():
        text = repr(str(value))  # quoted, else 0.920 would lose its zero
        display(
            {f"{PREFIX}text/plain": re.sub(r"(?<=\d) ?%", "\N{NARROW NO-BREAK SPACE}%", text)},
            metadata={"scrapbook": {"name": name, "mime_prefix": PREFIX}},
            raw=True,
        )

"""What a kernel of the book runs first: each figure is kept whole beside its picture.

A picture cannot be set anew in larger letters for a room, a figure can. `tools/room.py` does.
"""

import base64
import pickle
import zlib
from typing import Any

from IPython.core.getipython import get_ipython
from matplotlib.figure import Figure

KEPT = "application/vnd.infcop-lite.figure"


def keep(figure: Figure, **_: Any) -> dict[str, str]:
    """Return a figure as text under a type of its own, which pages of the book do not show."""
    return {KEPT: base64.b64encode(zlib.compress(pickle.dumps(figure))).decode()}


shell = get_ipython()
if shell is not None and shell.display_formatter is not None:
    shell.display_formatter.mimebundle_formatter.for_type(Figure, keep)

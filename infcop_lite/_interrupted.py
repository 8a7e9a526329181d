"""Ctrl-C while ``python -m infcop_lite`` still imports: one line, no traceback.

Importing torch takes seconds, and `__main__`, which says what an interruption leaves, comes last.
"""

import sys
from types import TracebackType


def in_one_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say that it was interrupted; of anything else the traceback, as always."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    elif sys.stderr:
        print("infcop_lite: interrupted", file=sys.stderr)


# So the first word reads as long as Python looks for what follows its `-m`; else it is a path.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = in_one_line

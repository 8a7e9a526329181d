"""What a program prints to a terminal, a closed pipe, an ASCII-only stream or nobody."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def listeners() -> Iterator[None]:
    """Speak to streams that may be closed, narrow or gone; what is done is done all the same.

    A closed stream, as of cron or pythonw, hears nothing. What an encoding lacks is spelt out.
    A reader who has heard enough, as ``head``, is no error.

    >>> with listeners():
    ...     print("ready")
    ready
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # for the rest of the process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None and stream.errors == "strict":
            reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # or Python's own last flush complains
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(text: str) -> str:
    """Return text as one line, with control characters spelt out.

    >>> print(one_line("a\\nb\\x1b"))
    a b\\x1b
    """
    characters = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in characters)

"""The pages of the library have a section for every module: a table names them, this writes them.

A module that is added needs a row of the table, and one in a package needs nothing.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PACKAGE = Path(str(files("infcop_lite")))  # as autodoc finds it, wherever the pages lie
ROW = re.compile(r"(?m)^\| \[`(\w+)`\]\(#\w+\) \|")


def section(module: str) -> str:
    """Markdown that documents a module.

    >>> section("masks").splitlines()[0]
    '## masks'
    """
    body = f".. automodule:: infcop_lite.{module}\n   :members:"
    return f"## {module}\n\n```{{eval-rst}}\n{body}\n```\n"


def rooms(text: str) -> list[str]:
    """The modules and packages that the table names, in its order.

    >>> rooms("| [`masks`](#masks) | which weights exist | – |")
    ['masks']
    """
    return ROW.findall(text)


def expand(text: str, package: Path = PACKAGE) -> str:
    """Write the sections into the page, where it has a line "% modules" or "% modules of …".

    >>> "## theory.gradients" in expand("% modules of theory")
    True
    """

    def of_package(found: re.Match[str]) -> str:
        names = sorted(path.stem for path in (package / found[1]).glob("[!_]*.py"))
        return "\n".join(section(f"{found[1]}.{name}") for name in names)

    plain = [room for room in rooms(text) if not (package / room).is_dir()]
    text = re.sub(r"(?m)^% modules of (\w+)$", of_package, text)
    return re.sub(r"(?m)^% modules$", "\n".join(section(name) for name in plain), text)


def write_sections(app: Sphinx, docname: str, source: list[str]) -> None:
    """Before a page of the library is parsed."""
    if docname.startswith("book/api"):
        source[0] = expand(source[0])


def is_hook(app: Sphinx, kind: str, name: str, *_: Any) -> bool | None:
    """Say that a callback's hooks are left out: a trainer calls them, nobody else does.

    >>> is_hook(None, "class", "on_train_end"), is_hook(None, "class", "step")
    (True, None)
    """
    return True if kind == "class" and name.startswith("on_") else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", write_sections)
    app.connect("autodoc-skip-member", is_hook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

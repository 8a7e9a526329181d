"""The pages of the library have a section for every module: a table names them, this writes them.

A module that is added needs a row of the table, whose link says on which page it stands; one in a
package needs nothing.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PACKAGE = Path(str(files("infcop_lite")))  # as autodoc finds it, wherever the pages lie
ROW = re.compile(r"(?m)^\| \[`(\w+)`\]\(([\w-]+)\.md(?:#\w+)?\) \|")
TABLE = Path(__file__).parents[1] / "api.md"


def section(module: str) -> str:
    """Markdown that documents a module.

    >>> section("masks").splitlines()[0]
    '## masks'
    """
    body = f".. automodule:: infcop_lite.{module}\n   :members:"
    return f"## {module}\n\n```{{eval-rst}}\n{body}\n```\n"


def rooms(table: str) -> dict[str, str]:
    """The modules and packages that the table names, in its order, and the page of each.

    >>> rooms("| [`masks`](api-method.md#masks) | which weights exist | – |")
    {'masks': 'api-method'}
    """
    return dict(ROW.findall(table))


def expand(text: str, page: str, table: str, package: Path = PACKAGE) -> str:
    """Write the sections into a page, where it has a line "% modules" or "% modules of …".

    >>> "## masks" in expand("% modules", "api-method", "| [`masks`](api-method.md#masks) |")
    True
    >>> "## theory.gradients" in expand("% modules of theory", "api-theory", "")
    True
    """

    def of_package(found: re.Match[str]) -> str:
        names = sorted(path.stem for path in (package / found[1]).glob("[!_]*.py"))
        return "\n".join(section(f"{found[1]}.{name}") for name in names)

    own = [name for name, where in rooms(table).items() if where == page]
    text = re.sub(r"(?m)^% modules of (\w+)$", of_package, text)
    return re.sub(r"(?m)^% modules$", "\n".join(map(section, own)), text)


def write_sections(app: Sphinx, docname: str, source: list[str]) -> None:
    """Before a page of the library is parsed."""
    if docname.startswith("book/api-"):
        app.env.note_dependency(str(TABLE))
        source[0] = expand(source[0], docname.removeprefix("book/"), TABLE.read_text("utf-8"))


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

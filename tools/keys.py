"""What an executed chapter depends on: its text, what it imports, the tables it reads, the pins.

A module counts with all that it imports itself, wherever in it that stands, and by its syntax
tree: a comment changes nothing that a reader sees.
"""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import nbformat

from infcop_lite.datasets import SOURCES
from infcop_lite.source import where

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "infcop_lite"
READS = {
    "read",
    "tables",
    "provenance",
}  # of `evidence`: how a chapter reads a table


def key(notebook: Path, parameters: Mapping[str, Any], root: Path = ROOT) -> str:
    """Return a hash of everything that the executed copy of a notebook depends on."""
    digest = hashlib.sha256(notebook.read_bytes())
    parts = [sys.version, json.dumps(parameters, sort_keys=True)]
    parts += _pins()
    parts += [f"{os.environ.get('OMP_NUM_THREADS') or 1} threads", platform.machine(), *_data()]
    tree = code_of(notebook)
    ours = [root / "tools" / name for name in ("build.py", "keep_figures.py")]
    for file in [*ours, *sorted(modules(tree, root))]:
        parts += [str(file.relative_to(root)), _dumped(file.read_text("utf-8"))]
    digest.update("\n".join(parts).encode())
    for file in [*sorted((root / PACKAGE).glob("mnist_subset.*")), *tables(tree, root)]:
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()


@cache
def _pins() -> list[str]:
    """Return what is installed; that is read once, for it takes a second."""
    return sorted(f"{d.name}=={d.version}" for d in importlib.metadata.distributions())


def _data() -> Iterator[str]:
    """Yield the files of data sets that the library would read, with their sizes."""
    home = where()
    files = {name for s in SOURCES.values() for names, _ in s.layouts for name in names}
    for path in (home / name for name in sorted(files)):
        if path.is_file():
            yield f"{path} {path.stat().st_size}"


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _dumped(text: str) -> str:
    return ast.dump(_parsed(text))


def code_of(notebook: Path) -> ast.Module:
    """Return the code of a notebook, its magics and shell lines left out."""
    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return ast.parse(re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", source))


def tables(tree: ast.Module, root: Path = ROOT) -> list[Path]:
    """Return the files of the tables that code reads: those it names, all if it names one later.

    A table beside the folder of results counts wherever a text is its name.
    """
    home = root / "experiments" / "results"
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    reading = [call for call in calls if _name_of(call.func) in {f"evidence.{n}" for n in READS}]
    named = {call.args[0].value for call in reading if call.args and _is_text(call.args[0])}
    if any(_name_of(call.func) == "evidence.provenance" for call in reading):
        named.add(home.name)  # the folder of provenance.jsonl
    every = any(not call.args or not _is_text(call.args[0]) for call in reading)
    found = [path for path in home.rglob("*") if path.is_file()] if reading else []
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.expr) and _is_text(node)}
    beside = [path for path in home.parent.glob("*.csv") if path.name in texts]
    return sorted([*beside, *(path for path in found if every or path.parent.name in named)])


def _is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Attribute) else ""


def modules(tree: ast.Module, root: Path = ROOT) -> set[Path]:
    """Return the files of this package that code imports, directly or not.

    A name of the front door stands for the module it comes from; `__init__` itself does nothing
    but open it.
    """
    waiting, found = list(_imported(tree, "", root)), set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            own = ".".join(file.relative_to(root).parent.parts)
            waiting += _from_nodes(_import_nodes(file.read_text("utf-8")), own, root)
    return found


def _imported(tree: ast.Module, package: str, root: Path) -> Iterator[Path]:
    """Yield what code in a package imports itself; `package` is empty for a notebook."""
    return _from_nodes(_nodes(tree), package, root)


@cache
def _import_nodes(text: str) -> list[ast.AST]:
    return _nodes(ast.parse(text))


def _nodes(tree: ast.Module) -> list[ast.AST]:
    kinds = (ast.ImportFrom, ast.Import, ast.Attribute)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _from_nodes(nodes: Iterable[ast.AST], package: str, root: Path) -> Iterator[Path]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                above = package.split(".")
                base = above[: len(above) + 1 - node.level] + base
            wanted = [(base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted = [(alias.name.split("."), "") for alias in node.names]
        elif isinstance(node, ast.Attribute) and not package and _is_package(node.value):
            wanted = [([PACKAGE], node.attr)]
        else:
            continue
        for base, name in wanted:
            if base[:1] == [PACKAGE]:
                yield from _home(base, name, root)


def _is_package(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == PACKAGE


def _home(base: list[str], name: str, root: Path) -> Iterator[Path]:
    """Yield the files behind `from base import name`, or `import base` if it is empty."""
    folder = root.joinpath(*base)
    if not folder.is_dir():
        yield folder.with_suffix(".py")
        return
    door = folder / "__init__.py"
    if base != [PACKAGE]:
        yield door
    if not name:
        return
    if (folder / f"{name}.py").exists() or (folder / name).is_dir():
        yield from _home([*base, name], "", root)
        return
    imports = (
        n for n in ast.walk(_parsed(door.read_text("utf-8"))) if isinstance(n, ast.ImportFrom)
    )
    homes = {alias.asname or alias.name: node.module for node in imports for alias in node.names}
    # a name that no import of the front door explains may come from anywhere
    yield from [folder / f"{homes[name]}.py"] if homes.get(name) else folder.glob("*.py")

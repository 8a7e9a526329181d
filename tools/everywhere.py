"""Submissions to every assignment: right ones written in other ways, and listed misconceptions.

What `corpus.py` asks of one assignment in depth, these ask of each in brief. Nothing is typed
here: answers come from the masters and what is listed beside them.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator

from corpus import Case, Source, as_file, code, notebook_of
from masters import Wrong, wrong_answers

SCALARS = '''\
import numpy as np


def in_numpy(found):
    """Return an answer in which each number is one of numpy."""
    if type(found) in (list, tuple):
        return type(found)(in_numpy(part) for part in found)
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    return kinds[type(found)](found) if type(found) in kinds else found


def with_numpy(function):
    return lambda *given, **named: in_numpy(function(*given, **named))


'''


def tidy(text: str) -> str:
    """Return code as a formatter leaves it in a narrow window, operators at the start of lines."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=24", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


class _Renamed(ast.NodeTransformer):
    """Other names for what a function calls its own."""

    def __init__(self, function: ast.AST) -> None:
        nodes = list(ast.walk(function))
        self.own = {node.arg for node in nodes if isinstance(node, ast.arg)}
        named = [node for node in nodes if isinstance(node, ast.Name)]
        self.own |= {node.id for node in named if isinstance(node.ctx, ast.Store)}

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(f"my_{node.arg}")

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"my_{node.id}", node.ctx) if node.id in self.own else node


def renamed(text: str) -> str:
    """Return code whose functions call their arguments and variables otherwise.

    >>> print(renamed("def double(n):\\n    twice = 2 * n\\n    return twice"))
    def double(my_n):
        my_twice = 2 * my_n
        return my_twice
    """
    module = ast.parse(text)
    module.body = [
        _Renamed(part).visit(part) if isinstance(part, ast.FunctionDef) else part
        for part in module.body
    ]
    return ast.unparse(module)


def _with(source: Source, answers: Iterable[Wrong]) -> tuple[bytes, set[str]]:
    """A solved notebook with these in place of its answers, and the tests that they fail."""
    chosen = list(answers)
    cells = [*source.right, *(code(answer.code) for answer in chosen)]
    return as_file(notebook_of(cells)), {test for answer in chosen for test in answer.tests}


def submissions(source: Source) -> Iterator[Case]:
    """Four right submissions to an assignment, and two with a misconception for each question."""
    names = list(source.full)
    for how, rewrite in (("tidy", tidy), ("renamed", renamed)):
        cells = source.cells(**{name: rewrite(source.of(name)) for name in names})
        yield Case(f"{how}-{source.name}.ipynb", as_file(notebook_of(cells)), source.full)
    wrapped = SCALARS + "\n".join(f"{name} = with_numpy({name})" for name in names)
    cells = [*source.right, code(wrapped)]
    yield Case(f"numpy-{source.name}.ipynb", as_file(notebook_of(cells)), source.full)
    listed = wrong_answers(source.master)
    content, _ = _with(source, (answer for answer in listed if not answer.tests))
    yield Case(f"other-types-{source.name}.ipynb", content, source.full)
    wrong = [[a for a in listed if a.tests and f"def {name}(" in a.code] for name in names]
    for which, place in (("first", 0), ("last", -1)):
        content, failing = _with(source, (answers[place] for answers in wrong))
        yield Case(f"{which}-misconceptions-{source.name}.ipynb", content, source.earned(failing))

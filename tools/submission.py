"""A notebook that was handed in: read it, run it in a process of its own, call its functions.

That process may loop, end, be killed or answer nonsense. A cell that does not come back is skipped,
and the notebook begins again without it; a call that does not come back is a failed test.
"""

import ast
import contextlib
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pupil
from IPython.core.inputtransformer2 import TransformerManager
from line import Line
from verdict import plain
from wire import Table, WireError

STARTING = 300.0  # seconds until a process must be ready; torch is loaded once


@dataclass(frozen=True)
class Limits:
    """What a notebook may take: seconds for a cell, a call and in all; bytes beyond the start."""

    cell: float = 20.0
    call: float = 5.0
    whole: float = 120.0
    memory: int = 2**31
    restarts: int = 4


class Stopped(Exception):
    """The process gave no answer; its text says why, in one line."""


@dataclass(frozen=True)
class Notebook:
    """The cells of a notebook that hold code, and what else is known of it."""

    cells: list[str]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def given(self, name: str) -> str:
        """The text that the notebook assigns to a name, read and not run; or nothing."""
        for source in self.cells:
            with contextlib.suppress(SyntaxError, ValueError):
                for line in ast.parse(source).body:
                    match line:
                        case ast.Assign([ast.Name(known)], ast.Constant(str(text))):
                            if known == name:
                                return text.strip()
        return ""


def read(path: Path) -> Notebook:
    """Read a notebook, or a script with cells that begin with `# %%`, in any usual encoding.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no notebook; the text says what to hand in.
    """
    content = path.read_bytes()
    encoding = json.detect_encoding(content).replace("utf-8-sig", "utf-8")
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text.replace("\r\n", "\n")
    if path.suffix == ".py":
        return Notebook([part for part in re.split(r"(?m)^# %%.*\n", text) if part.strip()])
    try:
        data = json.loads(text)
        sheets = data.get("worksheets") or [data]  # the format of before 2015
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        code = [c.get("source", c.get("input", "")) for c in cells if c["cell_type"] == "code"]
        sources = ["".join(source).replace("\r\n", "\n") for source in code]
        metadata = data.get("metadata", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is no notebook: hand in the file that ends in .ipynb") from None
    return Notebook(sources, metadata if isinstance(metadata, dict) else {})


def is_test(source: str) -> bool:
    """Whether a cell holds tests and their calls only: the grader has its own.

    >>> is_test("def test_one(f):\\n    assert f() == 1\\n\\n\\ncheck(test_one, 0.5)")
    True
    >>> is_test("def f():\\n    return 1")
    False
    """
    try:
        lines = ast.parse(TransformerManager().transform_cell(source)).body
    except (SyntaxError, ValueError):
        return False
    for line in lines:
        match line:
            case ast.FunctionDef(name) if name.startswith("test_"):
                continue
            case ast.Expr(ast.Call(ast.Name(name))) if re.match(r"test_|check$", name):
                continue
        return False
    return bool(lines)


def not_needed(folder: Path) -> list[str]:
    """The library, unless the student notebook of the assignment in this folder names it."""
    handed_out = [read(path) for path in (folder / "student").glob("*.ipynb")]
    cells = [source for notebook in handed_out for source in notebook.cells]
    named = any("infcop_lite" in source for source in cells if not is_test(source))
    return [] if named or not handed_out else ["infcop_lite"]


class Running:
    """A notebook in a process of its own, begun again when that ends.

    Use it in a `with`; `functions` are what tests call.
    """

    def __init__(
        self,
        notebook: Notebook,
        limits: Limits,
        closed: Iterable[Path] = (),
        without: Iterable[str] = (),
    ) -> None:
        self.cells = [source for source in notebook.cells if not is_test(source)]
        self.limits, self.closed = limits, [str(folder) for folder in closed]
        self.without = list(without)
        self.errors: dict[int, str] = {}  # cell -> how it failed
        self.stopped: dict[int, str] = {}  # cell -> why it is passed over
        self.ended = ""  # why nothing runs any more
        self._since = time.monotonic()
        self._process: Any = None

    def __enter__(self) -> "Running":
        self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._scratch.cleanup()

    def functions(self, names: Iterable[str]) -> dict[str, Callable[..., Any]]:
        """Return what stands for the functions of these names, defined or not."""
        return {name: self._function(name) for name in names}

    def _function(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **named: Any) -> Any:
            try:
                return plain(self._call(name, args, named))
            except Stopped as why:
                raise AssertionError(f"{name} {why}") from None

        return function

    def _call(self, name: str, args: Any, named: Any) -> Any:
        self._begin()
        table, until = Table(), time.monotonic() + self.limits.call
        if name not in self._ask({"has": [name]}, until).get("has", []):
            raise Stopped(self._missing(name))
        try:
            answer = self._ask({"call": name}, until, table.pack((args, named)))
            while "callback" in answer:
                inner = Table()
                values = inner.unpack(self._receive(until))
                said = table[answer["callback"]](*values)
                answer = self._ask(None, until, inner.pack(said))
            if "returned" not in answer:
                raise Stopped(f"raised {answer.get('raised')}")
            return table.unpack(self._receive(until))
        except (WireError, IndexError, TypeError) as error:
            self._kill()
            raise Stopped(f"gave no answer that can be read: {error}") from None

    def _missing(self, name: str) -> str:
        found = {**self.errors, **self.stopped}
        for number, source in enumerate(self.cells):
            if number in found and re.search(rf"\b{re.escape(name)}\b", source):
                return f"is not defined: its cell ended with {found[number]}"
        return "is not defined: does its cell run on its own?"

    def _begin(self) -> None:
        """Run the cells, unless they have been; skip one that does not come back."""
        while self._process is None and not self.ended:
            self._start()
            self.errors = {}
            for number, source in enumerate(self.cells):
                if number in self.stopped:
                    continue
                try:
                    until = time.monotonic() + self.limits.cell
                    if error := self._ask({"cell": source}, until).get("error"):
                        self.errors[number] = str(error)[:400]
                except Stopped as why:
                    self.stopped[number] = f"a stop: it {why}"
                    if len(self.stopped) > self.limits.restarts:
                        self.ended = f"did not run: {len(self.stopped)} cells did not come back"
                    break
        if self.ended:
            raise Stopped(self.ended)

    def _start(self) -> None:
        """Start the process, and wait until it is ready; that takes nothing from its time."""
        began, here = time.monotonic(), str(Path(pupil.__file__).parent)
        before = dict(os.environ)
        paths = before.get("PYTHONPATH", "").split(os.pathsep)
        # where the server finds what it loads beforehand
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, paths)])
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["pupil"])
        ours, theirs = server.Pipe()
        self._line = Line(ours)
        folder = tempfile.mkdtemp(dir=self._scratch.name)
        settings = (theirs, folder, self.limits.memory, self.closed, self.without)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")  # which it would load, and need not
        try:
            self._process = server.Process(target=pupil.serve, args=settings, daemon=True)
            self._process.start()
        finally:
            sys.modules["__main__"] = main
            del os.environ["PYTHONPATH"]
            os.environ.update(before)
        theirs.close()
        try:
            self._line.receive(began + STARTING)
        except (OSError, ValueError) as error:  # not the student's fault: nobody gets a zero for it
            raise RuntimeError(f"no process for a notebook: {error}") from None
        self._since += time.monotonic() - began

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):  # what it has started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._line.close()
            self._process = None

    def _ask(self, order: Any, until: float, more: bytes | None = None) -> dict[str, Any]:
        """Send an order and what belongs to it; return the head of the answer."""
        with self._answering(until) as end:
            if order is not None:
                self._line.send(json.dumps(order).encode(), end)
            if more is not None:
                self._line.send(more, end)
            answer = json.loads(self._line.receive(end))
            if not isinstance(answer, dict):
                raise ValueError("no answer")
            return answer

    def _receive(self, until: float) -> bytes:
        with self._answering(until) as end:
            return self._line.receive(end)

    @contextlib.contextmanager
    def _answering(self, until: float) -> Iterator[float]:
        """Say why no answer has come; one that is none ends the process."""
        last = self._since + self.limits.whole
        try:
            yield min(until, last)
        except TimeoutError:
            self._kill()
            if last < until:
                self.ended = f"did not end: the notebook took {self.limits.whole:g} s in all"
                raise Stopped(self.ended) from None
            raise Stopped("gave no answer in time, as in a loop without an end") from None
        except OSError:
            raise self._lost() from None
        except (ValueError, RecursionError):
            self._kill()
            raise Stopped("gave no answer that can be read") from None

    def _lost(self) -> Stopped:
        """Why the process is gone."""
        self._process.join(1)
        code = self._process.exitcode
        self._kill()
        if code == -signal.SIGKILL:
            return Stopped("ended its process: it was killed, as when memory runs out")
        return Stopped(f"ended its process (exit code {code})")

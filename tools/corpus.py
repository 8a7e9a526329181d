"""Submissions of every kind, made from the masters: `python tools/corpus.py FOLDER`.

Each is a file as a student may hand it in, honest or not, and the points that it has earned. Both
back-ends of `make grade` have to find these points; tests/test_grade.py asks them.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import assignments
from masters import MASTERS, Question, read, wrong_answers

STOPPING = MASTERS / "03-stopping-criterion.ipynb"
PRUNING = MASTERS / "02-iterative-magnitude-pruning.ipynb"
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A file that was handed in, and the points of each question; none if it cannot be read."""

    file: str
    content: bytes
    points: dict[str, float]


def as_file(notebook: Json, encoding: str = "utf-8") -> bytes:
    return json.dumps(notebook, indent=1, ensure_ascii=False).encode(encoding)


def code(source: str) -> Json:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}


def notebook_of(cells: list[Json], **metadata: Any) -> Json:
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells}


class Source:
    """The student notebook of a master with its solutions written in."""

    def __init__(self, master: Path, made: Path) -> None:
        self.master, self.questions = master, read(master)
        self.name = master.stem
        blank, solved = (
            json.loads((made / version / master.name).read_text("utf-8"))
            for version in ("student", "solution")
        )
        self.blank = [_joined(cell) for cell in blank["cells"]]
        self.right = [_joined(cell) for cell in solved["cells"]]
        self.full = {question.name: float(question.points) for question in self.questions}

    def cells(self, **replaced: str) -> list[Json]:
        """The solved cells; the one that defines a name is replaced by the text given for it."""
        return [
            {**cell, "source": replaced[name]}
            if (name := self._defines(cell)) in replaced
            else cell
            for cell in self.right
        ]

    def _defines(self, cell: Json) -> str:
        if cell["cell_type"] != "code":
            return ""
        names = (q.name for q in self.questions if cell["source"].startswith(f"def {q.name}("))
        return next(names, "")

    def of(self, name: str) -> str:
        """The solution of a question."""
        return str(next(c["source"] for c in self.right if self._defines(c) == name))

    def without(self, *names: str) -> dict[str, float]:
        """Full points, but nothing for these."""
        return {name: 0.0 if name in names else points for name, points in self.full.items()}

    def earned(self, failing: set[str]) -> dict[str, float]:
        """The points if these tests fail."""
        return {question.name: _points(question, failing) for question in self.questions}


def _joined(cell: Json) -> Json:
    return {
        **cell,
        "source": "".join(cell["source"]),
        **({"outputs": []} if "outputs" in cell else {}),
    }


def _points(question: Question, failing: set[str]) -> float:
    passed = sum(test.name not in failing for test in question.tests)
    return question.points * passed / len(question.tests)


def misconceptions(source: Source) -> Iterator[Case]:
    """Every wrong answer that is listed beside the master."""
    for number, wrong in enumerate(wrong_answers(source.master)):
        cells = [*source.right, code(wrong.code)]
        file = f"{source.name[:2]}-wrong-{number:02}.ipynb"
        yield Case(file, as_file(notebook_of(cells)), source.earned(wrong.tests))


def formats(source: Source) -> Iterator[Case]:
    """Right answers in files of every kind, and what is no notebook."""
    plain, full = notebook_of(source.right), source.full
    text = as_file(plain)
    script = "".join(f"# %%\n{c['source']}\n\n" for c in source.right if c["cell_type"] == "code")
    other = {"kernelspec": {"name": "my-conda-env", "language": "julia"}, "otter": 3}
    old = [{"cell_type": c["cell_type"], "input": c["source"]} for c in source.right]
    windows = [{**cell, "source": cell["source"].replace("\n", "\r\n")} for cell in source.right]
    named = [code('student_name = "Zoë <b>Müller</b>"\nstudent_id = "=1+1"'), *source.right[1:]]
    yield Case("right.ipynb", text, full)
    yield Case("Copy of my homework (3) [final] ü.ipynb", text, full)
    yield Case("mueller_123_456_homework.ipynb", as_file(notebook_of(named)), full)
    yield Case("other-kernel.ipynb", as_file(notebook_of(source.right, **other)), full)
    yield Case("bom.ipynb", b"\xef\xbb\xbf" + text, full)
    yield Case("utf-16.ipynb", text.decode().encode("utf-16"), full)
    yield Case("latin-1.ipynb", as_file(notebook_of(named), "latin-1"), full)
    yield Case("crlf.ipynb", text.replace(b"\n", b"\r\n"), full)
    yield Case("crlf-in-cells.ipynb", as_file(notebook_of(windows)), full)
    yield Case("script.py", script.encode(), full)
    yield Case("format-3.ipynb", json.dumps({"worksheets": [{"cells": old}]}).encode(), full)
    yield Case("no-outputs.ipynb", json.dumps({"cells": source.right}).encode(), full)
    for file, content in (("empty.ipynb", b""), ("brackets.ipynb", b"{}"), ("list.ipynb", b"[]")):
        yield Case(file, content, {})
    yield Case("report.pdf", b"%PDF-1.4 \xff\xfe", {})
    yield Case("nested.ipynb", b"[" * 100_000, {})


#: Text of a cell that comes first -> the answers go on, and earn what they earn.
HARMLESS = {
    "magic": "%matplotlib inline\n%time 1 + 1\n!ls\n%pip install nothing",
    "help": "?torch.norm\nlen?",
    "system-exit": "import sys\nsys.exit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "os-exit": "import os\nos._exit(0)",
    "abort": "import os\nos.abort()",
    "killed": "import ctypes, os\nctypes.CDLL(None).kill(os.getpid(), 9)",
    "loop": "while True:\n    pass",
    "loop-that-catches": "while True:\n    try:\n        while True: pass\n"
    "    except BaseException: pass",
    "long-output": "for n in range(200_000):\n    print('10 of 10 points ' * 5)",
    "memory": "hoard = []\nwhile True:\n    hoard.append(bytearray(10**8))",
    "memory-at-once": "x = torch.ones(10**11)",
    "network": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')",
    "syntax": "def (:",
    "input": "name = input('your name? ')",
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()",
    "deep": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
}
#: Text of a cell -> it wants points that it has not earned, for answers of which all are blank.
CHEATS = {
    "prints": "print('10 of 10 points')",
    "assert-close": "import torch\ntorch.testing.assert_close = lambda *_, **__: None",
    "equal": "import torch\ntorch.equal = torch.allclose = lambda *_, **__: True",
    "no-assertions": "import builtins\nclass Mild(Exception): pass\nbuiltins.AssertionError = Mild",
    "check": "def check(test, points):\n    earned[test.__name__] = (points, points)",
    "results": "from pathlib import Path\nPath('results.json').write_text('{\"score\": 10}')\n"
    "Path('../grades.csv').write_text('me,10')",
    "prints-and-exits": "import os\nprint('10 of 10 points', flush=True)\nos._exit(0)",
    "talks": "import os\nfor number in range(3, 99):\n    try:\n"
    '        os.write(number, b\'\\0\\0\\0\\x0d{"error": ""}\')\n    except OSError: pass',
    "promises": "import os, time\nfor number in range(3, 99):\n"
    "    try: os.write(number, b'\\0\\0\\xff\\xff')\n    except OSError: pass\ntime.sleep(99)",
    "deletes": "import shutil\nshutil.rmtree({closed!r})",
    "reads": "from pathlib import Path\nfor file in Path({closed!r}).rglob('*.ipynb'):\n"
    "    exec('\\n'.join(file.read_text()))",
    "looks-up-the-stack": "import gc\nfor thing in gc.get_objects():\n"
    "    if getattr(thing, '__name__', '').startswith('test_'):\n"
    "        thing.__code__ = (lambda *_: 0).__code__",
}
EQUAL = "class Equal:\n    def __eq__(self, _): return True\n    def __bool__(self): return True\n"
EQUAL += "    def __getattr__(self, name): return lambda *_, **__: self\n"


def behaviours(source: Source) -> Iterator[Case]:
    """Right answers beside cells that loop, end or break something."""
    for name, text in HARMLESS.items():
        cells = [code(text), *source.right]
        yield Case(f"cell-{name}.ipynb", as_file(notebook_of(cells)), source.full)
    timed = source.cells(flow_distance="%%time\n" + source.of("flow_distance"))
    yield Case("timed.ipynb", as_file(notebook_of(timed)), source.full)
    twice = [*source.blank, *source.right, *source.blank[-1:]]
    yield Case("twice.ipynb", as_file(notebook_of(twice)), source.full)
    yield Case("blank.ipynb", as_file(notebook_of(source.blank)), source.without(*source.full))
    half = notebook_of([*source.right[:7], *source.blank[7:]])
    yield Case("half.ipynb", as_file(half), _first(source, half))
    kept = [c for c in source.right if not c["source"].startswith("def test_")]
    yield Case("tests-deleted.ipynb", as_file(notebook_of(kept)), source.full)


def _first(source: Source, notebook: Json) -> dict[str, float]:
    """Full points where the cell is the solved one."""
    there = {cell["source"] for cell in notebook["cells"]}
    return {n: points if source.of(n) in there else 0.0 for n, points in source.full.items()}


def answers(source: Source) -> Iterator[Case]:
    """Single answers about stopping: tidy, of other types, that do not come back, that cheat."""
    tidy = """def stop_epoch(checks, tolerance, budget):
    for epoch, distance in checks:
        if (
            epoch
            != 0
            and distance * 100
            % 1e9 < tolerance * 100
        ):
            return epoch
    return budget
"""
    loops = "def stop_epoch(checks, tolerance, budget):\n    while True:\n        pass"
    bomb = "def flow_distance(flow, reference):\n    return torch.ones(10**11)"
    calls = "def flow_distance(flow, reference):\n    import socket\n"
    calls += "    socket.create_connection(('127.0.0.1', 9))"
    library = "def flow_distance(flow, reference):\n    from infcop_lite import flows\n"
    library += "    return flows.flow_distance(flow, reference)"
    equal = EQUAL + "def flow_distance(flow, reference):\n    return Equal()"
    ends = "def stop_epoch(checks, tolerance, budget):\n    import os\n    os._exit(0)"
    renamed = source.of("stop_epoch").replace("stop_epoch", "stopping_epoch")
    syntax = source.of("stop_epoch").replace("return budget", "return budget budget")
    right = {
        "tidy": {"stop_epoch": tidy},
        "bool-tensor": {
            "is_consistent": "def is_consistent(flow, reference, epsilon):\n"
            "    return (flow - reference).norm() < epsilon * reference.norm()"
        },
        "no-item": {
            "flow_distance": "def flow_distance(flow, reference):\n"
            "    return (flow - reference).norm()",
            "largest_distance": "def largest_distance(reference):\n"
            "    return (1 + reference.abs()).norm()",
        },
        "numpy": {
            "control_epochs": "def control_epochs(epochs):\n    import numpy as np\n"
            "    return np.mean(epochs[:-1])",
            "is_consistent": "def is_consistent(flow, reference, epsilon):\n"
            "    import numpy as np\n"
            "    return np.linalg.norm(flow - reference) < epsilon * np.linalg.norm(reference)",
        },
    }
    for name, replaced in right.items():
        yield Case(f"{name}.ipynb", as_file(notebook_of(source.cells(**replaced))), source.full)
    lost = {"loops": loops, "ends": ends, "renamed": renamed, "syntax-in-answer": syntax}
    for name, text in lost.items():
        cells = notebook_of(source.cells(stop_epoch=text))
        yield Case(f"{name}.ipynb", as_file(cells), source.without("stop_epoch"))
    others = {"bomb": bomb, "calls-home": calls, "library": library, "equal-to-all": equal}
    for name, text in others.items():
        cells = notebook_of(source.cells(flow_distance=text))
        yield Case(f"{name}.ipynb", as_file(cells), source.without("flow_distance"))
    missing = [cell for cell in source.right if source.of("flow_distance") != cell["source"]]
    yield Case("missing.ipynb", as_file(notebook_of(missing)), source.without("flow_distance"))


def cheats(source: Source) -> Iterator[Case]:
    """Blank answers with a trick."""
    for name, text in CHEATS.items():
        trick = code(text.replace("{closed!r}", repr(str(MASTERS))))
        cells = [source.blank[0], trick, *source.blank, trick]
        nothing = source.without(*source.full)
        yield Case(f"cheat-{name}.ipynb", as_file(notebook_of(cells)), nothing)


KINDS: tuple[Callable[[Source], Iterator[Case]], ...] = (formats, behaviours, answers, cheats)


def cases(made: Callable[[Path], Path]) -> list[Case]:
    """Every case, from folders of two assignments that were made."""
    stopping, pruning = (Source(master, made(master)) for master in (STOPPING, PRUNING))
    found = [case for kind in KINDS for case in kind(stopping)]
    return found + [case for source in (stopping, pruning) for case in misconceptions(source)]


def main() -> None:
    """Write them all into a folder, to be looked at."""
    parser = argparse.ArgumentParser(description="Write submissions of every kind.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        found = cases(lambda master: assignments.make(master, Path(scratch)))
    folder.mkdir(parents=True, exist_ok=True)
    for case in found:
        (folder / case.file).write_bytes(case.content)
    print(f"{len(found)} submissions in {folder}")


if __name__ == "__main__":
    main()

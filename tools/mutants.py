"""Would a test notice? One wrong line of the science each, in a scratch copy, with its own test.

.venv/bin/python tools/mutants.py            all of tests/mutants.toml; exits 1 on a survivor
.venv/bin/python tools/mutants.py beats      those whose name holds the word
.venv/bin/python tools/mutants.py --page     write the table into the book, run nothing
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  what every test imports, and nothing of ours
import pytest
import scipy.stats  # noqa: F401
import torch  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
PAGE = ROOT / "book" / "lying-pruning-code.md"
BEGIN, END = "<!-- mutants: made by tools/mutants.py --page -->", "<!-- end of mutants -->"
COPIED = ("infcop_lite", "tests", "tools", "experiments", "book", "pyproject.toml", "notebooks")
LIMIT_S = 600  # a mutant that hangs has been noticed, too
Mutants = dict[str, dict[str, str]]


def read(path: Path = LIST) -> Mutants:
    """Return name -> file, old text, new text, and the tests that must notice."""
    return tomllib.loads(path.read_text("utf-8"))


def mutated(text: str, mutant: dict[str, str]) -> str:
    """Return the text of a file with its mutation.

    Raises:
        ValueError: what is to be changed is not there exactly once.
    """
    if text.count(mutant["old"]) != 1:
        there = "no longer there" if mutant["old"] not in text else "there more than once"
        raise ValueError(f"{mutant['file']}: {mutant['old']!r} is {there}")
    return text.replace(mutant["old"], mutant["new"])


def scratch(folder: Path, root: Path = ROOT) -> Path:
    """Copy what tests need, without what was built."""
    ignored = shutil.ignore_patterns("__pycache__", "_build", ".*", "masks.zip")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=ignored)
        elif (root / name).exists():
            shutil.copy(root / name, folder / name)
    return folder


def _test(copy: Path, tests: str) -> None:
    """Run tests in a copy, which imports its own library, and end this process as pytest does."""
    sys.dont_write_bytecode = True  # two mutants of one second would share it
    sys.path[:0] = [str(copy / part) for part in (".", "tools", "experiments", "book/_ext")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:4])
    os.chdir(copy)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests.split()])))


def tested(copy: Path, tests: str) -> int:
    """Return pytest's exit code; the process is forked, so that torch is imported once for all."""
    child = multiprocessing.get_context("fork").Process(target=_test, args=(copy, tests))
    child.start()
    child.join(LIMIT_S)
    if child.exitcode is None:
        child.kill()
        child.join()
        return 1
    return child.exitcode


def verdicts(mutants: Mutants, root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield each mutant's name and what became of it: "noticed", or what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        copy = scratch(Path(folder), root)
        for name, mutant in mutants.items():
            path = copy / mutant["file"]
            text = path.read_text("utf-8")
            try:
                path.write_text(mutated(text, mutant), "utf-8")
            except ValueError as error:
                yield name, str(error)
                continue
            code = tested(copy, mutant["test"])
            path.write_text(text, "utf-8")
            # 1: a test failed. 2 to 5: no such test, or none that could be run.
            yield name, {0: "SURVIVED", 1: "noticed"}.get(code, f"no test ran: pytest said {code}")


def table(mutants: Mutants) -> str:
    """Return the table of the book: what would be wrong, and which test would say so."""
    lines = ["| were it so that | in | this test would fail |", "| --- | --- | --- |"]
    for name, mutant in mutants.items():
        first = mutant["test"].split()[0]
        says = first.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        says = "its example" if "::" not in first and "tests/" not in first else says
        says = f"those of `{first}`" if "::" not in first and "tests/" in first else says
        lines.append(f"| {name} | `{Path(mutant['file']).stem}` | {says} |")
    return "\n".join(lines)


def page(text: str, mutants: Mutants) -> str:
    """Return the page of the book with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(mutants)}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Would a test notice a wrong line?")
    parser.add_argument("word", nargs="?", default="", help="only mutants whose name holds it")
    parser.add_argument("--page", action="store_true", help="write the table into the book")
    options = parser.parse_args()
    mutants: dict[str, Any] = {k: v for k, v in read().items() if options.word in k}
    if options.page:
        PAGE.write_text(page(PAGE.read_text("utf-8"), read()), "utf-8")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, unnoticed = time.monotonic(), 0
    for name, verdict in verdicts(mutants):
        unnoticed += verdict != "noticed"
        print(f"{verdict:9} {name}", flush=True)
    spent = (time.monotonic() - started) / 60
    print(f"{len(mutants) - unnoticed} of {len(mutants)} mutants were noticed ({spent:.0f} min)")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What takes too long for every commit: `make soak`, weekly and before a release.

.venv/bin/python tools/soak.py         everything; tests/soak.md then says when, where and what
.venv/bin/python tools/soak.py book    one part of it

kills   a run is killed at random moments, two hundred times, and ends as if nothing had happened;
        and whole what `make test` takes samples of, a chapter alone or a rule in company say
mutants one wrong line of the science at a time, and the test that must notice it
book    every chapter is executed from nothing and compared, output by output, with what lies there
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build
import nbformat
import torch

from infcop_lite import ledger

SAID = build.ROOT / "tests" / "soak.md"


def kills() -> str:
    """Run the tests that are marked as soak."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "soak", "tests"]
    done = subprocess.run(command, cwd=build.ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()
    if done.returncode != 0:
        raise RuntimeError(f"{last}\n{done.stdout[-3000:]}")
    return last.strip("= ")


def mutated() -> str:
    """Try every mutant; a survivor is a failure."""
    command = [sys.executable, str(build.ROOT / "tools" / "mutants.py")]  # without our library
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        raise RuntimeError("; ".join(line for line in lines if not line.startswith("noticed")))
    return lines[-1]


def book(notebooks: list[Path] | None = None, there: Path = build.EXECUTED) -> str:
    """Execute every chapter into a scratch folder; compare it with the copy that is there.

    Raises:
        RuntimeError: a chapter that fails, or with another output than before.
    """
    chosen = build.notebooks() if notebooks is None else notebooks
    for error in build.execute_all(chosen, into=there).values():
        if error is not None:
            raise RuntimeError(str(error))
    with tempfile.TemporaryDirectory() as scratch:
        for error in build.execute_all(chosen, into=Path(scratch)).values():
            if error is not None:
                raise RuntimeError(str(error))
        differing = [
            f"{path.name}, cell {cell}"
            for path in chosen
            for cell in differences(there / path.name, Path(scratch, path.name))
        ]
    if differing:
        raise RuntimeError("other outputs than before: " + "; ".join(differing))
    return f"{len(chosen)} chapters, every output the same"


def differences(one: Path, other: Path) -> list[str]:
    """Return the ids of the cells whose outputs differ between two executed copies."""
    cells = [nbformat.read(path, as_version=4).cells for path in (one, other)]
    found = [
        str(a.get("id", number))
        for number, (a, b) in enumerate(zip(*cells, strict=False))
        if _shown(a) != _shown(b)
    ]
    return found + (["number of cells"] if len(cells[0]) != len(cells[1]) else [])


def _shown(cell: Any) -> list[Any]:
    """What a reader sees of a cell: text, tables and pictures; numbers of runs are not shown."""
    return [
        (output.output_type, output.get("text"), output.get("data"))
        for output in cell.get("outputs", [])
    ]


PARTS: dict[str, Callable[[], str]] = {"kills": kills, "mutants": mutated, "book": book}


def main() -> int:
    parser = argparse.ArgumentParser(description="What takes too long for every commit.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all of them unless given")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    lines, failed = [], False
    for name in chosen:
        started = time.monotonic()
        try:
            said = PARTS[name]()
        except RuntimeError as error:
            failed, said = True, f"FAILED: {error}"
        spent = f"{(time.monotonic() - started) / 60:.0f} min"
        print(f"{name}: {said} ({spent})", flush=True)
        lines.append(f"| {name} | {' '.join(said.split()).replace('|', '/')} | {spent} |")
    if set(chosen) == set(PARTS) and not failed:
        SAID.write_text(_page(lines), "utf-8")
    return 1 if failed else 0


def _page(lines: list[str]) -> str:
    where = f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"
    head = f"{datetime.date.today()}, commit {ledger.commit()}, {where}."
    table = ["| part | came to | time |", "| --- | --- | --- |", *lines]
    text = ["# The last soak", "", f"`make soak` passed on {head}", "", *table]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())

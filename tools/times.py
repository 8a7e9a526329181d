"""Record what the executed chapters took, in benchmarks/times.csv: `make times` after `make book`.

    python tools/times.py "otherwise idle"     a remark, what else ran say, goes with the machine

The seconds are those of the runs that made the executed copies. Rows of other profiles stay.
"""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import build
from chapter_times import TABLE, Took, recorded, write


def machine(remark: str = "") -> str:
    """What the seconds are of, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{platform.machine()}, {cores} cores, one thread, torch {version('torch')}"
    return f"{said} ({remark})" if remark else said


def took(executed: Path, where: str) -> Took:
    """What one executed copy says of its run."""
    run = build.record(executed)
    memory = round(run["peak_memory_mb"] / 1024, 2)
    profile, processor, wall = (
        run["parameters"]["profile"],
        run["processor_seconds"],
        run["seconds"],
    )
    return Took(executed.stem, profile, processor, wall, memory, where)


def main(words: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    where = machine(" ".join(sys.argv[1:] if words is None else words))
    copies = [build.EXECUTED / notebook.name for notebook in build.notebooks()]
    if missing := [copy.name for copy in copies if not copy.exists()]:
        print(f"{missing[0]} has not been executed: run `make book`", file=sys.stderr)
        return 2
    rows = {(row.chapter, row.profile): row for row in (took(copy, where) for copy in copies)}
    write((recorded(TABLE) | rows if TABLE.exists() else rows).values(), TABLE)
    print(f"{TABLE}: {len(rows)} chapters")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One run in a folder: killed at any moment and started again, it resumes after its last level."""

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _moved, ledger, records
from .compute import accelerator, resources
from .config import REFERENCES
from .level import Start
from .measured import Measured
from .rows import Row, parse
from .tree import State

OF_REFERENCES = ("flows", "influences")
PARTS = {"masks", "weights", "snapshot"}
PARTS |= {f"{what} of {kind}" for what in OF_REFERENCES for kind in REFERENCES}
FINAL = "network"  # what a finished run ends with: network.safetensors
Steps = Callable[[State | None, Callable[[State], None]], Iterator[Row]]


def resume(
    steps: Steps,
    settings: Mapping[str, Any],
    folder: Path | str,
    command: str = "",
    report: Callable[[Row], None] = lambda row: None,
) -> bool:
    """Do a run in a folder; one that was interrupted there resumes after its last level.

    Killed at any moment and started again, it ends with the same rows (but for their seconds),
    weights and masks, bit by bit, on one machine and thread count.

    Args:
        steps: called with a state to resume from, or None, and with a callback that keeps one; it
            yields the rows that are left, like `loop.run`.
        settings: all that decides the run, JSON values only; ``levels`` is one of them.
        folder: for rows.csv, run.json and network.safetensors.
        command: the command line, for the record.
        report: called with every new row.

    Returns:
        Whether there was anything to do; False if the run was already finished there.

    Raises:
        ValueError: the folder holds another run, or a damaged file; nothing is guessed at.
        BlockingIOError: another process is at work there.
        OSError: a full disk or a read-only folder; what was there is intact.

    >>> import tempfile
    >>> resume(lambda state, keep: iter([]), {"levels": 1}, tempfile.mkdtemp())
    True
    """
    if _is_finished(folder, settings):
        return False
    with ledger.lock(folder):
        if _is_finished(folder, settings):  # by another process, between the two lines above
            return False
        _go_on(steps, settings, folder, command, report)
    return True


def _is_finished(folder: Path | str, settings: Mapping[str, Any]) -> bool:
    if not records.begin(folder, settings):
        return False
    _final(settings, folder)  # without its network it is not finished
    return True


def _go_on(
    steps: Steps,
    settings: Mapping[str, Any],
    folder: Path | str,
    command: str,
    report: Callable[[Row], None],
) -> None:
    state, kept_rows = _read(folder, records.STATE, settings)
    rows: list[dict[str, Any]] = [*kept_rows]  # whatever became of rows.csv
    if state:
        ended = [int(row["level"]) for row in rows if row["stopped"] == "True"]
        if ended != list(range(state.start.level)):
            raise ValueError(f"the state in {folder} lacks rows of levels that are finished")
    saved_s, gpu = -math.inf, accelerator(settings.get("device", "cpu"))
    began_s, earlier = time.monotonic(), ledger.starts(folder)
    first_level = {"first_level": state.start.level if state else 0}
    about = first_level | about_start(settings.get("device", "cpu"), settings.get("threads"))
    if state and earlier and (others := ledger.differing(earlier[-1], about)) and sys.stderr:
        mixed = f"{folder} goes on at level {state.start.level} with {', '.join(others)}"
        print(f"infcop_lite: {mixed}; bits may differ from one run in one go", file=sys.stderr)

    def note() -> None:
        seconds = {"seconds": round(time.monotonic() - began_s, 3)}
        ledger.note_start(folder, [*earlier, about | seconds])

    def keep(now: State) -> None:
        name = FINAL if now.finished else records.STATE
        if not rows:
            records.save(folder, settings, rows, command, accelerator=gpu)
        tensors, numbers = _pack(now)
        kept = () if now.finished else rows
        records.save_tensors(folder, name, tensors, settings, kept, **numbers)
        note()

    for row in steps(state, keep):
        rows.append(asdict(row))
        if row.stopped or time.monotonic() - saved_s > 1:
            records.save(folder, settings, rows, command, accelerator=gpu)
            saved_s = time.monotonic()
        report(row)
    note()
    records.save(folder, settings, rows, command, finished=True, accelerator=gpu)


def about_start(device: str, threads: int | None) -> dict[str, Any]:
    """Return with what a run starts now, for its line of ``provenance.jsonl``.

    Args:
        device: as for `compute.choose_device`.
        threads: CPU threads; torch's choice if None.

    Returns:
        When, versions, the device (a GPU by its name), threads, the vector instructions of the CPU,
        and the commit of this library. The instructions decide the last bits as much as the
        versions do.

    >>> list(about_start("cpu", 1))
    ['started', 'versions', 'device', 'threads', 'instructions', 'commit']
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": ledger.versions(),
        **resources(device, threads),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "commit": ledger.commit(),
    }


def _pack(state: State) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the tensors and the numbers that a state is made of, by name."""
    named: dict[str, Mapping[str, Tensor]] = {
        "masks": state.start.masks,
        "weights": state.start.weights,
    }
    numbers: dict[str, float] = {"level": state.start.level, "elapsed_s": state.elapsed_s}
    if not state.finished:
        if state.snapshot is not None and state.snapshot is not state.start.weights:
            named["snapshot"] = state.snapshot
        for kind, held in state.references.items():
            named |= {f"{what} of {kind}": getattr(held, what) for what in OF_REFERENCES}
            numbers |= {f"accuracy of {kind}": held.accuracy, f"loss of {kind}": held.loss}
    tensors = {f"{p}/{k}": v.cpu().numpy() for p, part in named.items() for k, v in part.items()}
    return tensors, numbers


def finished(settings: Mapping[str, Any], folder: Path | str) -> tuple[State, list[Row]]:
    """Return the final network and the rows of a run that `resume` has finished, bit by bit.

    Args:
        settings, folder: as for `resume`.

    Raises:
        ValueError: a file that is damaged or gone, or another run's.
    """
    state = _final(settings, folder)
    num_levels = int(records.read(folder)[0]["level"].max()) + 1
    rows = [parse(row) for row in records.rows_before(folder, num_levels)]
    return state, rows


def _final(settings: Mapping[str, Any], folder: Path | str) -> State:
    state, _ = _read(folder, FINAL, settings)
    if state is None:
        raise ValueError(
            f"{folder} holds a finished run without its network; choose another folder"
        )
    return state


def _read(
    folder: Path | str, name: str, settings: Mapping[str, Any]
) -> tuple[State | None, list[dict[str, str]]]:
    """Return a state and, as text, the rows of the levels before it."""
    try:
        arrays, numbers, rows = records.read_with_rows(folder, name, settings)
    except FileNotFoundError:
        return None, []
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, array in arrays.items():
        part, _, key = key.partition("/")
        parts[part][key] = torch.from_numpy(array)
    try:
        level, last = int(numbers["level"]), settings["levels"] + (name == FINAL)
        is_whole = level == numbers["level"] and 0 <= level <= last and parts["masks"]
        if not is_whole or not parts.keys() <= PARTS:
            raise ValueError
        references = {
            kind: Measured(
                numbers[f"accuracy of {kind}"],
                parts[f"flows of {kind}"],
                numbers[f"loss of {kind}"],
                influences=parts[f"influences of {kind}"],
            )
            for kind in REFERENCES
            if f"accuracy of {kind}" in numbers
        }
        if any(held.accuracy < 0 or held.accuracy > 1 for held in references.values()):
            raise ValueError  # NaN is the accuracy where targets are not classes
        start = Start(level, parts["masks"], parts["weights"])
        snapshot = parts["snapshot"] or None
        return State(start, snapshot, references, numbers["elapsed_s"], name == FINAL), rows
    except (KeyError, ValueError, TypeError, OverflowError):  # an infinite level
        raise ValueError(f"the state in {folder} is damaged; delete it to start anew") from None


__getattr__ = _moved.lookup("resuming", _moved.NAMES["resuming"])

"""Runs into folders: one run that goes on where it was killed, or many side by side."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from . import records
from .config import Config
from .imp import Row, State, run_imp

PARTS = ("masks", "weights", "references")


def run_one(
    config: Config,
    folder: Path | str,
    command: str = "",
    report: Callable[[Row], None] = lambda row: None,
) -> None:
    """Run a config into a folder; a run that was interrupted there goes on after its last level.

    Source: ours. Killed at any moment and started again, it ends with the same rows (but for their
    seconds), weights and masks, bit by bit, on one machine and thread count.

    Args:
        config: what to run.
        folder: for rows.csv, run.json and network.safetensors.
        command: the command line, for the record.
        report: called with every new row.

    Raises:
        ValueError: the folder holds another run, or a damaged file; nothing is guessed at.
        OSError: a full disk or a read-only folder; what was there is intact.
        FloatingPointError: training diverged.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> run_one(Config(levels=1, epochs=0, final_epochs=0), folder)
    >>> records.read(folder)[0]["density"].round(2).tolist()
    [1.0, 0.8]
    """
    settings = asdict(config)
    if records.begin(folder, settings):
        return
    state = _read_state(folder, settings)
    kept = records.rows_before(folder, state.level) if state else []
    rows: list[dict[str, Any]] = [*kept]
    saved_s = -math.inf

    def keep(now: State) -> None:
        parts = {part: getattr(now, part) for part in PARTS}
        tensors = {
            f"{p}/{k}": v.cpu().numpy() for p, named in parts.items() for k, v in named.items()
        }
        name = "state" if now.level <= config.levels else "network"
        if not rows:
            records.save(folder, settings, rows, command)
        records.save_tensors(
            folder,
            name,
            tensors,
            settings,
            level=now.level,
            target=now.target,
            elapsed_s=now.elapsed_s,
        )

    for row in run_imp(config, state, keep):
        rows.append(asdict(row))
        if row.stopped or time.monotonic() - saved_s > 1:
            records.save(folder, settings, rows, command)
            saved_s = time.monotonic()
        report(row)
    records.save(folder, settings, rows, command, finished=True)
    records.remove(folder, "state")


def _read_state(folder: Path | str, settings: dict[str, Any]) -> State | None:
    try:
        arrays, numbers = records.read_tensors(folder, "state", settings)
    except FileNotFoundError:
        return None
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in PARTS}
    try:
        for name, array in arrays.items():
            part, _, key = name.partition("/")
            parts[part][key] = torch.from_numpy(array)
        level = int(numbers["level"])
        if level != numbers["level"] or not 0 <= level <= settings["levels"]:
            raise ValueError
        return State(level, numbers["target"], numbers["elapsed_s"], **parts)
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"the state in {folder} is damaged; delete it to start anew") from None

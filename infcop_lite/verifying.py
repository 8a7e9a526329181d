"""Whether a folder still holds its run, by checksums and by training it again."""

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from . import ledger, records
from ._moved import ANNEAL
from .config import Config
from .identity import identity
from .loop import run
from .masks import density
from .resuming import about_start, finished
from .rows import SECONDS, Row, from_csv, to_csv
from .tree import State

#: Columns that may differ between two machines on which a run comes to the same.
ABOUT = (*SECONDS, "device", "torch", "commit")


def verify(folder: Path | str) -> list[str]:
    """Look at everything that a finished run has left; nothing is trained.

    Args:
        folder: of the run.

    Returns:
        What is wrong, one line each; nothing if rows, network and masks are as the run left them.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: a run that is not finished.

    >>> import tempfile; from .sweep import run_one
    >>> config = Config(levels=1, epochs=0, warmup_epochs=0)
    >>> run_one(config, folder := tempfile.mkdtemp()), verify(folder)
    (True, [])
    """
    settings = _settings(folder)
    try:
        state, rows = finished(settings, folder)
        ledger.starts(folder)
    except ValueError as error:  # a sum that is not right, a level that is not there
        return [str(error)]
    wrong = []
    kept, said = density(state.start.masks), rows[-1].density
    if kept != said:
        wrong.append(f"the masks keep {kept}, the last row says {said}")
    for name, mask in state.start.masks.items():
        if mask.shape != state.start.weights[name].shape or state.start.weights[name][~mask].any():
            wrong.append(f"{name} has weights that its mask has removed")
    densities = [row.density for row in rows if row.stopped]
    if sorted(densities, reverse=True) != densities:
        wrong.append("the density rises from one level to the next")
    return wrong


def replay(folder: Path | str, level: int | None = None) -> list[str]:
    """Train a run again, up to the end of one level, and compare it bit by bit.

    A level begins where the one before has ended, so that those before it are trained, too.

    Args:
        folder: of a finished run of a `Config`, by ``run`` or ``sweep``.
        level: the last to train; one at random unless given.

    Returns:
        What differs, one line each; where it does, what is not as it was then.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: one that is not finished, or that was made of a network, data or functions of
            one's own, which are not in its folder.
        OSError: its data set is not here.
    """
    config, num_levels = _config(folder), int(records.read(folder)[0]["level"].max()) + 1
    rows = records.rows_before(folder, num_levels)
    last = random.randrange(num_levels) if level is None else level
    made_with = (ledger.starts(folder) or [{}])[-1]
    config = replace(config, threads=config.threads or made_with.get("threads"))
    wanted = [row for row in rows if int(row["level"]) <= last]
    ended: list[State] = []
    again: list[Row] = []
    for row in run(config, keep=ended.append):
        if row.level > last:
            break
        again.append(row)
    wrong = _differing(wanted, again)
    if last == num_levels - 1 and not wrong:
        state, _ = finished(_settings(folder), folder)
        same = all(
            torch.equal(tensor, getattr(ended[-1].start, part)[name].cpu())
            for part in ("masks", "weights")
            for name, tensor in getattr(state.start, part).items()
        )
        wrong += [] if same else ["the final network differs"]
    others = ledger.differing(made_with, about_start(config.device, config.threads))
    return wrong + ([f"what differs here: {', '.join(others)}"] if wrong and others else [])


def _settings(folder: Path | str) -> dict[str, Any]:
    record = records.record(folder)
    if not record["finished"]:
        raise ValueError(f"{folder} holds a run that is not finished: start it again, it goes on")
    return dict(record["config"])


def _config(folder: Path | str) -> Config:
    """Return the config of a run, if that is all which decides it."""
    settings = _settings(folder)
    plain = dict(settings)
    if "anneal" in plain:
        plain |= ANNEAL.get(str(plain.pop("anneal")), {})
    try:
        config = Config(**plain)
        whole = identity(config) == settings
    except (TypeError, ValueError):  # "initial weights" is no setting, a rule of one's own no name
        whole = False
    if whole:
        return config
    raise ValueError(
        f"{folder} was made of a network, data or functions of your own, which are not in it."
        " Call prune again with the same arguments and another folder, and compare the two"
    )


def _differing(wanted: list[dict[str, str]], again: list[Row]) -> list[str]:
    """Name the first row that is not as it was, and its columns."""
    found = from_csv(to_csv([asdict(row) for row in again]))
    for old, new in zip(wanted, found, strict=False):
        if odd := sorted(k for k in old if k not in ABOUT and old[k] != new.get(k, "")):
            where = f"level {old['level']}, epoch {old['epoch']}"
            return [f"{where}: {odd[0]} was {old[odd[0]]}, is {new.get(odd[0])}"]
    if len(wanted) != len(found):
        return [f"level {wanted[-1]['level']}: {len(wanted)} rows were kept, {len(found)} are made"]
    return []

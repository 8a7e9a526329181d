"""Rows <-> CSV, tensors, and config, versions and seconds as JSON. Every write is atomic.

A run is a folder. ``run.json`` says what was run, ``rows.csv`` what came out, ``provenance.jsonl``
when and with what, a line for each start; ``network.safetensors`` holds the final network and its
masks. One process at a time is at work there.
"""

import csv
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from .ledger import STARTS, lock, replace, versions
from .rows import Row, from_csv, to_csv

# an unfinished run resumes from state.safetensors
ROWS, RUN, STATE = "rows.csv", "run.json", "state"
# pandas before 3.1 may lose a float's last bits unless told not to; later ones must not be told
EXACT = {"float_precision": "round_trip"} if pd.__version__ < "3.1" else {}


def begin(folder: Path | str, config: Mapping[str, Any]) -> bool:
    """Claim a folder for a run, and say whether that very run is already finished there.

    Source: one folder, one config; earlier results are never overwritten by another run. What a
    killed process has left behind is removed: half-written files, the state of a finished run.

    Args:
        folder: made if missing.
        config: the fields of the run's config, JSON values only.

    Returns:
        True if the folder holds this run, finished.

    Raises:
        ValueError: the folder holds another run's config, a file that is not a run's, or rows of a
            finished run that somebody has changed.
        OSError: the folder cannot be made or written to.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> begin(folder, {"seed": 0})
    False
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{folder} is a file, not a folder for results") from None
    if (folder / RUN).exists():
        held = record(folder)
        before = held["config"]
        if before != dict(config):
            differing = {k for k in before.keys() | config if before.get(k) != config.get(k)}
            raise ValueError(
                f"{folder} already holds another run; it differs in {', '.join(sorted(differing))}"
            )
        with suppress(OSError), lock(folder):  # nobody is at work there, and it may be written to
            _tidy(folder, finished=held["finished"])
        if held["finished"]:
            _text_of_rows(folder, held)
        return bool(held["finished"])
    if (folder / ROWS).exists():
        raise ValueError(f"{folder} holds a {ROWS} without a {RUN}; choose another folder")
    return False


def save(
    folder: Path | str,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    command: str = "",
    finished: bool = False,
    seconds: float | None = None,
    accelerator: str | None = None,
) -> None:
    """Write the rows so far, then the record beside them; each file is replaced in one step.

    Source: write to a temporary name, flush to disk, rename. A finished run keeps no state.

    Args:
        folder: one that `begin` has accepted.
        config: as for `begin`.
        rows: one mapping per check, all with the same keys, in order.
        command: the command line that made the run.
        finished: whether this is the whole run.
        seconds: that it took; what the last row says in ``elapsed_s`` unless given.
        accelerator: the name of the GPU, if one made the run.

    Raises:
        OSError: the disk is full or the folder read-only; the earlier files are intact.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save(folder, {"seed": 0}, [{"level": 0, "epoch": 1.0, "stopped": True}], finished=True)
    >>> read(folder)[0].epoch.tolist(), begin(folder, {"seed": 0})
    ([1.0], True)
    """
    folder = Path(folder)
    if seconds is None:
        seconds = rows[-1].get("elapsed_s", 0.0) if rows else 0.0
    about = {
        "command": command,
        "config": dict(config),
        "finished": finished,
        "seconds": seconds,
        "rows_sha256": "",
        "versions": versions(),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "accelerator": accelerator,
        },
    }
    as_csv = to_csv(rows)
    about["rows_sha256"] = hashlib.sha256(as_csv.encode("utf-8")).hexdigest()
    as_json = json.dumps(about, indent=2) + "\n"
    if not (folder / RUN).exists():  # claim a new folder first: rows without a record are refused
        replace(folder / RUN, json.dumps(about | {"finished": False}, indent=2) + "\n")
    replace(folder / ROWS, as_csv)
    replace(folder / RUN, as_json)
    if finished:
        _tidy(folder, finished=True)


def save_tensors(
    folder: Path | str,
    name: str,
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] = (),
    **numbers: float,
) -> None:
    """Write arrays and numbers of a run to one file, in one step.

    Source: safetensors: data only, nothing in it can execute.

    Args:
        folder: one that `begin` has accepted.
        name: of the file, without its ending.
        tensors: array name -> array.
        config: as for `begin`; `read_tensors` compares.
        rows: that belong to them, as for `save`: what is in one file cannot disagree.
        numbers: kept exactly, NaN included.

    Raises:
        OSError: the disk is full or the folder read-only; the earlier file is intact.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save_tensors(folder, "state", {"a": np.ones(2)}, {"seed": 0}, level=3)
    >>> read_tensors(folder, "state", {"seed": 0})
    ({'a': array([1., 1.])}, {'level': 3.0})
    """
    about = {"config": json.dumps(dict(config)), "numbers": json.dumps(numbers)}
    about["rows"] = to_csv(rows)
    about["sha256"] = _digest(tensors, about["numbers"] + about["rows"])
    in_order = {k: np.asarray(v, order="C") for k, v in tensors.items()}  # or it writes other bits
    replace(Path(folder) / f"{name}.safetensors", safetensors.numpy.save(in_order, about))


def read_tensors(
    folder: Path | str, name: str, config: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the arrays and the numbers that `save_tensors` wrote.

    Args:
        folder: the folder of the run.
        name: of the file, without its ending.
        config: the config of the run, which must be the one that the file names.

    Returns:
        Array name -> array, and name -> number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is cut off or damaged, or of another run.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save_tensors(folder, "state", {"a": np.ones(1)}, {"seed": 0}, level=3)
    >>> read_tensors(folder, "state", {"seed": 1})
    Traceback (most recent call last):
    ValueError: ...state.safetensors belongs to another run
    """
    tensors, numbers, _ = read_with_rows(folder, name, config)
    return tensors, numbers


def read_with_rows(
    folder: Path | str, name: str, config: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, float], list[dict[str, str]]]:
    """Return the arrays, the numbers and, as text, the rows that `save_tensors` wrote.

    Args:
        folder, name, config: as for `read_tensors`.

    Raises:
        FileNotFoundError, ValueError: as for `read_tensors`.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save_tensors(folder, "state", {}, {"seed": 0}, [{"level": 0, "epoch": 1.5}])
    >>> read_with_rows(folder, "state", {"seed": 0})[2]
    [{'level': '0', 'epoch': '1.5'}]
    """
    path = Path(folder) / f"{name}.safetensors"
    try:
        content = path.read_bytes()
        tensors = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length])["__metadata__"]
        numbers = {k: float(v) for k, v in json.loads(about["numbers"]).items()}
        held = json.loads(about["config"])
        rows = str(about.get("rows", ""))  # the first release had none there
        if about["sha256"] != _digest(tensors, about["numbers"] + rows):
            raise ValueError("a bit has changed")
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged; delete it to start the run anew") from None
    if held != dict(config):
        raise ValueError(f"{path} belongs to another run")
    return tensors, numbers, from_csv(rows)


def rows_before(folder: Path | str, level: int) -> list[dict[str, str]]:
    """Return the rows of the levels before one, as text, so that saving them again changes no bit.

    Args:
        folder: a run's folder.
        level: the first level that is left out.

    Raises:
        FileNotFoundError: no such run.
        ValueError: damaged rows, or an earlier level that has not ended.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> rows = [{"level": level, "stopped": True} for level in range(2)]
    >>> save(folder, {"seed": 0}, rows)
    >>> rows_before(folder, 1)
    [{'level': '0', 'stopped': 'True'}]
    """
    if level == 0:
        return []
    table, _ = read(folder)
    if not {"level", "stopped"} <= set(table):
        raise ValueError(f"{Path(folder) / ROWS} does not hold the rows of a run")
    text = (Path(folder) / ROWS).read_text(encoding="utf-8")
    earlier = [row for row in from_csv(text) if int(row["level"]) < level]
    ended = table.loc[table["stopped"].astype(bool), "level"].tolist() if len(table) else []
    if ended[:level] != list(range(level)):
        raise ValueError(f"{Path(folder) / ROWS} lacks rows of levels that are finished")
    return earlier


def read(folder: Path | str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of one run and the record beside them.

    Args:
        folder: a run's folder.

    Returns:
        One line per check, and the parsed run.json.

    Raises:
        FileNotFoundError: no such run.
        ValueError: a file that is damaged or not a run's.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save(folder, {"seed": 0}, [{"level": 0, "epoch": 1.0}])
    >>> rows, about = read(folder)
    >>> rows["epoch"].tolist(), about["config"], about["finished"]
    ([1.0], {'seed': 0}, False)
    """
    folder = Path(folder)
    about = record(folder)
    return as_table(_text_of_rows(folder, about), str(folder / ROWS)), about


def record(folder: Path | str) -> dict[str, Any]:
    """Return what run.json says of a run.

    Args:
        folder: a run's folder.

    Raises:
        FileNotFoundError: no such run.
        ValueError: a file that is damaged or not the record of a run.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save(folder, {"seed": 0}, [], command="python my_run.py")
    >>> record(folder)["command"]
    'python my_run.py'
    """
    path = Path(folder) / RUN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it is not JSON") from None
    found = {"finished": False} | found if isinstance(found, dict) else {}
    if not isinstance(found.get("config"), dict) or not isinstance(found["finished"], bool):
        raise ValueError(f"{path} is not the record of a run")
    return found


def _text_of_rows(folder: Path, about: Mapping[str, Any]) -> str:
    """Return rows.csv; that of a finished run is as the run left it, by the bit."""
    content = (folder / ROWS).read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder / ROWS} is damaged: {error}") from None
    wanted = about.get("rows_sha256")  # the first release had none
    if about["finished"] and wanted not in (None, hashlib.sha256(content).hexdigest()):
        as_table(text, str(folder / ROWS))  # a file that is cut off is named as such
        raise ValueError(
            f"{folder / ROWS} is not as the run left it: did a spreadsheet save it? Bring it back,"
            " or delete the folder to run anew"
        )
    return text


def as_table(text: str, where: str) -> pd.DataFrame:
    """Return the rows of a CSV file as a table, each column of the type that `Row` says.

    Args:
        text: of the file.
        where: its name, for messages.

    Raises:
        ValueError: rows that are cut off or of another type.

    >>> as_table("level,rule\\n0,mask\\n", "rows.csv")
       level  rule
    0      0  mask
    """
    try:
        widths = {len(cells) for cells in csv.reader(io.StringIO(text), strict=True)}
    except csv.Error as error:
        raise ValueError(f"{where} is damaged: {error}") from None
    if len(widths) != 1 or 0 in widths or not text.endswith("\n"):
        raise ValueError(f"{where} is damaged: it is cut off, or its rows differ in length")
    kinds = {k: kind for k, kind in Row.__annotations__.items() if kind in (bool, int, float)}
    words = [name for name in Row.__annotations__ if name not in kinds]
    table = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(words, str), **EXACT)
    table = table.fillna(dict.fromkeys(set(words) & set(table), ""))
    for name, kind in kinds.items():
        is_kind = pd.api.types.is_bool_dtype if kind is bool else pd.api.types.is_numeric_dtype
        if name in table and not is_kind(table[name]):
            raise ValueError(f"{where} is damaged: {name} is not of type {kind.__name__}")
    return table


def read_all(folders: Iterable[Path | str]) -> pd.DataFrame:
    """Return the rows of several runs as one table.

    Args:
        folders: the runs' folders.

    Raises:
        FileNotFoundError: as for `read`.
        ValueError: no folder given, or as for `read`.

    >>> import tempfile; folders = [tempfile.mkdtemp() for _ in range(2)]
    >>> for seed, folder in enumerate(folders):
    ...     save(folder, {"seed": seed}, [{"level": 0, "epoch": 1.0}])
    >>> len(read_all(folders))
    2
    """
    tables = [read(folder)[0] for folder in folders]
    if not tables:
        raise ValueError("no runs to read")
    return pd.concat(tables, ignore_index=True)


def _digest(tensors: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8"))
    for name in sorted(tensors):
        digest.update(name.encode("utf-8") + tensors[name].tobytes())
    return digest.hexdigest()


def _tidy(folder: Path, finished: bool) -> None:
    leftovers = [
        file for name in (ROWS, RUN, STARTS, "*.safetensors") for file in folder.glob(f".{name}.*")
    ]
    for file in [*leftovers, *([folder / f"{STATE}.safetensors"] if finished else [])]:
        with suppress(OSError):  # a folder that may only be read can still be asked
            file.unlink()

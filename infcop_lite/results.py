"""The tables of the experiments, where they are, their rows and what made each run.

A table is a folder. ``runs.csv`` has a line for each run, with what holds for all its rows; the
other CSV files have the rows. ``provenance.jsonl``, beside the tables, says how they were made.
"""

import base64
import html
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from . import records
from .collecting import collect, described
from .records import as_table

RUNS, PROVENANCE = "runs.csv", "provenance.jsonl"
#: What names a run; in tables of other things than stop rules there is no rule.
KEYS = ("family", "seed", "rule")


def results_folder(root: Path | str | None = None) -> Path:
    """Return the folder of the tables, ``root``, ``INFCOP_RESULTS_DIR`` or the clone's own.

    Args:
        root: takes precedence over both if given.

    >>> results_folder("tables").name
    'tables'
    """
    cloned = Path(__file__).parent.parent / "experiments" / "results"
    return Path(root or os.environ.get("INFCOP_RESULTS_DIR") or cloned)


def tables(root: Path | str | None = None) -> list[str]:
    """Return the names of the tables of stop rules that `read` can read, in alphabetical order.

    Args:
        root: as for `results_folder`.

    >>> import tempfile
    >>> tables(tempfile.mkdtemp())
    []
    """
    home = results_folder(root)
    tidy = {path.parent.name for path in home.glob(f"*/{RUNS}")}
    growing = {path.parent.parent.name for path in home.glob(f"*/*-*/{records.RUN}")}
    return sorted((tidy | growing) - {"neighbours", "own"})


def read(table: str, root: Path | str | None = None) -> pd.DataFrame:
    """Return the rows of all runs of one network, with columns family and seed.

    Source: ``experiments/results``, or folders of runs that are not gathered yet.

    Args:
        table: "mlp", "lenet5", "convnet", "resnet20" or another folder of results.
        root: where that folder is; ``INFCOP_RESULTS_DIR``, or the clone's own, unless given.

    Returns:
        Rows as `Row` has them; those of the first release lack some columns, not those that say
        which rule they are of.

    Raises:
        FileNotFoundError: no results there.
        ValueError: damaged ones.
    """
    folder = results_folder(root) / table
    if (folder / RUNS).exists():
        return _tidy(folder)
    found = sorted(path.parent for path in folder.glob(f"*/{records.RUN}"))
    if not found:
        raise FileNotFoundError(
            f"no results in {folder}; clone the repository, or set INFCOP_RESULTS_DIR"
        )
    return pd.concat([read_run(run) for run in found], ignore_index=True)


def rows_at(place: Path | str, root: Path | str | None = None) -> pd.DataFrame:
    """Return the rows of a table, or of any folder of runs, with data and model of each.

    Args:
        place: the name of a table; or a folder: one of tables' runs, as the experiments write them,
            of a sweep's, or of one run.
        root: where tables are; as for `results_folder`.

    Raises:
        FileNotFoundError: neither.
        ValueError: damaged rows.
    """
    folder = Path(place)
    if str(place) in tables(root):
        folder = results_folder(root) / str(place)
    elif (folder / records.RUN).exists():
        return collect([folder])
    found = sorted(path.parent for path in folder.glob(f"*/{records.RUN}"))
    if found and "setting" not in records.read(found[0])[0]:
        return collect(found)
    if not found and not (folder / RUNS).exists():
        known = ", ".join(tables(root)) or "none here"
        raise FileNotFoundError(f"{place} is no folder of runs and no table; tables are {known}")
    rows, made = read(folder.name, folder.parent), provenance(folder.name, folder.parent)
    configs = {split_name(name): record["config"] for name, record in made.items()}
    runs = list(zip(rows["family"], rows["seed"], strict=True))
    said = {name: [configs.get(run, {}).get(name) for run in runs] for name in ("data", "model")}
    return rows.assign(**said)


def read_run(folder: Path) -> pd.DataFrame:
    """Return the rows of one folder of runs, which is called family-seed.

    Raises:
        FileNotFoundError, ValueError: as for `read`.
    """
    rows, record = records.read(folder)
    family, seed = split_name(folder.name)
    own = {"family": family, "seed": seed, "warmup_epochs": record["config"]["warmup_epochs"]}
    return described(rows, record).assign(**own)


def split_name(name: str) -> tuple[str, int]:
    """Return the family and the seed that the name of a run's folder says; seed 0 where none.

    >>> split_name("long-warmup-3"), split_name("resnet18")
    (('long-warmup', 3), ('resnet18', 0))
    """
    family, _, seed = name.rpartition("-")
    return (family, int(seed)) if family and seed.isdecimal() else (name, 0)


def provenance(table: str, root: Path | str | None = None) -> dict[str, dict[str, Any]]:
    """Return the command, config, versions and seconds behind each folder of a table.

    Args:
        table, root: as for `read`.

    Returns:
        Name of the folder, such as "fixed-0" -> its run.json; empty where nothing lies.

    Raises:
        ValueError: a damaged file.
    """
    home = results_folder(root)
    if (home / PROVENANCE).exists():
        lines = read_provenance(home)
        return {
            name.removeprefix(f"{table}/"): line["record"]
            for name, line in lines.items()
            if name.startswith(f"{table}/")
        }
    found = sorted((home / table).glob(f"*/{records.RUN}"))
    return {path.parent.name: records.read(path.parent)[1] for path in found}


def read_provenance(home: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a folder of tables, by the names of the runs, such as "mlp/fixed-0".

    Raises:
        ValueError: a damaged file.
    """
    path = home / PROVENANCE
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(line["run"]): dict(line) for line in found}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path} is damaged: it does not hold one run a line") from None


def download_link(table: pd.DataFrame, name: str) -> str:
    """Return an HTML link that saves a table as CSV out of the page itself.

    Source: data URLs, RFC 2397.

    Args:
        table: any; its index is left out.
        name: of the file.

    >>> download_link(pd.DataFrame({"a": [1]}), "a.csv")
    '<a download="a.csv" href="data:text/csv;base64,YQoxCg==">a.csv</a>'
    """
    content = base64.b64encode(table.to_csv(index=False).encode("utf-8")).decode("ascii")
    said = html.escape(name)
    return f'<a download="{said}" href="data:text/csv;base64,{content}">{said}</a>'


def _tidy(folder: Path) -> pd.DataFrame:
    runs = as_table((folder / RUNS).read_text(encoding="utf-8"), str(folder / RUNS))
    found = (path for path in folder.glob("*.csv") if path.name != RUNS)
    parts = sorted(found, key=lambda path: path.stem)
    rows = pd.concat(
        [as_table(path.read_text(encoding="utf-8"), str(path)) for path in parts],
        ignore_index=True,
    )
    keys = [name for name in KEYS if name in rows]
    try:
        merged = rows.merge(runs, how="left", on=keys, validate="many_to_one", indicator="found")
    except (pd.errors.MergeError, KeyError) as error:
        raise ValueError(f"{folder / RUNS} is damaged: {' '.join(str(error).split())}") from None
    if not (merged["found"] == "both").all():
        raise ValueError(f"{folder / RUNS} is damaged: it lacks runs that have rows")
    return merged.drop(columns="found")

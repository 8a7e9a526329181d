"""Finished runs -> the tidy tables under experiments/results; and back to the folders they were.

make gather                                   what is finished under runs/tables joins the tables
.venv/bin/python experiments/gather.py --restore mlp   folders of runs under runs/tables, bit by bit

A run that is in the tables stays there, row by row; only one that `dropped.txt` names, with the
reason, may go. Nothing is written unless every folder comes back from it exactly as it was.
"""

import argparse
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from infcop_lite import labels, records, results
from infcop_lite.collecting import described
from infcop_lite.ledger import STARTS, replace
from infcop_lite.rows import from_csv, to_csv

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
RUNS = ROOT / "runs" / "tables"  # where runs grow: <table>/<family>-<seed>
DROPPED, MASKS = "dropped.txt", "masks.zip"
LARGEST = 2**20  # bytes of a file of rows; what is larger is parted by family, then by seed
OF_A_FOLDER = (records.ROWS, records.RUN, STARTS, f"{labels.FULL}.safetensors")
#: Columns of `Row` that say the same in all rows of a run, and what tables add to them.
OF_A_RUN = (
    *("data", "model", *labels.COLUMNS, "setting", "rewind", "amount", "scope"),
    *("gradient_probe", "warmup_epochs", "device", "threads", "torch", "commit"),
)

#: Name of a file -> what is in it.
Files = dict[str, bytes]
Cells = dict[str, str]
Key = tuple[str, ...]

ASK = "delete it under runs/tables, or name it in dropped.txt with the reason"


class Lost(ValueError):
    """A result that was in the tables and no longer would be; its text says which."""


def finished(runs: Path) -> dict[str, Files]:
    """Return table/family-seed -> the files of each finished run under a folder."""
    found = {}
    for path in sorted(runs.glob(f"*/*/{records.RUN}")):
        if json.loads(path.read_bytes())["finished"]:
            files = [path.with_name(name) for name in OF_A_FOLDER]
            run = "/".join(path.parts[-3:-1])
            found[run] = {file.name: file.read_bytes() for file in files if file.exists()}
    return found


# --- a table <-> its runs ---


def pack(runs: Mapping[str, Files]) -> Files:
    """Return the files of one table, such as "fixed.csv"; and its lines of provenance.

    Raises:
        ValueError: a column that `OF_A_RUN` names and that differs within a run.
    """
    lines: list[dict[str, Any]] = []
    of_runs: dict[Key, Cells] = {}
    tables: dict[tuple[str, int], list[Cells]] = {}
    for name, files in runs.items():
        family, seed = results.split_name(name.partition("/")[2])
        rows = from_csv(files[records.ROWS].decode())
        lines.append({"run": name, "columns": list(rows[0]), **provenance(files)})
        own = {"family": family, "seed": str(seed)}
        said = _said(name, files)
        for row in rows:
            of_run = said[row.get("rule", "")] | {k: row[k] for k in OF_A_RUN if k in row}
            of_run = own | {k: row[k] for k in row if k == "rule"} | of_run
            if of_runs.setdefault(_key(of_run), of_run) != of_run:
                raise ValueError(f"{name}: rows of {_key(of_run)} differ in one of {OF_A_RUN}")
        varying = [own | {k: v for k, v in row.items() if k not in OF_A_RUN} for row in rows]
        tables[family, seed] = varying
    packed = {results.RUNS: _as_csv(of_runs.values()).encode()}
    packed |= _parted(tables) | _zipped(runs)
    packed[results.PROVENANCE] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return packed


def _parted(tables: Mapping[tuple[str, int], list[Cells]]) -> Files:
    """Return the rows in one file, or, where that is too large, by family, or by seed."""
    for name in ("rows", "{0}", "{0}-{1}"):
        parts: dict[str, list[Cells]] = {}
        for key, rows in tables.items():
            parts.setdefault(name.format(*key), []).extend(rows)
        files = {f"{part}.csv": _as_csv(rows).encode() for part, rows in parts.items()}
        if max(len(content) for content in files.values()) <= LARGEST:
            break
    return files


def unpack(files: Mapping[str, bytes]) -> dict[str, Files]:
    """Return the runs that `pack` was given."""
    of_runs = {_key(row): row for row in from_csv(files[results.RUNS].decode())}
    tables: dict[Key, list[Cells]] = {}
    for name in files:
        if name.endswith(".csv") and name != results.RUNS:
            for row in from_csv(files[name].decode()):
                key = row["family"], row["seed"]
                tables.setdefault(key, []).append(of_runs[_key(row)] | row)
    runs = {}
    for text in files[results.PROVENANCE].decode().splitlines():
        line = json.loads(text)
        family, seed = results.split_name(line["run"].partition("/")[2])
        rows = [{k: row[k] for k in line["columns"]} for row in tables[family, str(seed)]]
        run = {records.ROWS: to_csv(rows).encode()}
        run[records.RUN] = (json.dumps(line["record"], indent=2) + "\n").encode()
        if "starts" in line:
            run[STARTS] = "".join(json.dumps(start) + "\n" for start in line["starts"]).encode()
        runs[line["run"]] = run
    if MASKS in files:
        with zipfile.ZipFile(io.BytesIO(files[MASKS])) as held:
            for member in held.namelist():
                run_name, _, file = member.rpartition("/")
                runs[run_name][file] = held.read(member)
    return runs


def _key(row: Mapping[str, str]) -> Key:
    return tuple(row[name] for name in results.KEYS if name in row)


def provenance(files: Files) -> dict[str, Any]:
    """Return how a run was made: its record, and, where it is known, each of its starts."""
    said: dict[str, Any] = {"record": json.loads(files[records.RUN])}
    if STARTS in files:
        said["starts"] = [json.loads(line) for line in files[STARTS].splitlines()]
    return said


def _said(name: str, files: Files) -> dict[str, Cells]:
    """Return what the record of a run says of its rules, for rows that do not say it themselves."""
    record = json.loads(files[records.RUN])
    rows = described(records.as_table(files[records.ROWS].decode(), name), record)
    rows["warmup_epochs"] = record["config"]["warmup_epochs"]
    wanted = [k for k in (*labels.COLUMNS, "device", "warmup_epochs") if k in rows]
    first = rows.drop_duplicates("rule") if "rule" in rows else rows.head(1)
    texts = from_csv(to_csv(first[wanted].to_dict("records")))
    return dict(zip(first["rule"] if "rule" in rows else [""], texts, strict=True))


def _as_csv(rows: Iterable[Cells]) -> str:
    """Return rows as text; a column that a row lacks is empty."""
    rows = list(rows)
    blank = dict.fromkeys((name for row in rows for name in row), "")
    return to_csv([blank | row for row in rows])


def _zipped(runs: Mapping[str, Files]) -> Files:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for run, files in runs.items():
            for name in files:
                if name.endswith(".safetensors"):
                    archive.writestr(zipfile.ZipInfo(f"{run}/{name}"), files[name], compresslevel=9)
        empty = not archive.namelist()
    return {} if empty else {MASKS: target.getvalue()}


# --- all tables ---


def read(home: Path = RESULTS) -> dict[str, Files]:
    """Return table/family-seed -> the files of every run in a folder of tables.

    Raises:
        ValueError: tables that are damaged, or that a kill left half-written.
    """
    if not (home / results.PROVENANCE).exists():
        return {}
    lines = results.read_provenance(home)
    found: dict[str, Files] = {}
    for table in dict.fromkeys(name.partition("/")[0] for name in lines):
        own = [json.dumps(line) for name, line in lines.items() if name.startswith(f"{table}/")]
        files = {path.name: path.read_bytes() for path in (home / table).iterdir()}
        try:
            found |= unpack(files | {results.PROVENANCE: "\n".join(own).encode()})
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{home / table} does not fit {results.PROVENANCE}: {error}") from None
    return found


def gather(runs: Path = RUNS, home: Path = RESULTS) -> list[str]:
    """Write what is finished under `runs` into the tables; return the names of runs that changed.

    Raises:
        Lost: a run, or a row of one, that was there and no longer would be.
        ValueError: a folder that would not come back as it was, or damaged tables.
    """
    held, dropped = read(home), named(home)
    kept = {name: files for name, files in held.items() if name not in dropped}
    fresh = {name: files for name, files in finished(runs).items() if name not in dropped}
    check_nothing_is_lost(held, kept | fresh, dropped)
    changed = sorted(name for name in held | fresh if held.get(name) != (kept | fresh).get(name))
    whole = dict(sorted((kept | fresh).items(), key=_in_order))
    packed = {}
    for table in dict.fromkeys(name.partition("/")[0] for name in whole):
        own = {name: files for name, files in whole.items() if name.startswith(f"{table}/")}
        packed[table] = pack(own)
        if unpack(packed[table]) != own:
            raise ValueError(f"{table} would not come back as it was; nothing is written")
    lines = b"".join(files.pop(results.PROVENANCE) for files in packed.values())
    for table, files in packed.items():
        (home / table).mkdir(parents=True, exist_ok=True)
        write(home / table, files)
        for path in (home / table).iterdir():
            if path.name not in files:
                path.unlink()
    replace(home / results.PROVENANCE, lines)
    return changed


def _in_order(item: tuple[str, Files]) -> tuple[str, str, int]:
    table, _, name = item[0].partition("/")
    return table, *results.split_name(name)


def check_nothing_is_lost(
    before: Mapping[str, Files], after: Mapping[str, Files], dropped: Mapping[str, str]
) -> None:
    """Compare row by row; a cell that was empty may be filled, and rows may be added.

    Raises:
        Lost: that names the first run, or rule of a run, that `dropped` does not.
    """
    for name, files in before.items():
        if name in dropped:
            continue
        if name not in after:
            raise Lost(f"{name} would be lost; {ASK}")
        if files == after[name]:
            continue
        now = _by_rule(after[name])
        for rule, rows in _by_rule(files).items():
            found = now.get(rule, [])
            same = len(rows) == len(found) and all(
                value in ("", new.get(key)) for old, new in zip(rows, found, strict=True)
                for key, value in old.items()
            )  # fmt: skip
            if not same and f"{name}: {rule}" not in dropped:
                raise Lost(f"{name}: {rule!r} would change; {ASK}")


def _by_rule(files: Files) -> dict[str, list[Cells]]:
    rows = from_csv(files[records.ROWS].decode())
    rules = dict.fromkeys(row.get("rule", "") for row in rows)
    return {rule: [row for row in rows if row.get("rule", "") == rule] for rule in rules}


def named(home: Path = RESULTS) -> dict[str, str]:
    """Return the runs, or "run: rule", that were dropped on purpose -> why.

    Raises:
        ValueError: a line without a reason.
    """
    path, dropped = home / DROPPED, {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        if line and not line.startswith("#"):
            name, *reason = re.split(r"\s{2,}", line.strip(), maxsplit=1)
            if not reason:
                raise ValueError(f"{path}: {name!r} needs a reason, after two spaces")
            dropped[name] = reason[0]
    return dropped


def restore(wanted: Callable[[str], bool], runs: Path = RUNS, home: Path = RESULTS) -> list[str]:
    """Write the folders of gathered runs as they were, where they are not; return their names."""
    written = []
    for name, files in read(home).items():
        if wanted(name) and not (runs / name / records.RUN).exists():
            write(runs / name, files)
            written.append(name)
    return written


def write(folder: Path, files: Files) -> None:
    """Write files, the record of a run last: rows without one are not a run's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == records.RUN):
        replace(folder / name, files[name])


def main() -> int:
    parser = argparse.ArgumentParser(description="Finished runs <-> experiments/results.")
    parser.add_argument("--restore", nargs="*", metavar="TABLE", help="all tables if none is named")
    options = parser.parse_args()
    try:
        if options.restore is None:
            names, word = gather(), "gathered"
        else:
            tables = set(options.restore)
            names = restore(lambda name: not tables or name.partition("/")[0] in tables)
            word = "restored"
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(*names, f"{len(names)} {word}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

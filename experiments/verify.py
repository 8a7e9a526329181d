"""Make some rules of a committed run again, elsewhere, and say where they come out otherwise.

make verify TABLE=mlp-replay RUN=fixed-0 RULES="k = 0,k = 0.5"

Nothing under runs or experiments/results is touched. The exit code is 1 if any number differs in
the six digits that tables hold. What depends on full retraining beside the rules is measured when
full retraining is among them. Seconds, threads and versions are no results and not compared.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gather
import tables
import torch

from infcop_lite import ledger, records, results
from infcop_lite.labels import FULL
from infcop_lite.rows import SECONDS, from_csv, to_csv

NO_RESULTS = {*SECONDS, "device", "threads", "torch", "commit"}
#: How the two are told apart: by the code of then, on this processor.
FIRST = """    They differ from the first row on, before any rule was asked: this processor adds up
    otherwise than that one, or the code has changed. The code of then, commit {}, would tell."""

Cells = Mapping[str, str]


def chosen(text: str, known: Sequence[str]) -> list[str]:
    """Return the rules that a text names, separated by commas, which names may hold, too.

    Raises:
        ValueError: a rule that is not known.

    >>> chosen("k = 0,gradient 0.5, published", ["k = 0", "gradient 0.5, published"])
    ['k = 0', 'gradient 0.5, published']
    """
    words, found = text.split(","), []
    while words:
        for number in range(len(words), 0, -1):
            if (name := ",".join(words[:number]).strip()) in known:
                break
        else:
            raise ValueError(f"no rule {words[0].strip()!r} there; choose from {'; '.join(known)}")
        found.append(name)
        words = words[number:]
    return found


def again(run: str, rules: Sequence[str], files: gather.Files, folder: Path) -> list[Cells]:
    """Make some rules of a run in an empty folder; return their rows, as text.

    Args:
        run: such as "mlp/fixed-0".
        rules: labels.
        files: that the tables hold of that run; masks of its full retraining, above all.
        folder: to work in.
    """
    table, _, name = run.partition("/")
    family, seed = results.split_name(name)
    configs = tables.configs_of(table, family, seed, "cpu")
    configs = {rule: configs[rule] for rule in dict.fromkeys([FULL, *rules])}
    every_check = tables.TABLES[table][family].every_check
    if FULL not in rules:
        own = [row for row in from_csv(files[records.ROWS].decode()) if row["rule"] == FULL]
        record = json.loads(files[records.RUN])
        record.pop("rows_sha256", None)  # of all the rows; these are some of them
        some = {records.ROWS: to_csv(own).encode(), records.RUN: json.dumps(record).encode()}
        gather.write(folder, dict(files) | some)
    about = tables.settings_of(folder, configs[FULL])
    records.begin(folder, about)
    tables.complete(folder, about, configs, every_check)
    made = from_csv((folder / records.ROWS).read_text("utf-8"))
    return [row for row in made if row["rule"] in rules]


def differences(then: Sequence[Cells], now: Sequence[Cells]) -> tuple[list[str], int, bool]:
    """Compare the rows of one rule.

    Returns:
        What differs, a line each; how many cells are the same; and whether they differ from the
        first row on.

    >>> row = {"level": "1", "train_loss": "0.5", "train_s": "3"}
    >>> differences([row], [row | {"train_loss": "0.500001", "train_s": "4"}])
    (['level 1, epoch ?: train_loss 0.5 then, 0.500001 now'], 1, True)
    """
    lines, same, from_the_first = [], 0, False
    if len(then) != len(now):
        lines = [f"{len(then)} rows then, {len(now)} now"]
    for place, (old, new) in enumerate(zip(then, now, strict=False)):
        names = [k for k in old if k in new and k not in NO_RESULTS and old[k] and new[k]]
        other = [k for k in names if not _equal(old[k], new[k])]
        same += len(names) - len(other)
        from_the_first |= bool(other) and place == 0
        where = f"level {old['level']}, epoch {old.get('epoch', '?')}"
        lines += [f"{where}: {k} {old[k]} then, {new[k]} now" for k in other]
    return lines, same, from_the_first


def _equal(a: str, b: str) -> bool:
    try:
        return float(a) == float(b) or (math.isnan(float(a)) and math.isnan(float(b)))
    except ValueError:
        return a == b


def here_and_there(files: gather.Files, rules: Sequence[str], rows: Sequence[Cells]) -> str:
    """Say with what the rows were made and with what they are made now; nothing if it is the same.

    Args:
        files: of the run.
        rules: that are compared.
        rows: of the run, that may say their device.
    """
    record, starts = gather.provenance(files)["record"], gather.provenance(files).get("starts", [])
    made = [start for start in starts if set(start["rules"]) & set(rules)]
    source = made[-1] if made else record
    devices = {row.get("device") or record["machine"].get("accelerator") or "cpu" for row in rows}
    then = {"device": " and ".join(sorted(devices)), "torch": source["versions"]["torch"]}
    now = {"device": "cpu", "torch": ledger.versions()["torch"]}
    then["instructions"] = source.get("instructions", "not recorded")
    now["instructions"] = torch.backends.cpu.get_cpu_capability()
    autocast = record["config"].get("autocast", "none")
    then["digest of sums"] = source.get("sums", "")
    now["digest of sums"] = tables.sums("cpu", autocast)
    other = [f"{k} {v} then, {now[k]} now" for k, v in then.items() if v not in ("", now[k])]
    return f"made otherwise: {'; '.join(other)}" if other else ""


def verify(run: str, text: str, most: int = 5) -> int:
    """Print what some rules of a run come to now and how that differs; return the exit code.

    Raises:
        ValueError: no such run or rule, or the data are not there.
    """
    held = gather.read(gather.RESULTS)
    if run not in held:
        table = run.partition("/")[0]
        own = [name for name in held if name.startswith(f"{table}/")]
        known = own or sorted({name.partition("/")[0] for name in held})
        raise ValueError(f"no run {run} in the tables; choose from {', '.join(known)}")
    rows: list[dict[str, Any]] = from_csv(held[run][records.ROWS].decode())
    if run.partition("/")[0] not in tables.TABLES or "rule" not in rows[0]:
        raise ValueError(f"{run} holds no stop rules, which alone are made again here")
    rules = chosen(text, list(dict.fromkeys(row["rule"] for row in rows)))
    then = [row for row in rows if row["rule"] in rules]
    note = here_and_there(held[run], rules, then)
    print(f"{run}{': ' + note if note else ''}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        now = again(run, rules, held[run], Path(scratch) / run)
    code = 0
    for rule in rules:
        lines, same, from_the_first = differences(
            *([row for row in of if row["rule"] == rule] for of in (then, now))
        )
        code = max(code, int(bool(lines)))
        print(f"{rule}: {same} numbers the same, {len(lines)} not")
        for line in lines[:most]:
            print(f"    {line}")
        if from_the_first:
            commits = {row.get("commit") for row in then if row["rule"] == rule}
            print(FIRST.format(" or ".join(filter(None, commits)) or "not recorded"))
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Make rules of a committed run again; compare.")
    parser.add_argument("table", help="such as mlp-replay")
    parser.add_argument("run", help="a folder of that table, such as fixed-0")
    parser.add_argument("rules", help="labels, separated by commas")
    options = parser.parse_args()
    try:
        return verify(f"{options.table}/{options.run}", options.rules)
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

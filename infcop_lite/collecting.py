"""Collect folders of runs, whatever wrote them, into one table."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import labels, records
from .limits import expect

#: Columns that `evidence.final` reads and that a run may lack.
MAY_LACK = ("test_accuracy", "validation_accuracy", "density", "overlap", "train_s", "measure_s")
#: Columns in which a run that is there twice must agree.
SAME = ("level", "epoch", "density", "validation_accuracy", "test_accuracy")


def with_device(rows: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows that say on which device each was made, a GPU by its name.

    Source: the column, or, in a folder that was made on one device, its record.

    Args:
        rows, record: as `records.read` gives them.

    >>> with_device(pd.DataFrame({"level": [0]}), {"machine": {"cpus": 2}})
       level device
    0      0    cpu
    """
    if "device" in rows:
        return rows
    return rows.assign(device=record["machine"].get("accelerator") or "cpu")


def described(rows: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows that say which rule each is of, and on which device it was made.

    Args:
        rows, record: as `records.read` gives them.

    Raises:
        ValueError: as for `labels.with_rules`.

    >>> rows = pd.DataFrame({"rule": ["mask"], "kind": ["mask"], "level": [0]})
    >>> described(rows, {"config": {}, "machine": {}})[["rule", "device"]]
       rule device
    0  mask    cpu
    """
    return with_device(labels.with_rules(rows, record["config"]), record)


def collect(folders: Iterable[Path | str] | Path | str) -> pd.DataFrame:
    """Return the rows of all runs in some folders, as `evidence.final` takes them.

    A folder is one run of `sweep.run_one`, `sweep.run_many`, `prune` or the command line, or
    several rules on one network, as the experiments write them.

    Args:
        folders: the folders of the runs, or one folder that holds them all, such as a sweep's.

    Returns:
        Rows as `evidence.read` gives them. A run that is there twice, with the same rows, is taken
        once. Three columns say what a row is of.

        - ``family`` names the settings in which the runs differ, such as "warmup_epochs=8". Rule,
          seed, device, threads and monitor are left out. It is "all" if nothing differs.
        - ``rule`` is the label in the rows. Where two rules have one label, it also names their
          settings, such as "information, epsilon=0.5".
        - ``warmup_epochs`` are the epochs before level 0. Together with those of all levels they
          make the epochs in all, also with ``dense_epochs``.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: a run that is damaged or not finished, or one that is there twice with different
            rows.

    >>> import tempfile; folder = Path(tempfile.mkdtemp())
    >>> rows = [{"rule": "mask", "kind": "mask", "level": 0, "epoch": 1.0, "stopped": True}]
    >>> for seed in (0, 1):
    ...     config = {"seed": seed, "warmup_epochs": 2}
    ...     begun = records.begin(folder / str(seed), config)
    ...     records.save(folder / str(seed), config, rows, finished=True)
    >>> collect(folder)[["family", "rule", "seed", "warmup_epochs"]]
      family  rule  seed  warmup_epochs
    0    all  mask     0              2
    1    all  mask     1              2
    """
    if isinstance(folders, str | Path):
        home = Path(folders)
        folders = sorted(path.parent for path in home.glob(f"*/{records.RUN}"))
        if not folders:
            raise FileNotFoundError(f"no runs in {home}")
    expect("folders", folders, Iterable, "a path, or several")
    runs, configs = [], []
    for folder in folders:
        expect("a folder", folder, (str, PathLike), "a path")
        rows, record = records.read(folder)
        if not record["finished"]:
            raise ValueError(f"{folder} is not finished; the same command again goes on")
        own = {n: record["config"][n] for n in ("seed", "warmup_epochs") if n in record["config"]}
        if missing := {"seed", "warmup_epochs", "level"} - {*own, *rows}:
            raise ValueError(f"{folder} holds no run: {', '.join(sorted(missing))} is not there")
        rows = described(rows, record).assign(**own)
        rows = rows.assign(**{name: np.nan for name in MAY_LACK if name not in rows})
        for rule, group in rows.groupby(rows.get("rule", rows.get("stop")), sort=False):
            runs.append((folder, group.assign(rule=rule)))
            configs.append(record["config"])
    if not runs:
        raise ValueError("no runs to collect")
    rules = [_rule_of(group, config) for (_, group), config in zip(runs, configs, strict=True)]
    named = zip(runs, _families(configs), labels.tell_apart(rules), strict=True)
    kept: dict[tuple[str, str, int], tuple[Any, pd.DataFrame]] = {}
    for (folder, group), family, rule in named:
        group = group.assign(family=family, rule=rule).reset_index(drop=True)
        key = family, rule, int(group["seed"].iloc[0])
        other, twin = kept.setdefault(key, (folder, group))
        if not twin[[*SAME]].equals(group[[*SAME]]):
            raise ValueError(f"{other} and {folder} hold the same run with other rows")
    return pd.concat([group for _, group in kept.values()], ignore_index=True)


def _rule_of(rows: pd.DataFrame, config: Mapping[str, Any]) -> dict[str, Any]:
    rule = {name: rows[name].iloc[0] for name in ("rule", *labels.RULE) if name in rows}
    is_its_own = str(config.get("stop")) == rule.get("stop")  # not a folder of many rules
    if is_its_own:
        names = set(str(config["stop"]).split("+"))
        rule |= {k: config.get(k) for k, of in labels.MORE.items() if of & names}
    return rule


def _families(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    left_out = {*labels.RULE, "seed", "threads", "device", "monitor"}
    names = dict.fromkeys(name for config in configs for name in config if name not in left_out)
    differ = [n for n in names if len({str(config.get(n, "")) for config in configs}) > 1]
    return [
        ", ".join(f"{n}={config[n]}" if n in config else f"no {n}" for n in differ) or "all"
        for config in configs
    ]

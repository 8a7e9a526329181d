"""The controls of a rule that looks: timetables, told beforehand, for the same epochs.

"replay of <rule>": on one seed, the mean of the epochs after which the rule ended each level on the
*other* seeds. Whoever replays knows when others stopped, and nothing of this network: a rule that
does no better gains nothing by looking.

"late like <rule>": as many epochs in all as the replay, the last level 8 times as many as the first
and a constant factor between levels. It knows no more of the rule than what it costs.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from infcop_lite import evidence
from infcop_lite.labels import FULL
from infcop_lite.stopping import Schedule

LATE = 8  # epochs of the last level that a rule ends, in units of those of the first

Rules = Mapping[str, Mapping[str, Any]]


def adaptive(rules: Rules) -> list[str]:
    """Return the names of the rules that do not know beforehand when they stop.

    >>> adaptive({"k = 1": {"stop": Schedule((1.0,))}, "accuracy": {"stop": "accuracy"}})
    ['accuracy']
    """
    return [name for name, rule in rules.items() if not hasattr(rule["stop"], "length")]


def gathered(table: str, family: str, root: Path) -> pd.DataFrame:
    """Return the rows of one family that are in the tables; none if the table is not there."""
    try:
        rows = evidence.read(table, root)
    except FileNotFoundError:
        return pd.DataFrame(columns=["family", "rule", "seed", "level", "epoch", "stopped"])
    return rows[rows["family"] == family]


def controls(
    rows: pd.DataFrame, rules: Rules, seeds: Sequence[int], seed: int, late: Sequence[str] = ()
) -> Rules:
    """Return the controls of one seed, under their names.

    A rule has none before its rows on all seeds are there: with those of some, its timetable would
    change with every seed that comes. So a family that is replayed keeps the seeds that it has.

    Args:
        rows: of one family, as `gathered` gives them, with every check of full retraining.
        rules: of which the adaptive ones are replayed.
        seeds: all that the family of these rows has.
        seed: the one that is told when the others stopped; it may be another family's.
        late: rules that get the geometric timetable, too.
    """
    found: dict[str, Any] = {}
    ends = rows[rows["stopped"].astype(bool)]
    for name in adaptive(rules):
        own = ends[ends["rule"] == name]
        if set(seeds) <= set(own["seed"]):
            times, mean = checks(rows), mean_of_others(own[own["seed"].isin(seeds)], seed)
            found[f"replay of {name}"] = timetable(mean, times)
            if name in late:
                found[f"late like {name}"] = timetable(geometric(mean, times[-1]), times)
    return found


def mean_of_others(ends: pd.DataFrame, seed: int) -> list[float]:
    """Return the mean epochs of each level but the last, over all seeds but one.

    Args:
        ends: of one rule: a line for each seed and level, with the epoch at which it stopped.
        seed: the one to leave out.

    Raises:
        ValueError: no other seeds, or seeds with unequal numbers of levels.

    >>> ends = pd.DataFrame({"seed": [0, 0, 1, 1, 2, 2], "level": [0, 1] * 3})
    >>> mean_of_others(ends.assign(epoch=[9.0, 8.0, 1.0, 8.0, 2.0, 8.0]), 0)
    [1.5]
    """
    wide = ends[ends["seed"] != seed].pivot(index="level", columns="seed", values="epoch")
    if wide.empty or wide.isna().any(axis=None):
        raise ValueError(f"no timetable for seed {seed}: no others, or they differ in their levels")
    return [float(mean) for mean in wide.sort_index().iloc[:-1].mean(axis=1)]


def checks(rows: pd.DataFrame) -> list[float]:
    """Return the epochs at which a level that a rule ends is looked at."""
    full = rows[rows["rule"] == FULL]
    last = full.groupby("seed")["level"].transform("max")
    asked = (full["level"] < last) & (full["epoch"] > 0)  # no rule that looks stops before
    return sorted(full.loc[asked, "epoch"].unique())


def geometric(mean: Sequence[float], most: float) -> list[float]:
    """Return the timetable of as many epochs that grows by a constant factor, at most to a budget.

    >>> [round(n, 2) for n in geometric([3.0, 3.0, 3.0, 3.0], most=8.0)]
    [0.8, 1.6, 3.2, 6.4]
    """
    weights = LATE ** np.linspace(0, 1, len(mean))

    def excess(scale: float) -> float:
        return float(np.minimum(scale * weights, most).sum() - sum(mean))

    scale = most if excess(most) <= 0 else optimize.brentq(excess, 0, most)
    return [float(n) for n in np.minimum(scale * weights, most)]


def timetable(epochs: Sequence[float], times: Sequence[float]) -> dict[str, Any]:
    """Return the schedule whose levels end at the nearest checks, under the name of its setting.

    What rounding adds to one level, the next is given less: the totals agree within half a gap
    between checks. Tables hold six digits of a check's time; a thousandth of an epoch below it
    `Schedule` stops there.

    >>> timetable([1.2, 1.2, 1.2], [0.0, 1.0, 2.0])
    {'stop': Schedule(epochs=(1.0, 1.0, 2.0))}
    """
    done, left = [], 0.0
    for wanted in epochs:
        nearest = min(times, key=lambda time: abs(time - wanted - left))
        left += wanted - nearest
        done.append(math.floor(1000 * nearest) / 1000)
    return {"stop": Schedule(tuple(done))}

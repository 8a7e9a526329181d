"""Runs of one family and seed, held against each other: the pairs that verdicts are made of.

A pair is two networks that began with the same weights and saw the same data in the same order.
Both end at the same density, or they are no pair; nor are they if one of them is known to have
begun ``apart``. Each function returns a line for each of them, with family, rule and seed.
``gain`` is the accuracy of the rule less that of what it is held against. ``runs`` is the variance
of that gain in units of that of one run.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from . import labels

COLUMNS = {"family": str, "rule": str, "seed": int, "gain": float, "runs": float}
#: Final densities that differ by less, in units of one of them, are equal up to rounding.
ROUNDING = 0.01
REPLAY, LATE = "replay of ", "late like "


def is_control(rule: str) -> bool:
    """Return whether a rule is the timetable of another one, by its name.

    >>> is_control("replay of mask"), is_control("mask")
    (True, False)
    """
    return rule.startswith((REPLAY, LATE))


def same_density(a: Any, b: Any) -> Any:
    """Return whether two final densities agree up to rounding; ones that are not known do.

    Args:
        a, b: numbers in (0, 1], arrays or columns.

    >>> same_density(0.0300, 0.0301), same_density(0.03, 0.04), same_density(0.03, float("nan"))
    (True, False, True)
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    equal = ~(np.abs(a - b) > ROUNDING * np.minimum(a, b))
    return equal if equal.ndim else bool(equal)


def against(runs: pd.DataFrame, other: str) -> pd.DataFrame:
    """Hold each rule against the one that is called like it, after a prefix: its replay, say.

    Args:
        runs: as `evidence.final` gives them.
        other: the prefix, `REPLAY` or `LATE`.
    """
    by_name = runs[runs["rule"].str.startswith(other)]
    named = by_name.assign(rule=by_name["rule"].str.removeprefix(other))
    return _pairs(runs, named, ["family", "rule", "seed"])


def against_full(runs: pd.DataFrame) -> pd.DataFrame:
    """Hold each rule against full retraining of its family and seed.

    Args:
        runs: as `evidence.final` gives them.
    """
    is_full = labels.is_full(runs)
    return _pairs(runs[~is_full], runs[is_full].drop(columns="rule"), ["family", "seed"])


def _pairs(runs: pd.DataFrame, others: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    keys = [*keys, *({"apart"} & set(runs))]
    wide = runs.merge(others, on=keys, suffixes=("", "_other"))
    if "density" in wide:
        wide = wide[same_density(wide["density"], wide["density_other"])]
    gain = wide["accuracy"] - wide["accuracy_other"]
    return _typed(wide.assign(gain=gain, runs=2.0)).dropna(subset="gain").reset_index(drop=True)


def against_constants(runs: pd.DataFrame) -> pd.DataFrame:
    """Hold each rule against a fixed number of epochs per level that costs the same.

    Constants and full retraining of a family and seed make a curve of accuracy against retraining
    epochs, interpolated linearly in log(1 + epochs). A rule is held against it where at least three
    of them enclose it.

    Args:
        runs: as `evidence.final` gives them, with their kind.
    """
    is_curve = (runs["kind"] == "constant") | labels.is_full(runs)
    found: list[dict[str, Any]] = []
    keys = ["family", "seed", *({"apart"} & set(runs))]
    for _, group in runs.groupby(keys, sort=False):
        curve = group[is_curve[group.index]].dropna(subset="accuracy")
        for run in group[~is_curve[group.index]].to_dict("records"):
            held = curve
            if "density" in run:
                held = curve[same_density(curve["density"], run["density"])]
            if len(held) >= 3:
                points = np.log1p(held["retraining"]), held["accuracy"]
                found += _above(run, np.log1p(run["retraining"]), *points)
    return _typed(pd.DataFrame(found, columns=list(COLUMNS)))


def against_dense(runs: pd.DataFrame) -> pd.DataFrame:
    """Hold each network against a dense one of as many epochs in all.

    Dense networks of a seed, in whatever family, are anchors: a line lies between two of them in
    the logarithm of the epochs. What they do not enclose is not compared. Densities differ here,
    that being the question.

    Args:
        runs: as `evidence.final` gives them; dense ones are those of density 1.
    """
    is_dense = runs["density"] == 1
    found: list[dict[str, Any]] = []
    for _, group in runs.groupby("seed", sort=False):
        anchors = group[is_dense[group.index]].dropna(subset="accuracy")
        for run in group[~is_dense[group.index]].to_dict("records"):
            points = np.log(anchors["epochs"]), anchors["accuracy"]
            found += _above(run, np.log(run["epochs"]), *points)
    return _typed(pd.DataFrame(found, columns=list(COLUMNS)))


def _above(
    run: dict[str, Any], place: float, places: pd.Series, heights: pd.Series
) -> Iterator[dict[str, Any]]:
    """Yield how far a run lies above the line between the two points beside it, if there are."""
    order = np.argsort(places.to_numpy(), kind="stable")
    x, y = places.to_numpy()[order], heights.to_numpy()[order]
    if len(x) < 2 or not x[0] <= place <= x[-1] or not np.isfinite(run["accuracy"]):
        return
    right = min(int(np.searchsorted(x, place)), len(x) - 1)
    left = max(right - 1, 0)
    gap = x[right] - x[left]
    share = (place - x[left]) / gap if gap else 1.0
    gain = run["accuracy"] - float(np.interp(place, x, y))
    yield run | {"gain": gain, "runs": 1 + share**2 + (1 - share) ** 2}


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table[list(COLUMNS)].astype(COLUMNS)

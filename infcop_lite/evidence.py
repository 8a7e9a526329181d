"""What the rows of many runs are evidence for, as intervals, controls and fronts.

A *run* is one rule on one seed; a *family* is one way to prune. All runs of a family and a seed
begin with the same weights, splits and data order, so differences between rules are paired by seed.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from . import labels, pairing
from .collecting import collect as collect
from .labels import FULL as FULL
from .results import download_link as download_link
from .results import provenance as provenance
from .results import read as read
from .results import results_folder as results_folder
from .results import tables as tables

#: Drop in accuracy that is tolerated on each network, fixed before its runs were seen.
MARGINS = {"mlp": 0.003, "lenet5": 0.003, "convnet": 0.01, "resnet20": 0.01}
#: How many times fewer epochs in all were aimed at, fixed as early.
GOALS = {"mlp": 6, "lenet5": 6, "convnet": 3, "resnet20": 3}
RUN = {"family": str, "rule": str, "seeds": int}
VERDICT = RUN | {"loss": float, "worst_loss": float, "non_inferior": bool}
VERDICT |= {"saving": float, "saving_retraining": float}
GAIN = RUN | {"gain": float, "half_width": float, "beats": bool}
BELOW = RUN | {"epochs": float, "loss": float, "half_width": float, "worst_loss": float}


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per run with the accuracy of its final network and the cost of the run.

    Args:
        rows: as `read` or `collect` gives them.

    Returns:
        A table with the columns family, rule and seed, those of `labels.COLUMNS`, which describe
        the rule, and these columns.

        - ``retraining``: epochs of the levels before the last, which a stop rule can save.
        - ``epochs``: epochs in all, with the warm-up and the last level.
        - ``seconds``: processor time of training and of what the rule reads.
        - ``measuring``: the part of these seconds in which the rule's measurements are made.
        - ``accuracy``, ``validation``: accuracy of the final network on the test and the
          validation split, in [0, 1].
        - ``density``, ``overlap``: of the final network, in [0, 1].

    >>> rows = pd.DataFrame({"family": "all", "rule": "full", "seed": 0, "level": [0, 1]})
    >>> rows = rows.assign(stopped=True, epoch=[2.0, 4.0], train_s=1.0, measure_s=0.5)
    >>> rows = rows.assign(warmup_epochs=1.0, test_accuracy=[0.9, 0.8], density=[1.0, 0.5])
    >>> final(rows.assign(validation_accuracy=0.8, overlap=1.0))[["retraining", "epochs"]]
       retraining  epochs
    0         2.0     7.0
    """
    keys = ["family", "rule", "seed"]
    ends = rows[rows["stopped"]].sort_values([*keys, "level"])
    last = ends.groupby(keys, sort=False).tail(1).set_index(keys)
    total = ends.groupby(keys, sort=False)[["epoch", "train_s", "measure_s"]].sum(min_count=1)
    return pd.DataFrame(
        {name: last[name] for name in labels.COLUMNS if name in last}
        | {
            "retraining": total["epoch"] - last["epoch"],
            "epochs": total["epoch"] + last["warmup_epochs"],
            "seconds": total["train_s"] + total["measure_s"],
            "measuring": total["measure_s"],
            "accuracy": last["test_accuracy"],
            "validation": last["validation_accuracy"],
            "density": last["density"],
            "overlap": last["overlap"],
        }
    ).reset_index()


def half_width(values: Sequence[float] | pd.Series, confidence: float = 0.95) -> float:
    """Return half the width of the confidence interval of a mean; NaN for fewer than two values.

    Source: Student's t.

    Args:
        values: one per seed.
        confidence: of the two-sided interval, in (0, 1).

    >>> round(half_width([1.0, 2.0, 3.0]), 3)
    2.484
    """
    n = len(values)
    if n < 2:
        return np.nan
    return float(stats.t.ppf((1 + confidence) / 2, n - 1) * stats.sem(values))


def paired(runs: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Compare each rule with full retraining of its family and seed.

    Source: the non-inferiority test on paired differences, one-sided at 5 %.

    Args:
        runs: as `final` gives them.
        margin: the drop in accuracy that is tolerated, > 0; fixed before the runs are seen.

    Returns:
        A table with one line for each family and rule, and these columns.

        - ``seeds``: the number of pairs.
        - ``loss``: the drop, mean accuracy of full retraining less that of the rule.
        - ``worst_loss``: one-sided 95 % bound of the drop.
        - ``non_inferior``: whether that bound lies within the margin. It is False if the final
          densities differ.
        - ``saving``: how many times fewer epochs the rule takes in all.
        - ``saving_retraining``: the same without the warm-up and the last level.

    >>> runs = pd.DataFrame({"family": "all", "rule": ["full", "mask"] * 2, "seed": [0, 0, 1, 1]})
    >>> runs = runs.assign(kind=["full", "mask"] * 2, accuracy=[0.9, 0.89, 0.8, 0.79])
    >>> runs = runs.assign(epochs=[8.0, 4.0] * 2, retraining=[6.0, 2.0] * 2)
    >>> paired(runs, margin=0.02)[["rule", "seeds", "non_inferior", "saving"]]
       rule  seeds  non_inferior  saving
    0  mask      2          True     2.0
    """
    is_full = labels.is_full(runs)
    full, others = runs[is_full].drop(columns="rule"), runs[~is_full]
    wide = others.merge(full, on=["family", "seed"], suffixes=("", "_full"))
    lines = []
    for (family, rule), group in wide.groupby(["family", "rule"], sort=False):
        drop = group["accuracy_full"] - group["accuracy"]
        worst = drop.mean() + half_width(drop, 0.9)
        alike = (
            "density" not in group
            or pairing.same_density(group["density"], group["density_full"]).all()
        )
        lines.append(
            {
                "family": family,
                "rule": rule,
                "seeds": len(group),
                "loss": drop.mean(),
                "worst_loss": worst,
                "non_inferior": bool(worst < margin and alike),
                "saving": group["epochs_full"].sum() / group["epochs"].sum(),
                "saving_retraining": _ratio(
                    group["retraining_full"].sum(), group["retraining"].sum()
                ),
            }
        )
    return pd.DataFrame(lines, columns=list(VERDICT)).astype(VERDICT)


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("inf")


def against_control(runs: pd.DataFrame, control: str | None = None) -> pd.DataFrame:
    """Compare each rule with a fixed number of epochs per level that costs the same.

    The published comparison lacks this control.

    The controls and full retraining of the same family and seed make a curve of accuracy against
    retraining epochs, interpolated linearly in log(1 + epochs). A rule is compared with that curve
    at its own number of epochs. A seed counts if it has at least three controls, some with fewer
    epochs and some with more.

    Args:
        runs: as `final` gives them; the controls are those of kind "constant".
        control: how the names of controls begin in runs without a kind; to be removed in the next
            release.

    Returns:
        A table with one line for each family and each rule that is no control. Column ``seeds``
        counts the seeds, and ``gain`` is the mean accuracy above the curve, NaN without a seed.
        ``half_width`` is that of its 95 % interval; ``beats`` says whether that lies above 0.

    Raises:
        ValueError: a kind that is not known, or a family with rules and no control.

    >>> rules, epochs = ["fixed-1", "fixed-2", "fixed-4", "mask"], [1.0, 2.0, 4.0, 2.0]
    >>> runs = pd.DataFrame({"family": "all", "rule": rules, "seed": 0, "retraining": epochs})
    >>> runs = runs.assign(kind=["constant"] * 3 + ["mask"], accuracy=[0.5, 0.6, 0.7, 0.65])
    >>> against_control(runs)[["rule", "seeds", "gain"]].round(3)
       rule  seeds  gain
    0  mask      1  0.05
    """
    runs = runs.reset_index(drop=True)
    if control is None:
        labels.check_kinds(runs)
    else:
        message = "controls are told by the column kind; control= goes with the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        is_named, is_full = runs["rule"].str.startswith(control), labels.is_full(runs)
        runs = runs.assign(kind=np.select([is_named, is_full], ["constant", FULL], "own"))
    is_control = (runs["kind"] == "constant") | labels.is_full(runs)
    for family, kinds in runs.groupby("family", sort=False)["kind"]:
        if not set(kinds) <= {"constant", FULL} and "constant" not in set(kinds):
            raise ValueError(f"no control in family {family!r}: no rule of kind constant")
    pairs = pairing.against_constants(runs)
    lines: list[dict[str, Any]] = []
    for family, rule in runs[~is_control].groupby(["family", "rule"], sort=False).groups:
        gains = pairs.loc[(pairs["family"] == family) & (pairs["rule"] == rule), "gain"]
        gain, width = gains.mean(), half_width(gains)
        line = {"family": family, "rule": rule, "seeds": len(gains), "gain": gain}
        lines.append(line | {"half_width": width, "beats": bool(gain - width > 0)})
    return pd.DataFrame(lines, columns=list(GAIN)).astype(GAIN)


def below_dense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what each rule loses against dense networks of as many epochs in all.

    Source: the anchors of ``experiments/protocol.md``, as `pairing.against_dense` joins them.

    Args:
        runs: as `final` gives them; dense networks are those of density 1.

    Returns:
        A table with one line for each family and rule that dense networks of its seeds enclose.
        Its columns are ``seeds``; ``epochs``, their mean; ``loss``: the drop in accuracy, in
        [-1, 1]; ``half_width`` of its 95 % interval; ``worst_loss``: its one-sided 95 % bound.
        Both are NaN on one seed. No dense networks, no line.

    >>> rules = {"family": ["dense-9", "dense-36", "fixed"], "rule": "full", "seed": 0}
    >>> numbers = {"density": [1, 1, 0.1], "epochs": [9, 36, 18], "accuracy": [0.8, 0.9, 0.83]}
    >>> below_dense(pd.DataFrame(rules | numbers))[["rule", "epochs", "loss"]].round(3)
       rule  epochs  loss
    0  full    18.0  0.02
    """
    pairs = pairing.against_dense(runs).merge(runs[["family", "rule", "seed", "epochs"]])
    lines = [
        {"family": family, "rule": rule, "seeds": len(group), "epochs": group["epochs"].mean()}
        | {"loss": -group["gain"].mean(), "half_width": half_width(group["gain"])}
        | {"worst_loss": -group["gain"].mean() + half_width(group["gain"], 0.9)}
        for (family, rule), group in pairs.groupby(["family", "rule"], sort=False)
    ]
    return pd.DataFrame(lines, columns=list(BELOW)).astype(BELOW)


def front(points: pd.DataFrame, cost: str = "retraining", worth: str = "accuracy") -> pd.DataFrame:
    """Return the points that no other point beats in accuracy and cost together.

    Source: Pareto.

    Args:
        points: one line each.
        cost, worth: names of columns.

    >>> points = pd.DataFrame({"retraining": [1, 2, 3], "accuracy": [0.5, 0.4, 0.6]})
    >>> front(points)["retraining"].tolist()
    [1, 3]
    """
    ordered = points.sort_values([cost, worth], ascending=[True, False])
    best = ordered[worth].cummax().shift(fill_value=-np.inf)
    return ordered[ordered[worth] > best]


def rank_correlation(a: Sequence[float] | pd.Series, b: Sequence[float] | pd.Series) -> float:
    """Return Spearman's rank correlation of the pairs that are complete; NaN for fewer than three.

    Source: Spearman 1904.

    >>> rank_correlation([1.0, 2.0, 3.0, float("nan")], [1.0, 4.0, 9.0, 0.0])
    1.0
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    complete = np.isfinite(x) & np.isfinite(y)
    x, y = x[complete], y[complete]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(stats.spearmanr(x, y).statistic)


def fit_decay(epochs: Sequence[float], distances: Sequence[float]) -> dict[str, float]:
    """Fit the geometric model D(t) = c λ^t + φ of a flow distance within a level.

    Source: T5.3; least squares, 0 < λ < 1, φ >= 0; a negative c means that the distance grows.

    Args:
        epochs: times of at least four checks.
        distances: the distance at each.

    Returns:
        ``c``, ``rate`` (λ per epoch), ``floor`` (φ), and ``explained``: the fraction of the
        variance that the model explains, at most 1. A distance that stays as it is has no rate and
        no variance: both are NaN, and c is 0.

    Raises:
        ValueError: fewer than four checks, or distances that are not finite.

    >>> t = np.arange(6.0)
    >>> {k: round(v, 2) for k, v in fit_decay(t, 2 * 0.5**t + 1).items()}
    {'c': 2.0, 'rate': 0.5, 'floor': 1.0, 'explained': 1.0}
    """
    t, d = np.asarray(epochs, float), np.asarray(distances, float)
    if len(t) < 4 or not np.isfinite(d).all():
        raise ValueError("a decay is fitted to at least four finite distances")
    if np.ptp(d) == 0:
        return {"c": 0.0, "rate": np.nan, "floor": float(d[0]), "explained": np.nan}

    def model(t: np.ndarray, c: float, rate: float, floor: float) -> np.ndarray:
        return c * rate**t + floor

    spread = max(float(np.ptp(d)), 1e-12)
    bounds = ([-10 * spread, 1e-6, 0.0], [10 * spread, 1 - 1e-6, float(d.max()) + spread])
    fits = []
    for rate in (0.1, 0.5, 0.9):
        start = [np.clip(d[0] - d[-1], -9 * spread, 9 * spread), rate, max(float(d[-1]), 1e-9)]
        found, _ = optimize.curve_fit(model, t, d, start, bounds=bounds, max_nfev=5000)
        fits.append((float(((model(t, *found) - d) ** 2).sum()), found))
    error, (c, rate, floor) = min(fits, key=lambda fit: fit[0])
    variance = float(((d - d.mean()) ** 2).sum())
    found = {"c": float(c), "rate": float(rate), "floor": float(floor)}
    return found | {"explained": 1 - error / variance}

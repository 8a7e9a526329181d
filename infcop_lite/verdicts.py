"""What paired differences show and could have shown, by bounds, tests and power.

A verdict that nothing was found is worth what the search was worth. So each comes with the smallest
gain that it would have found, and with a bound on what may be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

#: What `judge` says of each rule, beside family, rule and the number of its seeds.
JUDGED = ("gain", "low", "high", "upper", "detectable", "p", "holm", "beats", "shown_useless")


@dataclass(frozen=True)
class Estimate:
    """A mean that is known up to an error.

    Args:
        mean: in any unit.
        error: its standard error; NaN if nothing is known of it.
        df: degrees of freedom of that error.
        pairs: differences it is the mean of.
    """

    mean: float
    error: float
    df: float
    pairs: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two ends of the two-sided interval; NaN where the error is not known.

        Source: Student's t.

        >>> [round(end, 3) for end in own([1.0, 2.0, 3.0]).interval()]
        [-0.484, 4.484]
        """
        half = float(stats.t.ppf((1 + confidence) / 2, self.df)) * self.error
        return self.mean - half, self.mean + half

    def p(self) -> float:
        """Return the two-sided p-value of a mean of zero.

        >>> round(own([1.0, 2.0, 3.0]).p(), 3)
        0.074
        """
        if self.error == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.df))

    def power(self, gain: float, level: float = 0.05) -> float:
        """Return how often a true gain of that size would be told from zero, two-sided.

        Source: the noncentral t distribution, averaged over the error that may be found; that of
        scipy is NaN far from zero.

        >>> round(Estimate(0.0, 1.0, 1000, 2).power(0.0), 3), own([0.0, 0.1, 0.2]).power(1.0) > 0.99
        (0.05, True)
        """
        if not self.error > 0:
            return float(bool(gain)) if self.error == 0 else np.nan
        quantiles = (np.arange(1000) + 0.5) / 1000
        scale = np.sqrt(stats.chi2.ppf(quantiles, self.df) / self.df)
        critical, shift = stats.t.ppf(1 - level / 2, self.df) * scale, gain / self.error
        return float(np.mean(stats.norm.sf(critical - shift) + stats.norm.sf(critical + shift)))

    def detectable(self, power: float = 0.8) -> float:
        """Return the smallest gain that would be found so often, at 5 % two-sided.

        >>> round(Estimate(0.0, 1.0, 1000, 2).detectable(), 2)
        2.8
        """
        if not self.error > 0:
            return self.error  # zero, or not known
        return self.error * _detectable(self.df, power)


@cache
def _detectable(df: float, power: float) -> float:
    """Return the smallest gain that would be found so often, in standard errors."""
    unit = Estimate(0.0, 1.0, df, 0)
    return float(optimize.brentq(lambda gain: unit.power(gain) - power, 0.0, 60.0, xtol=1e-6))


@dataclass(frozen=True)
class Noise:
    """How much the accuracy of one run scatters once rule and seed are taken out.

    Args:
        sd: standard deviation of one run.
        df: degrees of freedom it rests on.
    """

    sd: float
    df: int


def own(differences: Sequence[float] | pd.Series) -> Estimate:
    """Return the mean of paired differences, with the error that they show themselves.

    Args:
        differences: one per seed.

    >>> own([1.0, 2.0, 3.0]).df
    2
    """
    values = np.asarray(differences, float)
    if len(values) < 2:
        return Estimate(
            float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values)
        )
    return Estimate(float(values.mean()), float(stats.sem(values)), len(values) - 1, len(values))


def unpaired(a: Sequence[float] | pd.Series, b: Sequence[float] | pd.Series) -> Estimate:
    """Return the difference of two means whose values share nothing, as runs of two devices do.

    Source: Welch 1947, with the degrees of freedom of Satterthwaite 1946.

    Args:
        a, b: one value per run; the numbers of runs may differ.

    >>> found = unpaired([2.0, 4.0], [1.0, 1.0, 1.0])
    >>> found.mean, round(found.error, 3), found.df
    (2.0, 1.0, 1.0)
    """
    of = own(a), own(b)
    variances = [found.error**2 for found in of]
    total = sum(variances)
    parts = sum(v**2 / found.df for v, found in zip(variances, of, strict=True))
    df = total**2 / parts if parts else np.nan
    return Estimate(of[0].mean - of[1].mean, total**0.5, df, min(found.pairs for found in of))


def between(runs: pd.DataFrame, others: pd.DataFrame) -> Estimate:
    """Return how far one arm lies above another, seed by seed where the runs are pairs.

    Two runs of a seed are a pair if one device made both: they begin with the same bits. If one of
    them is not, all runs are compared as two groups.

    Args:
        runs, others: a line for each run, with its seed, accuracy and device.

    >>> one = pd.DataFrame({"seed": [0, 1], "accuracy": [0.5, 0.7], "device": "cpu"})
    >>> other = pd.DataFrame({"seed": [0, 1], "accuracy": [0.4, 0.6], "device": ["cpu", "gpu"]})
    >>> [round(between(one, it).error, 3) for it in (other.assign(device="cpu"), other)]
    [0.0, 0.141]
    """
    both = runs.merge(others, on="seed", suffixes=("", "_other"))
    if (both["device"] == both["device_other"]).all():
        return own(both["accuracy"] - both["accuracy_other"])
    return unpaired(runs["accuracy"], others["accuracy"])


def pooled(
    differences: Sequence[float] | pd.Series, noise: Noise, runs: Sequence[float] | float = 2.0
) -> Estimate:
    """Return the mean of paired differences, with the error that all rules of a family share.

    Five seeds know a variance badly; sixty rules on five seeds know it well, if it is one for all.

    Args:
        differences: one per seed.
        noise: of one run.
        runs: variance of each difference in units of that of one run; 2 for a difference of two.

    >>> round(pooled([1.0, 2.0], Noise(1.0, 92)).error, 3)
    1.0
    """
    values = np.asarray(differences, float)
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    weights = np.broadcast_to(np.asarray(runs, float), values.shape)
    error = noise.sd * float(np.sqrt(weights.sum())) / len(values)
    return Estimate(float(values.mean()), error, noise.df if noise.df else np.nan, len(values))


def residual(table: pd.DataFrame) -> Noise:
    """Return the scatter that is left when rule and seed are taken out of a two-way table.

    Source: least squares, so cells may be missing. Equal lines are one network under two names.

    Args:
        table: a line for each rule, a column for each seed; NaN where there is no run.

    >>> residual(pd.DataFrame([[1.0, 2.0], [2.0, 5.0]]))
    Noise(sd=1.0, df=1)
    """
    values = table.drop_duplicates().to_numpy(float)
    rules, seeds = np.nonzero(np.isfinite(values))
    design = np.hstack([np.eye(values.shape[0])[rules], np.eye(values.shape[1])[seeds]])
    found, _, rank, _ = np.linalg.lstsq(design, values[rules, seeds], rcond=None)
    df = len(rules) - int(rank)
    left = values[rules, seeds] - design @ found
    sd = float(np.sqrt((left**2).sum() / df)) if df > 0 else np.nan
    return Noise(round(sd, 12), max(df, 0))


def holm(p: Sequence[float] | pd.Series) -> list[float]:
    """Return p-values that are corrected for how many there are; NaN is no test, and stays.

    Source: Holm 1979.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03, float("nan")])]
    [0.03, 0.06, 0.06, nan]
    """
    values = np.asarray(p, float)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    corrected, worst = np.full(len(values), np.nan), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * values[place]))
        corrected[place] = worst
    return [float(value) for value in corrected]


def judge(pairs: pd.DataFrame, margin: float, noise: Noise | None = None) -> pd.DataFrame:
    """Return what paired differences say of each rule.

    Args:
        pairs: a line for each rule and seed, as `pairing` gives them.
        margin: a gain that is worth having, > 0.
        noise: that all rules share; each has its own unless given.

    Returns:
        A table with one line per rule, and these columns.

        - ``seeds``: the number of pairs.
        - ``gain``: their mean gain.
        - ``low``, ``high``: two-sided 95 % interval of the gain.
        - ``upper``: one-sided 95 % bound of the gain.
        - ``detectable``: the smallest gain that would be found four times in five.
        - ``p``, ``holm``: the p value, plain and corrected for the number of rules.
        - ``beats``: whether the interval lies above 0.
        - ``shown_useless``: whether the bound lies below the margin.

    >>> pairs = pd.DataFrame({"rule": ["a", "a"], "gain": [0.1, 0.3], "runs": 2.0})
    >>> judge(pairs, margin=3.0)[["rule", "seeds", "beats", "shown_useless"]]
      rule  seeds  beats  shown_useless
    0    a      2  False           True
    """
    lines: list[dict[str, Any]] = []
    for rule, group in pairs.groupby("rule", sort=False):
        found = pooled(group["gain"], noise, group["runs"]) if noise else own(group["gain"])
        (low, high), (_, upper) = found.interval(), found.interval(0.9)
        line = {"gain": found.mean, "low": low, "high": high, "upper": upper}
        line |= {"detectable": found.detectable(), "p": found.p()}
        line |= {"beats": low > 0, "shown_useless": upper < margin}
        lines.append({"rule": rule, "seeds": found.pairs, **line})
    table = pd.DataFrame(lines, columns=["rule", "seeds", *JUDGED])
    return table.assign(holm=holm(table["p"].astype(float)))


def endpoint(gains: Mapping[str, Sequence[float]]) -> Estimate:
    """Return the mean gain over several networks, each of which counts the same.

    Source: the primary endpoint of ``experiments/protocol.md``; Satterthwaite 1946 for the degrees
    of freedom of a sum of variances.

    Args:
        gains: network -> the gain on each seed, in margins of that network.

    Raises:
        ValueError: no network, one with fewer than two pairs, or a gain that is no number.

    >>> found = endpoint({"a": [0.0, 1.0, 2.0], "b": [1.0, 3.0]})
    >>> found.mean, round(found.error, 3), round(found.df, 2), found.pairs
    (1.5, 0.577, 1.68, 5)
    """
    if not gains:
        raise ValueError("the endpoint needs at least one network")
    for network, values in gains.items():
        if len(values) < 2 or not np.isfinite(np.asarray(values, float)).all():
            raise ValueError(
                f"{network}: the endpoint needs two pairs or more, all of them numbers"
            )
    of = [own(values) for values in gains.values()]
    variances = [found.error**2 for found in of]
    total = sum(variances)
    parts = sum(v**2 / found.df for v, found in zip(variances, of, strict=True))
    mean = sum(found.mean for found in of) / len(of)
    df = total**2 / parts if parts else np.nan
    return Estimate(mean, total**0.5 / len(of), df, sum(found.pairs for found in of))


def outcome(found: Estimate, half: float = 0.5) -> str:
    """Return what an endpoint shows, which is success, equivalence, both or neither.

    Source: ``experiments/protocol.md``: the two-sided 95 % interval lies above 0; the two-sided
    90 % interval lies within half a margin on both sides.

    Args:
        found: as `endpoint` gives it, in margins.
        half: what still counts as equal, in margins.

    >>> outcome(Estimate(0.2, 0.3, 10, 25))
    'no effect shown'
    >>> outcome(Estimate(0.2, 0.05, 10, 25))
    'success, by too little to matter'
    """
    success = found.interval()[0] > 0
    low, high = found.interval(0.9)
    equal = -half < low and high < half
    if success:
        return "success, by too little to matter" if equal else "success"
    return "shown equivalence" if equal else "no effect shown"

"""What a referee says, one paragraph for each question, without names of columns.

Gains and losses are in points of test accuracy. `referee` decides what is asked of which runs.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from . import evidence, faults, labels, pairing, verdicts
from .families import Family

#: How many times fewer epochs in all a rule must need for its saving to count.
SAVING = 1.5


def density(it: Family) -> str:
    """Say whether all networks end with as many weights."""
    if it.unlike.empty:
        ends = it.runs["density"].dropna()
        said = f"{_range(100 * ends)} % of the weights" if len(ends) else "a density not recorded"
        return f"Density. All networks of a seed end with as many weights: {said}."
    of = [
        f"{rule} ({_range(100 * runs['density'])} % where full retraining has "
        f"{_range(100 * runs['density_full'])} %)"
        for rule, runs in it.unlike.groupby("rule")
    ]
    number = f"{len(it.unlike)} of {len(it.rows.drop_duplicates(faults.RUN))} networks"
    return (
        f"Density. UNEQUAL: {number} do not end with the weights of full retraining, so they get "
        f"no verdict: {_some(of)}."
    )


def machine(it: Family) -> str:
    """Say what the rows were made with, and whether all began alike."""
    machines, elsewhere = faults.made_on(it.rows), faults.split_pairs(it.rows)
    text = f"Machine. One for all: {machines.index[0]}."
    if len(machines) > 1:
        of = "; ".join(f"{machine} ({number} runs)" for machine, number in machines.items())
        text = (
            f"Machine. MIXED: {of}. {elsewhere} runs were made elsewhere than the full retraining "
            "of their seed; such a difference may be the machine's."
        )
    apart = it.runs[it.runs["apart"]]
    if apart.empty:
        return text
    return (
        f"{text} BEGUN APART: {len(apart)} networks measure otherwise at the first level than "
        "full retraining of their seed, where both are one network: another processor or other "
        f"code made them. They are paired among themselves alone: "
        f"{_some(dict.fromkeys(apart['rule']))}."
    )


def twins(it: Family, looking: Sequence[str]) -> str:
    """Say which stop rules are others by another name."""
    found = [f'"{rule}" is {_named(it.twins[rule])}' for rule in looking if rule in it.twins]
    if not found:
        return "Twins. No stop rule is full retraining, a constant or another rule by another name."
    return (
        f"Twins. {len(found)} of {len(looking)} stop rules end every level where another does, on "
        f"every seed, and are not counted: {_some(found, 6)}."
    )


def missing(it: Family) -> str:
    """Say which rules lack a seed."""
    found = faults.lacking(evidence.final(it.rows))
    if not found:
        return "Missing. Nothing: every rule has a result on every seed."
    of = [f"{rule} on seed {', '.join(map(str, seeds))}" for rule, seeds in found.items()]
    return f"Missing. {_some(of)}. Pairs are made of the seeds that both have."


def noise(it: Family, margin: float) -> str:
    """Say how small a gain the runs could show."""
    if not it.noise.df:
        return "Noise. Unknown: one seed, or one rule, shows nothing."
    num_seeds = it.runs["seed"].nunique()
    found = verdicts.pooled(np.zeros(num_seeds), it.noise).detectable()
    coarse = " TOO COARSE: a gain of the margin may stay unseen." if found > margin else ""
    return (
        f"Noise. One network scatters by {100 * it.noise.sd:.2f} points once rule and seed are "
        f"taken out ({it.noise.df} degrees of freedom). A gain of {100 * found:.2f} points between "
        f"two rules on {num_seeds} seeds would be found four times in five.{coarse}"
    )


def full(it: Family, margin: float) -> str:
    """Say what full retraining comes to, and who is shown to lose little."""
    is_full = labels.is_full(it.runs)
    if not is_full.any():
        return "Full retraining. None here, so nobody knows what stopping early costs."
    own = it.runs[(~it.runs["rule"].isin(list(it.twins)) | is_full) & ~it.runs["apart"]]
    table = evidence.paired(own, margin)
    table = table[~table["rule"].map(pairing.is_control) & (table["saving"] >= SAVING)]
    good = table[table["non_inferior"]].sort_values("saving", ascending=False)
    accuracy, epochs = it.runs.loc[is_full, ["accuracy", "epochs"]].mean()
    text = (
        f"Full retraining ends at {100 * accuracy:.2f} % after {epochs:.0f} epochs. Rules and "
        f"constants that need two thirds of them or less: {len(table)}; of these, shown to lose "
        f"less than the margin: {len(good)}"
    )
    if good.empty:
        return f"{text}."
    best = good.iloc[0]
    return (
        f'{text}. The cheapest of these is "{best["rule"]}": {best["saving"]:.1f} times fewer '
        f"epochs, {100 * best['loss']:.2f} points lost, at most {100 * best['worst_loss']:.2f}."
    )


def verdict(what: str, table: pd.DataFrame) -> str:
    """Say how many rules are shown to beat something, and how many to be useless."""
    if table.empty:
        return f". No rule here can be held against {what}."
    if table["p"].isna().all():
        return f". Nothing is shown against {what}: the noise is not known."
    beats, useless = table[table["beats"]], table["shown_useless"]
    unclear = table[~table["beats"] & ~useless]
    text = f": {what}. Of {len(table)} stop rules, shown to beat it: {len(beats)}"
    if len(beats):
        of = [f'"{one.rule}" by {100 * one.gain:.2f} points' for one in beats.itertuples()]
        text += f" ({_some(of)}; after Holm's correction {(beats['holm'] < 0.05).sum()})"
    text += f"; shown to gain less than the margin: {useless.sum()}"
    if not len(unclear):
        return f"{text}."
    least = 100 * unclear["detectable"].median()
    return (
        f"{text}; not told apart: {len(unclear)}, where {least:.2f} points would have been found."
    )


def dense(it: Family, all_runs: pd.DataFrame, name: str, margin: float) -> str:
    """Say how the rules compare with dense networks of as many epochs."""
    mine = all_runs[(all_runs["family"] == name) | (all_runs["density"] == 1)]
    pairs = pairing.against_dense(mine)
    pairs = pairs[(pairs["family"] == name) & ~pairs["rule"].isin(list(it.twins))]
    if pairs.empty:
        return "Dense networks. None of as many epochs here, so what pruning costs is not known."
    table = verdicts.judge(pairs[~pairs["rule"].map(pairing.is_control)], margin)
    within = (2 * table["gain"] - table["upper"] > -margin).sum()
    best = table.sort_values("gain").iloc[-1]
    return (
        f"Dense networks of as many epochs. Of {len(table)} rules, shown to lose less than the "
        f'margin: {within}. The best is "{best["rule"]}", {100 * best["gain"]:+.2f} points from it.'
    )


def single(rest: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return what is known of a family of one rule, from curves over epochs and other budgets."""
    dense = pairing.against_dense(runs).groupby("family")["gain"].agg(list)
    of = []
    for name, group in rest.groupby("family", sort=False):
        accuracy, epochs = group[["accuracy", "epochs"]].mean()
        text = f"{name}: {100 * accuracy:.2f} % after {epochs:.0f} epochs"
        if name in dense:
            found = verdicts.own(dense[name])
            low, high = found.interval()
            text += f", {100 * found.mean:+.2f} ({100 * low:.2f} to {100 * high:.2f}) from dense"
        of.append(text)
    return f"Beside them, one rule each. {_some(of, 20)}."


def left_out(it: Family, size: int | None) -> str:
    """Say what the intervals leave out."""
    text = (
        "Test set. The same images judge every seed, so their choice is in none of these intervals"
    )
    if size is None or it.runs.empty:
        return f"{text}."
    wrong = 1 - it.runs["accuracy"].mean()
    error = 100 * math.sqrt(2 * wrong / size)
    return (
        f"{text}; with {size:,} images it shifts one difference by {error:.2f} points, one "
        "standard error, at most."
    )


def _some(names: Iterable[str], most: int = 4) -> str:
    """Return names as prose, the first few of many.

    >>> _some(["a", "b", "c"], most=2)
    'a; b; and 1 more'
    """
    found = list(names)
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return "; ".join(found[:most] + more)


def _named(rule: str) -> str:
    return "full retraining" if rule == labels.FULL else f'"{rule}"'


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2g}", f"{values.max():.2g}"
    return low if low == high else f"{low} to {high}"

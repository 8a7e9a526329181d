"""Report what anybody's runs are evidence for, as a referee would, in ten plain paragraphs.

Each family of runs that holds more than one rule gets a report of its own. Chapter 7 explains the
words. The statistics come from `verdicts`, the faults from `faults`.
"""

import pandas as pd

from . import evidence, faults, labels, pairing, verdicts, wording
from .families import Family, look

#: Data set -> drop in test accuracy that is tolerated on it, and images in its test set.
DATA = {"mnist": (0.003, 10_000), "fashion-mnist": (0.003, 10_000), "cifar10": (0.01, 10_000)}


def margin_of(rows: pd.DataFrame, points: float | None = None) -> float:
    """Return the margin of the data set that the rows come from, as a fraction.

    Args:
        rows: with the column data.
        points: the margin to take instead, in points of accuracy, between 0 and 100.

    Raises:
        ValueError: data sets without one known margin, or points out of range.

    >>> margin_of(pd.DataFrame({"data": ["mnist"]})), margin_of(pd.DataFrame(), points=2.0)
    (0.003, 0.02)
    """
    if points is not None:
        if not 0 < points < 100:
            raise ValueError(f"a margin lies between 0 and 100 points, not at {points:g}")
        return points / 100
    names = sorted(set(rows["data"].dropna())) if "data" in rows else []
    found = {DATA[name][0] for name in names if name in DATA}
    if len(found) != 1 or not set(names) <= set(DATA):
        said = " and ".join(map(str, names)) or "these data"
        raise ValueError(f"no one margin is known for {said}; say it in points: --margin 0.5")
    return found.pop()


def _test_images(rows: pd.DataFrame) -> int | None:
    names = set(rows["data"].dropna()) if "data" in rows else set()
    sizes = {DATA[name][1] for name in names if name in DATA}
    return sizes.pop() if len(sizes) == 1 else None


def report(rows: pd.DataFrame, margin: float, family: str | None = None) -> list[str]:
    """Return what a referee says of some rows, as paragraphs.

    Args:
        rows: as `evidence.read`, `evidence.collect` or `results.rows_at` give them.
        margin: a drop or a gain that matters, as a fraction.
        family: the only family to report; all unless given.

    Returns:
        For each family that compares rules, its name and a short answer, then ten paragraphs. A
        last paragraph is about families that hold a single rule.

    Raises:
        ValueError: rows that are no evidence at all (see `faults.check`), rows of several networks,
            or an unknown family.
    """
    faults.check(rows)
    if "model" in rows and len(models := sorted(set(rows["model"].dropna()))) > 1:
        raise ValueError(f"runs of several networks, {', '.join(models)}: choose one of them")
    runs = evidence.final(rows)
    count = runs.groupby("family", sort=False)["rule"].nunique()
    if family is not None and family not in count:
        raise ValueError(f"no family {family!r} here; choose from {', '.join(count.index)}")
    chosen = [family] if family is not None else list(count.index[count > 1])
    lines = []
    for name in chosen:
        lines += _of_family(look(rows[rows["family"] == name]), runs, name, margin)
    rest = runs[runs["family"].isin(count.index[count == 1])]
    return lines + ([] if family is not None or rest.empty else [wording.single(rest, runs)])


def _of_family(it: Family, all_runs: pd.DataFrame, name: str, margin: float) -> list[str]:
    is_curve = it.runs["kind"].isin([labels.FULL, "constant"])
    rules = it.runs.loc[~is_curve, "rule"].unique()
    looking = [rule for rule in rules if not pairing.is_control(rule)]
    counted = [rule for rule in looking if rule not in it.twins]
    constant = pairing.against_constants(it.runs[it.runs["rule"].isin(counted) | is_curve])
    replay = pairing.against(it.runs, pairing.REPLAY)
    same = {r for r in counted if it.twins.get(pairing.REPLAY + r) == r}
    replay = replay[replay["rule"].isin(set(counted) - same)]
    of = [verdicts.judge(pairs, margin, it.noise) for pairs in (constant, replay)]
    seeds = sorted(set(it.rows["seed"]))
    about = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    points = f"{100 * margin:g} point{'s' if margin != 0.01 else ''}"
    return [
        f"{name}: {len(set(it.rows['rule']))} rules on {about}, with a margin of {points} of "
        f"test accuracy. {_in_short(*of)}",
        wording.density(it),
        wording.machine(it),
        wording.twins(it, looking),
        wording.missing(it),
        wording.noise(it, margin),
        wording.full(it, margin),
        "Constants"
        + wording.verdict("a fixed number of epochs per level that costs the same", of[0]),
        "Replays" + wording.verdict("a timetable of when the rule stopped on other seeds", of[1]),
        wording.dense(it, all_runs, name, margin),
        wording.left_out(it, _test_images(it.rows)),
    ]


def _in_short(constant: pd.DataFrame, replay: pd.DataFrame) -> str:
    what, table = ("its own replay", replay) if len(replay) else ("a constant", constant)
    table = table[table["p"].notna()]
    if table.empty:
        return "In short: they show nothing about stop rules."
    return (
        f"In short: of {len(table)} stop rules, shown to beat {what} of equal cost: "
        f"{table['beats'].sum()}; shown to gain less than a margin: {table['shown_useless'].sum()}."
    )

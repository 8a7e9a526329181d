"""What keeps rows from being evidence: twins, unequal densities, two machines, runs that lack.

Each is looked for in the rows themselves, whoever wrote them.
"""

import pandas as pd

from . import labels
from .pairing import is_control, same_density

NEEDED = ("family", "rule", "seed", "kind", "level", "epoch", "stopped", "test_accuracy", "density")
RUN = ["family", "rule", "seed"]
SEEN = ("validation_accuracy", "train_loss", "gradient_norm")
MACHINE = ("device", "torch", "threads")


def check(rows: pd.DataFrame) -> None:
    """Refuse rows that are not those of runs, or that say a thing twice.

    Args:
        rows: as `evidence.read` or `evidence.collect` gives them.

    Raises:
        ValueError: none, a column or a kind that is not known, a check that is there twice, or an
            accuracy that is no fraction.
    """
    if missing := [name for name in NEEDED if name not in rows]:
        raise ValueError(f"these are no rows of stop rules: {', '.join(missing)} is not there")
    if not rows["stopped"].any():
        raise ValueError("no run there ends a level, so none has a result")
    labels.check_kinds(rows.drop_duplicates("rule"))
    twice = rows[rows.duplicated([*RUN, "level", "epoch"])]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(
            f"{row['rule']!r} of family {row['family']!r}, seed {row['seed']}, has level "
            f"{row['level']} twice; a run may be there once"
        )
    accuracy = rows["test_accuracy"].dropna()
    if not accuracy.between(0, 1).all():
        raise ValueError("an accuracy is a fraction from 0 to 1; here one is not")


def twins(rows: pd.DataFrame) -> dict[str, str]:
    """Return the rules that are another one under a second name -> that one.

    Two runs of a family and seed whose levels all end at the same epochs are one network. A rule is
    a twin if that holds on each of its seeds.

    Args:
        rows: of one family.

    >>> rows = pd.DataFrame({"rule": ["full", "a"], "kind": ["full", "own"], "level": 0})
    >>> twins(rows.assign(seed=0, epoch=8.0, stopped=True))
    {'a': 'full'}
    """
    ends = rows[rows["stopped"]].sort_values("level")
    paths: dict[str, dict[int, tuple[float, ...]]] = {}
    for (rule, seed), group in ends.groupby(["rule", "seed"], sort=False):
        paths.setdefault(rule, {})[seed] = tuple(group["epoch"])
    kinds = rows.drop_duplicates("rule").set_index("rule")["kind"]
    rank = {labels.FULL: 0, "constant": 1}
    order = sorted(paths, key=lambda rule: rank.get(kinds[rule], 3 if is_control(rule) else 2))
    found: dict[str, str] = {}
    for place, rule in enumerate(order):
        for other in order[:place]:
            same = all(paths[other].get(seed) == path for seed, path in paths[rule].items())
            if same and other not in found:
                found[rule] = other
                break
    return found


def unlike(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that do not end at the density of full retraining of their family and seed.

    Args:
        runs: as `evidence.final` gives them.

    Returns:
        Those runs, with ``density_full``; where there is no full retraining, the median stands for
        it.
    """
    middle = runs.groupby(["family", "seed"])["density"].median()
    full = runs[labels.is_full(runs)].set_index(["family", "seed"])["density"]
    wanted = full.combine_first(middle)
    keys = pd.MultiIndex.from_frame(runs[["family", "seed"]])
    held = runs.assign(density_full=wanted.reindex(keys).to_numpy())
    return held[~same_density(held["density"], held["density_full"])]


def made_on(rows: pd.DataFrame) -> pd.Series:
    """Return the machines and versions of torch that rows were made with, and runs of each.

    Args:
        rows: as `evidence.read` gives them; what the first release did not note is left out.

    Returns:
        Such as "cpu, torch 2.14.1, 1 thread" -> number of runs, the largest first.

    >>> made_on(pd.DataFrame({"family": "a", "rule": "b", "seed": [0], "device": "cpu"})).to_dict()
    {'cpu': 1}
    """
    runs = rows.drop_duplicates(RUN)
    return pd.Series([_machine(run) for run in runs.to_dict("records")]).value_counts()


def _machine(run: dict[str, object]) -> str:
    said = {name: run.get(name) for name in MACHINE}
    words = [str(said["device"])] if said["device"] else ["a machine that is not named"]
    if isinstance(said["torch"], str) and said["torch"]:
        words.append(f"torch {said['torch'].partition('+')[0]}")
    threads = pd.to_numeric(said["threads"]) if said["threads"] else 0
    if threads >= 1:
        words.append(f"{threads:.0f} thread{'s' if threads > 1 else ''}")
    return ", ".join(words)


def split_pairs(rows: pd.DataFrame) -> int:
    """Return how many runs were made elsewhere than full retraining of their family and seed.

    Args:
        rows: as `evidence.read` gives them.
    """
    runs = rows.drop_duplicates(RUN)
    runs = runs.assign(machine=[_machine(run) for run in runs.to_dict("records")])
    full = runs[labels.is_full(runs)][["family", "seed", "machine"]]
    wide = runs.merge(full, on=["family", "seed"], suffixes=("", "_full"))
    return int((wide["machine"] != wide["machine_full"]).sum())


def apart(rows: pd.DataFrame) -> pd.Series:
    """Return the runs that did not begin with the weights of full retraining of their seed.

    At level 0 every rule trains the same network. So where both were looked at after as many
    epochs, all that was measured is the same. It differs where processors add up otherwise, or the
    code was another; what a machine calls itself does not tell.

    Args:
        rows: of one family.

    Returns:
        A boolean for each rule and seed, indexed by both; False where nothing can be told.

    >>> rows = pd.DataFrame({"rule": ["full", "a", "b"], "validation_accuracy": [0.9, 0.9, 0.8]})
    >>> apart(rows.assign(seed=0, level=0, epoch=1.0, kind=["full", "own", "own"])).tolist()
    [False, False, True]
    """
    at_first = rows[rows["level"] == 0]
    seen = [name for name in SEEN if name in rows]
    full = at_first[labels.is_full(at_first)][["seed", "epoch", *seen]]
    wide = at_first.merge(full, how="left", on=["seed", "epoch"], suffixes=("", "_full"))
    here, there = wide[seen], wide[[f"{name}_full" for name in seen]].set_axis(seen, axis=1)
    gap = ((here - there).abs() > 1e-4 * here.abs()).any(axis=1)
    return wide.assign(gap=gap).groupby(["rule", "seed"], sort=False)["gap"].any()


def lacking(runs: pd.DataFrame) -> dict[str, list[int]]:
    """Return the rules that lack seeds which others of their family have, or an accuracy there.

    Args:
        runs: as `evidence.final` gives them, of one family.

    >>> lacking(pd.DataFrame({"rule": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy": 0.9}))
    {'b': [1]}
    """
    seeds = set(runs["seed"])
    whole = runs.dropna(subset="accuracy").groupby("rule")["seed"].agg(set)
    found = {rule: sorted(seeds - whole.get(rule, set())) for rule in runs["rule"].unique()}
    return {rule: missing for rule, missing in found.items() if missing}

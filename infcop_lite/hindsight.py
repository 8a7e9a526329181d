"""Where a rule would have ended the levels of recorded full retraining.

No network is trained for it. Level 0 of full retraining is that of every rule, up to where the rule
ends it. Later levels begin with masks that depend on when those before ended, so that what a rule
really does there may be something else.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from . import labels
from .checks import Check
from .stopping import as_rule, consistencies

LEVEL = ["family", "seed", "level"]
#: What a check and a row call alike.
KNOWN = ("train_loss", "validation_accuracy", "gradient_norm", "mask_distance")


def checks(level: pd.DataFrame, reference: str = "warmup") -> list[Check]:
    """Return the checks that a rule would have seen, from the rows of one level.

    Args:
        level: its rows, in the order of their epochs.
        reference: "warmup" or "trained", the network that the distances are to. As in the rows they
            are in units of its flow's norm, so that each norm is 1.

    >>> rows = pd.DataFrame({"level": [2], "epoch": [1.0], "information_warmup": [0.25]})
    >>> checks(rows)[0].distances
    {'information': 0.25}
    """
    known = [name for name in KNOWN if name in level]
    flows = [name for name in level if name.endswith(f"_{reference}")]
    found = []
    for row in level[["epoch", "level", *known, *flows]].to_dict("records"):
        distances = {name.removesuffix(f"_{reference}"): row[name] for name in flows}
        numbers: dict[str, Any] = {name: row[name] for name in ("epoch", "level", *known)}
        norms = dict.fromkeys(distances, 1.0)
        found.append(Check(**numbers, distances=distances, reference_norms=norms))
    return found


def asked(rule: Any, seen: Sequence[Check], reference: str = "warmup") -> float:
    """Return the epoch at which a rule ends a level, at its first yes or else at the last check.

    Args:
        rule: any object with ``reads`` and ``stop``.
        seen: the checks of the whole level.
        reference: what it compares with; "trained" is the network after level 0, which then
            trains for the whole budget.

    >>> from .timetables import FixedEpochs
    >>> asked(FixedEpochs(1), [Check(0.0), Check(0.5), Check(1.0), Check(2.0)])
    1.0
    """
    if seen[0].level == 0 and reference == "trained":
        return seen[-1].epoch
    ends = (seen[i - 1].epoch for i in range(1, len(seen)) if rule.stop(seen[:i]))
    return next(ends, seen[-1].epoch)


def timetable(rows: pd.DataFrame, rule: Any, reference: str = "warmup") -> pd.DataFrame:
    """Return where a rule would have ended each level but the last of full retraining.

    Args:
        rows: as `evidence.read` or `evidence.collect` give them, with every check of full
            retraining.
        rule: any object with ``reads`` and ``stop``.
        reference: "warmup" or "trained", the network that distances are to.

    Returns:
        A table with the columns family, seed, level and epoch. It is what the rule does in level 0.
        Later it is what the rule would do if the masks were those of full retraining.

    Raises:
        ValueError: no full retraining among the rows, or a rule with an absolute tolerance, of
            which they do not know the unit.

    >>> from .timetables import FixedEpochs
    >>> rows = pd.DataFrame({"rule": "full", "seed": 0, "level": [0, 0, 0, 1]})
    >>> rows["epoch"] = [0.0, 1.0, 2.0, 2.0]
    >>> timetable(rows, FixedEpochs(1))[["level", "epoch"]].values.tolist()
    [[0.0, 1.0]]
    """
    rule = as_rule(rule)
    if any(not each.relative for each in consistencies(rule)):
        raise ValueError("rows hold distances in units of the reference: take a relative tolerance")
    full = rows[labels.is_full(rows)]
    if full.empty:
        raise ValueError(f"no full retraining (the rule {labels.FULL!r}) among these rows")
    full = full if "family" in full else full.assign(family="all")
    last = full.groupby(["family", "seed"])["level"].transform("max")
    before = full[full["level"] < last].sort_values([*LEVEL, "epoch"])
    lines = []
    for (family, seed, level), group in before.groupby(LEVEL, sort=False):
        end = asked(rule, checks(group, reference), reference)
        lines.append({"family": family, "seed": seed, "level": level, "epoch": end})
    return pd.DataFrame(lines, columns=[*LEVEL, "epoch"])

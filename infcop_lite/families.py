"""One way to prune as a referee looks at it, with its runs, twins and noise."""

from dataclasses import dataclass

import pandas as pd

from . import evidence, faults, verdicts


@dataclass(frozen=True)
class Family:
    """One way to prune, with its rows, one line per run, twins and noise.

    Args:
        rows: all its checks.
        runs: as `evidence.final` gives them, without those that have no accuracy; ``apart``: those
            that began with other weights than full retraining, see `faults.apart`.
        twins: rule -> the one that it is, under a second name.
        unlike: runs that do not end at the density of full retraining.
        noise: scatter of one run.
    """

    rows: pd.DataFrame
    runs: pd.DataFrame
    twins: dict[str, str]
    unlike: pd.DataFrame
    noise: verdicts.Noise


def look(rows: pd.DataFrame) -> Family:
    """Return what there is of one family.

    Args:
        rows: of one family, as `evidence.read` gives them, that `faults.check` lets pass.
    """
    runs, twins = evidence.final(rows), faults.twins(rows)
    keys = pd.MultiIndex.from_frame(runs[["rule", "seed"]])
    runs = runs.assign(apart=faults.apart(rows).reindex(keys, fill_value=False).to_numpy())
    unlike = faults.unlike(runs)
    known = runs.dropna(subset="accuracy")
    alike = known[~known["apart"] & ~known.index.isin(unlike.index)]
    alike = alike[~alike["rule"].isin(list(twins))]
    noise = verdicts.residual(alike.pivot(index="rule", columns="seed", values="accuracy"))
    return Family(rows, known, twins, unlike, noise)

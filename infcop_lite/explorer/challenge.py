"""The page of chapter 7 where a reader's rule is replayed against constants.

The page's own script parses the rule and replays it. It shows what the nearest recorded timetable
was worth. `held_out` says how far that is off for a rule that was left out.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .. import evidence, labels, pairing
from ..flows import FLOWS
from ..hindsight import LEVEL

#: What the page calls a column of the rows.
CHECKS = {
    "loss": "train_loss",
    "accuracy": "validation_accuracy",
    "information": "information_warmup",
    "gradient": "gradient_warmup",
    "mask": "mask_distance",
}
#: Kinds of rules that make the curve others are held against.
CONTROLS = ("constant", labels.FULL)
#: The rule that ends a level as soon as the warm-up's loss is reached.
LOSS = "ours: loss recovered"


def table(rows: pd.DataFrame, title: str) -> dict[str, Any]:
    """Return what the page needs of one table of runs.

    Args:
        rows: as `evidence.read` gives them, of one family.
        title: in words.

    Returns:
        ``epochs``: of the checks. ``checks``: name -> [seed][level][check], of full retraining.
        ``ref_accuracy``, ``ref_loss``: one per seed, None where not known. ``constants``: mean
        epochs and accuracy of each, cheapest first, with full retraining. ``recorded``: as
        `timetables` gives them. ``error`` and ``reach``: as `held_out`.
    """
    full = rows[labels.is_full(rows)]
    full = full[full["level"] < full["level"].max()].sort_values([*LEVEL, "epoch"])
    seeds = sorted(full["seed"].unique())
    shape = len(seeds), full["level"].nunique(), full["epoch"].nunique()
    columns = {k: full[column].to_numpy(float).reshape(shape) for k, column in CHECKS.items()}
    losses = reference_losses(rows)
    recorded = timetables(rows)
    error, reach = held_out(recorded)
    return {
        "title": title,
        "seeds": [int(seed) for seed in seeds],
        "epochs": sorted(full["epoch"].unique()),
        "checks": columns,
        "ref_accuracy": columns["accuracy"][:, 0, 0],
        "ref_loss": [losses.get(seed, math.nan) for seed in seeds],
        "constants": constants(evidence.final(rows)).to_dict("records"),
        "recorded": recorded.to_dict("records"),
        "error": error,
        "reach": reach,
    }


def reference_losses(rows: pd.DataFrame) -> dict[int, float]:
    """Return for each seed a bound on the loss that the warm-up came to, from below.

    No row holds that loss. The rule that waits for it ends a level at the first check that is no
    higher, so that the largest of these is close to it.

    >>> reference_losses(pd.DataFrame({"rule": [], "level": [], "stopped": [], "seed": []}))
    {}
    """
    ends = rows[(rows["rule"] == LOSS) & rows["stopped"].astype(bool)]
    ends = ends[ends["level"] < rows["level"].max()]
    return {} if ends.empty else ends.groupby("seed")["train_loss"].max().to_dict()


def constants(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean epochs and accuracy of the constants and of full retraining, cheapest first.

    Args:
        runs: as `evidence.final` gives them.
    """
    held = runs[runs["kind"].isin(CONTROLS)]
    means = held.groupby("rule").agg(epochs=("retraining", "mean"), accuracy=("accuracy", "mean"))
    return means.sort_values("epochs").reset_index()


def timetables(rows: pd.DataFrame) -> pd.DataFrame:
    """Return every recorded rule that a constant was held against, with its mean timetable.

    Args:
        rows: as `evidence.read` gives them, of one family.

    Returns:
        One line per rule, with ``rule`` and ``kind`` as in the rows and these columns.

        - ``expression``: the rule as `expression` writes it.
        - ``timetable``: epochs of each level but the last, means over seeds.
        - ``gain``, ``half_width``: over a constant of the same cost, as in
          `evidence.against_control`. Both are 0 for a constant and for full retraining.
        - ``replay_gain``, ``replay_half_width``: of the rule over its replay, NaN without one.
    """
    runs = evidence.final(rows)
    ends = rows[rows["stopped"].astype(bool) & (rows["level"] < rows["level"].max())]
    epochs = ends.pivot_table(index="rule", columns="level", values="epoch")
    told = evidence.against_control(runs).dropna(subset="gain").set_index("rule")
    replays = pairing.against(runs, pairing.REPLAY).groupby("rule")["gain"]
    lines = []
    for rule, group in ends.groupby("rule", sort=False):
        first = group.iloc[0]
        line = {"rule": rule, "kind": first["kind"], "expression": expression(first)}
        line |= {"timetable": epochs.loc[rule].tolist(), "gain": 0.0, "half_width": 0.0}
        if rule in told.index:
            line |= told.loc[rule, ["gain", "half_width"]].to_dict()
        elif first["kind"] not in CONTROLS:
            continue
        lines.append(line)
    found = pd.DataFrame(lines)
    held = {"replay_gain": replays.mean(), "replay_half_width": replays.agg(evidence.half_width)}
    return found.assign(**{name: found["rule"].map(values) for name, values in held.items()})


def expression(row: Any) -> str:
    """Return a rule of the tables in the language of the page; "" if that cannot say it.

    Args:
        row: any row of that rule, with its name and `labels.COLUMNS`. A mask rule of the tables
            asks for one check, and so does the rule named "patience 1".

    >>> row = {"stop": "information", "epsilon": 0.5, "absolute": False, "reference": "warmup"}
    >>> expression(row | {"kind": "flow", "rule": "information 0.5, warmup"})
    'information < 0.5'
    """
    stop, of_snapshot = row["stop"], row["reference"] == "warmup"
    if row["kind"] == "constant" and row["epochs_fixed"] > 0:  # the page asks after some training
        return f"epoch >= {row['epochs_fixed']:g}"
    if stop == "mask" or (stop in FLOWS and of_snapshot and not row["absolute"]):
        return f"{stop} < {row['epsilon']:g}"
    if row["rule"] == "patience 1":
        return "accuracy <= best(accuracy)"
    return {"loss": "loss <= ref_loss", "accuracy": "accuracy >= ref_accuracy"}.get(stop, "")


def held_out(recorded: pd.DataFrame) -> tuple[float, float]:
    """Return what the nearest timetable says wrongly of the gain of a rule that was left out.

    Each rule but the constants is left out in turn, and with it all of the same timetable.

    Args:
        recorded: as `timetables` gives them.

    Returns:
        The error, a root mean square; and the largest distance to the nearest that occurred, a root
        mean square over levels of differences in log(1 + epochs). Farther than that nothing was
        tried.

    >>> recorded = pd.DataFrame({"timetable": [[0.0], [0.0], [math.e - 1]], "gain": [0, 0, 0.3]})
    >>> [round(x, 3) for x in held_out(recorded.assign(kind=["constant", "constant", "mask"]))]
    [0.3, 1.0]
    """
    places = np.log1p(np.array(recorded["timetable"].tolist()))
    gaps = np.sqrt(((places[:, None] - places) ** 2).mean(-1))
    gaps = np.where(gaps > 1e-6, gaps, np.inf)
    gains = recorded["gain"].to_numpy(float)
    tried = ~recorded["kind"].isin(CONTROLS).to_numpy()
    errors = (gains[gaps.argmin(1)] - gains)[tried]
    return float(np.sqrt((errors**2).mean())), float(gaps.min(1)[tried].max())


def script(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return HTML that hands the tables to the page as JSON in an element that is not shown.

    Args:
        tables: name -> as `table` gives it.

    >>> script({"a": {"title": "<", "error": math.nan}})[-46:]
    '{"a":{"title":"\\\\u003c","error":null}}</script>'
    """
    text = json.dumps(_plain(tables), separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")  # so that no text ends the element
    return f'<script type="application/json" id="challenge-data">{text}</script>'


def _plain(value: Any) -> Any:
    """Return it as JSON has it: lists for arrays, None for NaN."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return value

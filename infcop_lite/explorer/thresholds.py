"""The threshold explorer: recorded runs on a grid of tolerances, one to be chosen."""

import html
import re
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ..evidence import FULL, final, half_width
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, explore, style

#: what the reader chooses -> (stop, reference) of the config, and the column that the rule reads
CRITERIA = {
    "information flow": ("information", "warmup", "information_warmup"),
    "information flow, trained reference": ("information", "trained", "information_trained"),
    "gradient flow": ("gradient", "warmup", "gradient_warmup"),
    "mask stability": ("mask", "", "mask_distance"),
}
LEGEND = (
    "<small>Above, one run: a stretch for each level. A filled mark: ε ended the level; a hollow "
    "one: its budget did, or it is the last. Below, the final networks: every tolerance of this "
    "kind in grey, the chosen one in orange, the same numbers of epochs in every level dashed."
    "</small>"
)


def threshold_explorer(rows: pd.DataFrame) -> Explorer:
    """Show what each tolerance does to recorded runs: where levels stop, epochs, final accuracy.

    Source: the criterion of arXiv:2501.15592, on the tables that end in "-grid".

    Args:
        rows: as `evidence.read` gives them, with every check, full retraining among the rules.

    Raises:
        ValueError: no full retraining, or no rule with a tolerance, in these rows.
    """
    everything, tolerances = final(rows), _tolerances(rows)
    runs = everything.merge(tolerances, on="rule")
    full, control = (everything[everything["rule"].str.match(n)] for n in (FULL, "k = "))
    if runs.empty or full.empty:
        raise ValueError("these rows hold no grid of tolerances, or no full retraining")
    worth = everything["accuracy"].min() - 0.002, everything["accuracy"].max() + 0.002
    first = rows[rows["seed"] == rows["seed"].min()].merge(tolerances, on="rule")

    def draw(criterion: str, epsilon: float) -> str:
        same = runs[runs["criterion"] == criterion]
        chosen = same[same["epsilon"] == epsilon]
        run = first[(first["criterion"] == criterion) & (first["epsilon"] == epsilon)]
        every = first.loc[first["criterion"] == criterion, CRITERIA[criterion][2]]
        text = _sentence(epsilon, chosen, full)
        with style():
            figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(5.2, 5.0))
            draw_levels(run.assign(distance=run[CRITERIA[criterion][2]]), epsilon, above)
            above.set(ylim=(0.8 * every[every > 0].min(), 1.3 * every.max()))
            if criterion == "mask stability":
                above.set(ylabel="fraction of the next mask changed")
            _draw_worth(same, epsilon, full, control, below)
            below.set(ylim=worth)
            picture = as_svg(figure, f"{criterion}: {text}")
            return f"<p>{html.escape(text)}</p>{picture}<p>{LEGEND}</p>"

    def tolerance(criterion: str) -> Knob:
        grid = sorted(runs.loc[runs["criterion"] == criterion, "epsilon"].unique())
        return Knob("ε", {f"{epsilon:g}": epsilon for epsilon in grid}, len(grid) // 2)

    criteria = {name: name for name in CRITERIA if name in set(runs["criterion"])}
    return explore(
        draw,
        Knob("what is watched", criteria, buttons=True),
        tolerance,
        table=_table(runs, full),
        title="The same as a table: means over seeds",
    )


def _tolerances(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rule, criterion and epsilon of the rules that have a tolerance."""
    names = {kind[:2]: criterion for criterion, kind in CRITERIA.items()}
    found = []
    for rule in rows["rule"].unique():
        match = re.fullmatch(r"(\w+) ([\d.]+)(?:, (\w+))?", rule)
        if match and (criterion := names.get((match[1], match[3] or ""))):
            found.append({"rule": rule, "criterion": criterion, "epsilon": float(match[2])})
    return pd.DataFrame(found, columns=["rule", "criterion", "epsilon"])


def _mean(values: pd.Series) -> str:
    half = half_width(values)
    return f"{values.mean():.4f}" + (f" ± {half:.4f}" if half == half else "")


def _sentence(epsilon: float, chosen: pd.DataFrame, full: pd.DataFrame) -> str:
    epochs, all_epochs = chosen["epochs"].mean(), full["epochs"].mean()
    return (
        f"ε = {epsilon:g}: {epochs:.1f} epochs instead of {all_epochs:.1f}, "
        f"{all_epochs / epochs:.1f} times fewer. Test accuracy {_mean(chosen['accuracy'])} instead "
        f"of {_mean(full['accuracy'])} ({len(chosen)} seed{'s' * (len(chosen) > 1)})."
    )


def _table(runs: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat([full.assign(criterion="(full retraining)"), runs])
    named = everything.assign(**{"ε": everything["epsilon"], "± (95 %)": everything["accuracy"]})
    columns = {"epochs": "mean", "accuracy": "mean", "± (95 %)": half_width, "overlap": "mean"}
    groups = named.groupby(["criterion", "ε"], dropna=False)
    table = groups.agg({**columns, "seed": "count"}).reset_index()
    table.insert(3, "saving", full["epochs"].mean() / table["epochs"])
    return table


def draw_levels(run: pd.DataFrame, epsilon: float, ax: Axes) -> None:
    """Draw the distance within each level of one run, epoch after epoch, and where it stopped.

    Source: ours.

    Args:
        run: level, epoch, distance of every check, and warmup_epochs, in order.
        epsilon: the tolerance; a level that ends below it has a filled mark at its end.
        ax: where to draw.
    """
    start = run["warmup_epochs"].iloc[0]
    for level, checks in run.groupby("level"):
        x = start + checks["epoch"]
        ax.plot(x, checks["distance"], color=(BLUE, ORANGE)[int(level) % 2])
        end = checks.iloc[-1]
        fired = end["distance"] < epsilon and level < run["level"].max()
        ax.plot(x.iloc[-1], end["distance"], "o", ms=7, color=INK, mfc=INK if fired else "none")
        start += end["epoch"]
    ax.axhline(epsilon, color=INK, linestyle="--", linewidth=1)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    ax.annotate(f"ε = {epsilon:g}", (1, epsilon), (-2, 3), ha="right", color=INK, **place)
    ax.set(yscale="log", ylabel="relative distance")
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.grid(True, axis="y")


def _draw_worth(
    same: pd.DataFrame, epsilon: float, full: pd.DataFrame, control: pd.DataFrame, ax: Axes
) -> None:
    """Draw final accuracy against epochs for every tolerance, with the chosen one marked."""
    line = control.groupby("rule")[["epochs", "accuracy"]].mean().sort_values("epochs")
    ax.plot(line["epochs"], line["accuracy"], color=INK, linestyle="--", linewidth=1, alpha=0.6)
    groups = same.groupby("epsilon")
    x, y = groups["epochs"].mean(), groups["accuracy"].mean()
    half = groups["accuracy"].agg(half_width).fillna(0.0)
    ax.errorbar(x, y, half, fmt="o", ms=4, elinewidth=1, color=INK, alpha=0.35)
    ax.errorbar(x[epsilon], y[epsilon], half[epsilon], fmt="o", ms=9, color=ORANGE)
    x, y, half = full["epochs"].mean(), full["accuracy"].mean(), half_width(full["accuracy"])
    ax.errorbar(x, y, 0.0 if half != half else half, fmt="D", ms=7, color=BLUE)
    below_left: dict[str, Any] = {"xytext": (-8, -24), "textcoords": "offset points", "ha": "right"}
    ax.annotate("full retraining", (x, y), color=BLUE, **below_left)
    ax.set(xlabel="epochs in all", ylabel="test accuracy", xlim=(0, 1.03 * x))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.grid(True)

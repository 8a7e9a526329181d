"""The threshold explorer: recorded runs on a grid of tolerances, one to be chosen."""

import html
import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ..evidence import final, half_width
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, explore, style
from ..labels import check_kinds

#: what the reader chooses -> (stop, reference) of the config, and the column that the rule reads
CRITERIA = {
    "information flow": ("information", "warmup", "information_warmup"),
    "information flow, trained reference": ("information", "trained", "information_trained"),
    "gradient flow": ("gradient", "warmup", "gradient_warmup"),
    "mask stability": ("mask", "", "mask_distance"),
}
COLUMN = 0.86  # what a level's budget takes of the room for a level; the rest is a gap
LEGEND = (
    "<small>Above, one run: a column for each level, as wide as its budget; the bar at its foot "
    "is what it trained. A filled mark: ε ended the level; a hollow one: its budget did, or it is "
    "the last. Below, the final networks, with 95 % intervals: every tolerance of this kind in "
    "grey, the chosen one in orange, full retraining as a blue diamond, the same number of epochs "
    "in every level dashed.</small>"
)


def threshold_explorer(rows: pd.DataFrame) -> Explorer:
    """Show what each tolerance does to recorded runs: where levels stop, epochs, final accuracy.

    Source: the criterion of arXiv:2501.15592, on the tables that end in "-grid".

    Args:
        rows: as `evidence.read` gives them, with every check, full retraining among the rules.

    Raises:
        ValueError: rows without a kind; no full retraining among them, or no rule with a tolerance.
    """
    everything = final(rows)
    check_kinds(everything)
    tolerances = _tolerances(everything)
    runs = everything.drop(columns="epsilon").merge(tolerances, on="rule")
    full, control = (everything[everything["kind"] == kind] for kind in ("full", "constant"))
    if runs.empty or full.empty:
        raise ValueError("these rows hold no grid of tolerances, or no full retraining")
    worth = _range(pd.concat([runs, full, control]))
    first = rows[rows["seed"] == rows["seed"].min()]
    first = first.drop(columns="epsilon").merge(tolerances, on="rule")
    budget, num_levels = rows["epoch"].max(), int(rows["level"].max()) + 1

    def draw(criterion: str, epsilon: float) -> str:
        same = runs[runs["criterion"] == criterion]
        chosen = same[same["epsilon"] == epsilon]
        run = first[(first["criterion"] == criterion) & (first["epsilon"] == epsilon)]
        every = first.loc[first["criterion"] == criterion, CRITERIA[criterion][2]]
        top = max(same["epsilon"].max(), every.max())
        text = _sentence(epsilon, chosen, full)
        with style():
            figure, (above, below) = plt.subplots(2, 1, figsize=(5.2, 5.6))
            figure.subplots_adjust(bottom=0.1, hspace=0.32)
            run = run.assign(distance=run[CRITERIA[criterion][2]])
            draw_levels(run, epsilon, budget, num_levels, above)
            above.set(ylim=(0.6 * min(same["epsilon"].min(), every[every > 0].min()), 1.5 * top))
            if criterion == "mask stability":
                above.set(ylabel="share of mask changed")
            _draw_worth(same, epsilon, full, control, below)
            below.set(ylim=worth)
            trained = _listed(run.loc[run["stopped"], "epoch"])
            picture = as_svg(
                figure, f"{criterion}: {text} The levels drawn train {trained} epochs."
            )
            return f"<p>{html.escape(text)}</p>{picture}<p>{LEGEND}</p>"

    def tolerance(criterion: str) -> Knob:
        grid = sorted(runs.loc[runs["criterion"] == criterion, "epsilon"].unique())
        return Knob("ε", {f"{epsilon:g}": epsilon for epsilon in grid}, len(grid) // 2)

    criteria = {name: name for name in CRITERIA if name in set(runs["criterion"])}
    return explore(
        draw,
        Knob("what is watched", criteria, buttons=True),
        tolerance,
        table=_table(runs, full).join(_level_by_level(first), on=["criterion", "ε"]),
        title="The same as a table: means over seeds; level by level, the run that is drawn",
    )


def _tolerances(runs: pd.DataFrame) -> pd.DataFrame:
    """Return rule, criterion and epsilon of the rules with a relative tolerance."""
    names = {kind[:2]: criterion for criterion, kind in CRITERIA.items()}
    rules = runs[~runs["absolute"]].drop_duplicates("rule")
    keys = zip(rules["stop"], rules["reference"], strict=True)
    rules = rules.assign(criterion=[names.get(key) for key in keys])
    return rules.dropna(subset="criterion")[["rule", "criterion", "epsilon"]]


def _mean(values: pd.Series) -> str:
    half = half_width(values)
    return f"{values.mean():.4f}" + ("" if math.isnan(half) else f" ± {half:.4f}")


def _sentence(epsilon: float, chosen: pd.DataFrame, full: pd.DataFrame) -> str:
    epochs, all_epochs = chosen["epochs"].mean(), full["epochs"].mean()
    return (
        f"ε = {epsilon:g}: {epochs:.1f} epochs instead of {all_epochs:.1f}, "
        f"{all_epochs / epochs:.1f} times fewer. Test accuracy {_mean(chosen['accuracy'])} instead "
        f"of {_mean(full['accuracy'])} ({len(chosen)} seed{'s' * (len(chosen) > 1)})."
    )


def _range(runs: pd.DataFrame) -> tuple[float, float]:
    """Return accuracies between which every interval lies."""
    groups = runs.groupby("rule")["accuracy"]
    mean, half = groups.mean(), groups.agg(half_width).fillna(0.0)
    return max(0.0, (mean - half).min() - 0.002), min(1.0, (mean + half).max() + 0.002)


def _table(runs: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat([full.assign(criterion="(full retraining)"), runs])
    named = everything.assign(**{"ε": everything["epsilon"], "± (95 %)": everything["accuracy"]})
    columns = {"epochs": "mean", "accuracy": "mean", "± (95 %)": half_width, "overlap": "mean"}
    groups = named.groupby(["criterion", "ε"], dropna=False)
    table = groups.agg({**columns, "seed": "count"}).reset_index()
    table.insert(3, "saving", full["epochs"].mean() / table["epochs"])
    return table


def _level_by_level(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return where the levels of the run that is drawn stopped, in words, by criterion and ε."""
    found = {}
    for (criterion, epsilon), ends in drawn[drawn["stopped"]].groupby(["criterion", "epsilon"]):
        found[criterion, epsilon] = {
            "epochs of each level": _listed(ends["epoch"]),
            "distances at their ends": _listed(ends[CRITERIA[criterion][2]]),
        }
    return pd.DataFrame.from_dict(found, orient="index")


def _listed(values: pd.Series) -> str:
    return ", ".join("none" if math.isnan(x) else f"{x:.3g}" for x in values)


def draw_levels(
    run: pd.DataFrame, epsilon: float, budget: float, num_levels: int, ax: Axes
) -> None:
    """Draw the distance within each level of one run, epoch after epoch, and where it stopped.

    Args:
        run: level, epoch, distance of every check, in order.
        epsilon: the tolerance; a level that ends below it, but for the last, has a filled mark.
        budget: the most epochs of a level; each has a column as wide.
        num_levels: columns, the last level's included; a run may end before.
        ax: where to draw.
    """
    foot: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "solid_capstyle": "butt"}
    for level, checks in run.groupby("level"):
        colour = (BLUE, ORANGE)[int(level) % 2]
        x, distances = level + COLUMN * checks["epoch"] / budget, checks["distance"]
        ax.plot(x, distances, color=colour)
        ax.plot([level, x.iloc[-1]], [0.03, 0.03], color=colour, linewidth=5, **foot)
        fired = distances.iloc[-1] < epsilon and level < run["level"].max()
        ax.plot(x.iloc[-1], distances.iloc[-1], "o", ms=7, color=INK, mfc=INK if fired else "none")
    ax.axhline(epsilon, color=INK, linestyle="--", linewidth=1)
    ax.text(1.01, epsilon, "ε", transform=ax.get_yaxis_transform(), va="center")
    ax.set(xlim=(-0.1, num_levels), xlabel="level", yscale="log", ylabel="relative distance")
    ax.set_xticks([n + COLUMN / 2 for n in range(num_levels)], map(str, range(num_levels)))
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
    ax.errorbar(x, y, half, fmt="o", ms=4, elinewidth=1, color=INK, alpha=0.5)
    ax.errorbar(x[epsilon], y[epsilon], half[epsilon], fmt="o", ms=9, color=ORANGE)
    x, y, half = full["epochs"].mean(), full["accuracy"].mean(), half_width(full["accuracy"])
    ax.errorbar(x, y, 0.0 if math.isnan(half) else half, fmt="D", ms=7, color=BLUE)
    ax.set(xlabel="epochs in all", ylabel="test accuracy", xlim=(0, 1.03 * x))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.grid(True)

"""The threshold explorer: recorded runs on a grid of tolerances, one to be chosen."""

import html
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .. import pairing
from ..evidence import final, half_width
from ..explorer.knobs import BLUE, INK, ORANGE, Explorer, Knob, as_svg, beside, explore, style
from ..explorer.levels import draw_levels, key, panel
from ..labels import check_kinds

#: what the reader chooses -> (stop, reference) of the config, and the column that the rule reads
CRITERIA = {
    "information flow": ("information", "warmup", "information_warmup"),
    "information flow, trained reference": ("information", "trained", "information_trained"),
    "gradient profile": ("gradient", "warmup", "gradient_warmup"),
    "mask stability": ("mask", "", "mask_distance"),
}


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
    line, gains = _line(pd.concat([control, full])), _gains(everything)
    first = rows[rows["seed"] == rows["seed"].min()]
    first = first.drop(columns="epsilon").merge(tolerances, on="rule")
    budget, num_levels = rows["epoch"].max(), int(rows["level"].max()) + 1

    def draw(criterion: str, epsilon: float) -> str:
        same = runs[runs["criterion"] == criterion]
        chosen = same[same["epsilon"] == epsilon]
        drawn = first[first["criterion"] == criterion]
        drawn = drawn.assign(distance=drawn[CRITERIA[criterion][2]])
        run = drawn[drawn["epsilon"] == epsilon]
        text = _sentence(epsilon, chosen, full)
        held, bought = _verdict(gains[gains["rule"] == chosen["rule"].iloc[0]], len(chosen))
        trained = _listed(run.loc[run["stopped"], "epoch"])
        with style():
            figure, ax = panel()
            draw_levels(
                run, epsilon, budget, num_levels, ax, [*drawn["distance"], *same["epsilon"]]
            )
            if criterion == "mask stability":
                ax.set(ylabel="share of mask changed")
            alt = f"{criterion}: {text} The levels drawn train {trained} epochs."
            levels = as_svg(figure, alt)
            figure, ax = panel()
            _draw_worth(same, epsilon, full, line, ax)
            ax.set(ylim=worth)
            alt = f"Final networks, {criterion}, ε = {epsilon:g}. {held} {bought}"
            final_networks = as_svg(figure, alt)
        pictures = {"One run, level by level": levels, "The final networks": final_networks}
        return f"<p>{html.escape(text)} {held} <b>{bought}</b></p>{beside(pictures)}"

    def tolerance(criterion: str) -> Knob:
        grid = sorted(runs.loc[runs["criterion"] == criterion, "epsilon"].unique())
        named = {f"{epsilon:g}": epsilon for epsilon in grid}
        return Knob(f"ε of the {criterion}", named, len(grid) // 2)

    criteria = {name: name for name in CRITERIA if name in set(runs["criterion"])}
    return explore(
        draw,
        Knob("what is watched", criteria, buttons=True),
        tolerance,
        table=_table(runs, full, gains).join(_level_by_level(first), on=["criterion", "ε"]),
        title="The same as a table: means over seeds; level by level, the run that is drawn",
        name="tolerance",
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


def _gains(runs: pd.DataFrame) -> pd.DataFrame:
    """Return for each run how far it lies above a fixed number of epochs that costs the same.

    Source: `evidence.against_control`, run by run; accuracy is that of the fixed number.
    """
    pairs = pairing.against_constants(runs)
    held = pairs.merge(runs, on=["family", "rule", "seed"], suffixes=("", "_run"))
    return held.assign(constant=held["accuracy"] - held["gain"])


def _verdict(gains: pd.DataFrame, num_seeds: int) -> tuple[str, str]:
    """Say what a fixed number of epochs of the same cost is worth, and what looking bought."""
    if gains.empty:
        return "No fixed number of epochs of the same cost is among these runs.", ""
    gain, half = gains["gain"].mean(), half_width(gains["gain"])
    noise = "" if math.isnan(half) else f" ± {100 * half:.2f}"
    if math.isnan(half):
        side = "which one seed cannot tell from noise"
    elif abs(gain) <= half:
        side = "on the line, within noise"
    else:
        side = f"{'above' if gain > 0 else 'below'} the line"
    some = "" if len(gains) == num_seeds else f" ({len(gains)} of {num_seeds} seeds)"
    held = f"A fixed number of epochs of the same cost: {gains['constant'].mean():.4f};"
    bought = f"looking bought {100 * gain:+z.2f}{noise} points, {side}{some}."
    return held, bought.replace("-", "−")


def _line(constants: pd.DataFrame) -> pd.DataFrame:
    """Return epochs and accuracy along the line of fixed numbers of epochs, up to the budget.

    Source: as `pairing.against_constants` interpolates, on the means over seeds.
    """
    means = constants.groupby("rule")[["retraining", "epochs", "accuracy"]].mean()
    means = means.sort_values("retraining")
    x = np.log1p(means["retraining"].to_numpy())
    grid = np.unique(
        np.concatenate([np.linspace(a, b, 5) for a, b in itertools.pairwise(x)] or [x])
    )
    common = (means["epochs"] - means["retraining"]).mean()
    heights = np.interp(grid, x, means["accuracy"])
    return pd.DataFrame({"epochs": np.expm1(grid) + common, "accuracy": heights})


def _range(runs: pd.DataFrame) -> tuple[float, float]:
    """Return accuracies between which every interval lies."""
    groups = runs.groupby("rule")["accuracy"]
    mean, half = groups.mean(), groups.agg(half_width).fillna(0.0)
    return max(0.0, (mean - half).min() - 0.002), min(1.0, (mean + half).max() + 0.002)


def _table(runs: pd.DataFrame, full: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat([full.assign(criterion="(full retraining)"), runs])
    held = gains[["rule", "seed", "constant", "gain"]]
    everything = everything.merge(held, on=["rule", "seed"], how="left")
    names = {"ε": "epsilon", "constant k": "constant", "bought": "gain", "± of bought": "gain"}
    names["± (95 %)"] = "accuracy"
    named = everything.assign(**{name: everything[of] for name, of in names.items()})
    columns: dict[str, Any] = {"epochs": "mean", "accuracy": "mean", "± (95 %)": half_width}
    columns |= {"constant k": "mean", "bought": "mean", "± of bought": _half_of_known}
    groups = named.groupby(["criterion", "ε"], dropna=False)
    table = groups.agg({**columns, "overlap": "mean", "seed": "count"}).reset_index()
    table.insert(3, "saving", full["epochs"].mean() / table["epochs"])
    return table


def _half_of_known(values: pd.Series) -> float:
    return half_width(values.dropna())


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


def _draw_worth(
    same: pd.DataFrame, epsilon: float, full: pd.DataFrame, line: pd.DataFrame, ax: Axes
) -> None:
    """Draw final accuracy against epochs for every tolerance, with the chosen one marked."""
    named: dict[str, Any] = {"label": "fixed epochs a level", "linestyle": "--", "alpha": 0.6}
    ax.plot(line["epochs"], line["accuracy"], color=INK, linewidth=1, **named)
    groups = same.groupby("epsilon")
    x, y = groups["epochs"].mean(), groups["accuracy"].mean()
    half = groups["accuracy"].agg(half_width).fillna(0.0)
    grey: dict[str, Any] = {"ms": 4, "elinewidth": 1, "color": INK, "alpha": 0.5}
    ax.errorbar(x, y, half, fmt="o", **grey, label="other ε")
    own: dict[str, Any] = {"fmt": "o", "ms": 9, "color": ORANGE, "label": "your ε"}
    ax.errorbar(x[epsilon], y[epsilon], half[epsilon], **own)
    x, y, half = full["epochs"].mean(), full["accuracy"].mean(), half_width(full["accuracy"])
    whole: dict[str, Any] = {"fmt": "D", "ms": 7, "color": BLUE, "label": "full retraining"}
    ax.errorbar(x, y, 0.0 if math.isnan(half) else half, **whole)
    ax.set(xlabel="epochs in all", ylabel="test accuracy", xlim=(0, 1.03 * x))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.grid(True)
    key(ax, ax.get_legend_handles_labels())

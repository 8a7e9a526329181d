"""Three plots of rows, each drawn by a function that takes rows and returns an Axes."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

PALETTE = "colorblind"


def rule_label(stop: str, epsilon: float, absolute: bool = False) -> str:
    """Return how a stop rule is called in legends.

    >>> rule_label("information", 0.25), rule_label("budget", float("nan"))
    ('information, ε = 0.25', 'budget')
    """
    if pd.isna(epsilon):
        return stop
    return f"{stop}, ε = {epsilon:g}{' absolute' if absolute else ''}"


def accuracy_against_density(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw test accuracy against density, one line per stop rule, where its levels end.

    Source: the plot of Frankle & Carbin 2019; bands are 95 % confidence intervals over seeds.

    Args:
        rows: a table of rows of one or more runs; a column "rule" names the lines if present.
        ax: where to draw; a new figure unless given.

    Raises:
        ValueError: no level has ended in these rows.
    """
    ended = _ended(rows, "density", "test_accuracy").dropna(subset=["test_accuracy"])
    if ended.empty:
        raise ValueError("these rows hold no test accuracy")
    ax = _axes(ax)
    sns.lineplot(ended, x="density", y="test_accuracy", ax=ax, **_lines())
    densities = sorted(ended["density"].unique(), reverse=True)
    ax.set(xscale="log", xlabel="density (fraction of weights kept)", ylabel="test accuracy")
    ax.set_xlim(densities[0] * 1.08, densities[-1] / 1.08)
    ticks = densities[:: max(1, len(densities) // 6)]
    ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], minor=False)
    ax.set_xticks([], minor=True)
    ax.legend(title=None, frameon=False)
    return ax


def epochs_per_level(rows: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how many epochs each level trained, one line per stop rule.

    Source: the price list of the method (T5.1).

    Args:
        rows: as for `accuracy_against_density`.
        ax: where to draw; a new figure unless given.

    Raises:
        ValueError: no level has ended in these rows.
    """
    ended = _ended(rows, "level", "epoch")
    ax = _axes(ax)
    sns.lineplot(ended, x="level", y="epoch", ax=ax, **_lines())
    ax.set(xlabel="level (0 = dense)", ylabel="epochs trained", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # rules may lie anywhere between the first check and the budget: the names stand below
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return ax


def flow_distance(rows: pd.DataFrame, epsilon: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the flow's distance to its reference within each level of one run.

    Source: what the paper's criterion compares with epsilon.

    Args:
        rows: the rows of one run; distances are shown in units of the reference flow's norm.
        epsilon: a relative tolerance to draw in.
        ax: where to draw; a new figure unless given.

    Raises:
        ValueError: the rows hold no flow distance.
    """
    _check_columns(rows, "level", "epoch", "flow_distance", "reference_norm")
    table = rows.dropna(subset=["flow_distance"])
    if table.empty:
        raise ValueError("these rows hold no flow distance")
    table = table.assign(relative=table["flow_distance"] / table["reference_norm"])
    ax = _axes(ax)
    sns.lineplot(
        table, x="epoch", y="relative", hue="level", palette="viridis", marker="o", ms=4, ax=ax
    )
    ax.set(xlabel="epochs in the level", ylabel="distance / norm of the reference", ylim=(0, None))
    if epsilon is not None:
        ax.axhline(epsilon, color="0.35", linestyle="--", label=f"ε = {epsilon:g}")
    ax.legend(title="level", frameon=False)
    return ax


def _check_columns(rows: pd.DataFrame, *columns: str) -> None:
    if missing := [column for column in columns if column not in rows]:
        raise ValueError(f"these rows have no column {', '.join(missing)}")


def _ended(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    names = ("rule",) if "rule" in rows else ("stop", "epsilon", "absolute")
    _check_columns(rows, "stopped", *names, *columns)
    ended = rows[rows["stopped"].astype(bool)].copy() if len(rows) else rows
    if len(ended) == 0:
        raise ValueError("no level has ended in these rows")
    if "rule" not in ended:
        named = zip(ended["stop"], ended["epsilon"], ended["absolute"], strict=True)
        ended["rule"] = [rule_label(*names) for names in named]
    return ended


def _lines() -> dict[str, object]:
    # colour, marker and dash all tell the rules apart, so the figure survives grey printing;
    # the seed makes the bootstrapped band the same every time
    marks = {"hue": "rule", "style": "rule", "markers": True, "palette": PALETTE}
    return {**marks, "errorbar": ("ci", 95), "seed": 0}


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    with sns.axes_style("whitegrid"):
        return plt.subplots(figsize=(6.4, 3.8), layout="constrained")[1]

"""Draw book/_static/overview.svg, the summary figure, from the tables under experiments/results.

    .venv/bin/python experiments/overview.py      seconds; prints the numbers of the figure

One panel for each network with results: what the final network is worth against all its epochs.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from infcop_lite import evidence, figures

PANELS = {
    "mlp": "MLP on MNIST, density 0.03",
    "lenet5": "LeNet-5 on MNIST, density 0.03",
    "convnet": "ConvNet on CIFAR-10, density 0.1",
    "resnet20": "ResNet-20 on CIFAR-10, density 0.1",
}
CONTROL = "the same number of epochs in every level"
RULES = {  # what the figure calls a rule, the rules it stands for, the mark
    "full retraining": (evidence.FULL, "D"),
    "information flow, as published": ("information 0.11, published", "s"),
    "information flow, relative ε = 0.5": ("information 0.5, warmup", "^"),
    "accuracy recovered": ("accuracy", "o"),
    "training loss recovered (ours)": ("ours: loss recovered", "P"),
    "twice as long (ours)": ("ours: twice as long", "X"),
}


def collect() -> dict[str, pd.DataFrame]:
    """Return the final networks of every panel whose controls and full retraining are there."""
    tables = {}
    for table in PANELS:
        if table in evidence.tables():
            runs = evidence.final(evidence.read(table).query("family == 'fixed'"))
            constants = runs.loc[runs["kind"] == "constant", "epochs_fixed"]
            if (runs["kind"] == "full").any() and {0, 0.5} <= set(constants):
                tables[table] = runs
    return tables


def draw_panel(runs: pd.DataFrame, ax: Axes) -> None:
    """Draw the control as a line, and the rules as marks with intervals and a dot for each seed."""
    control = runs[runs["kind"].isin(["full", "constant"])]
    line = control.groupby("rule")[["epochs", "accuracy"]].mean().sort_values("epochs")
    ax.plot(line["epochs"], line["accuracy"], color="0.45", linestyle="--", label=CONTROL)
    colours = sns.color_palette(figures.PALETTE, len(RULES))
    for (name, (rule, mark)), colour in zip(RULES.items(), colours, strict=True):
        here = runs[runs["rule"] == rule]
        if here.empty:
            continue
        ax.scatter(here["epochs"], here["accuracy"], s=7, color=colour, alpha=0.6)
        half = evidence.half_width(here["accuracy"]) if len(here) > 1 else 0.0
        x, y = here["epochs"].mean(), here["accuracy"].mean()
        ax.errorbar(x, y, half, fmt=mark, ms=9, mec="white", color=colour, elinewidth=1, label=name)
    ax.set(xscale="log", xlabel="epochs in all", ylabel="test accuracy of the final network")
    ax.set_ylim(top=min(1.0, ax.get_ylim()[1]))  # an interval may reach where no accuracy is
    ticks = [t for t in (6, 8, 10, 15, 20, 30, 40, 60, 80, 120) if t < 1.1 * runs["epochs"].max()]
    ax.xaxis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def draw(tables: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw all panels over one legend."""
    plt.rcParams.update({"svg.hashsalt": "overview", "font.size": 10})
    with sns.axes_style("whitegrid"):
        num_rows = math.ceil(len(tables) / 2)
        size = (8.6, 4.6 * num_rows)
        figure, axes = plt.subplots(num_rows, 2, figsize=size, squeeze=False)
    for ax, (table, runs) in zip(axes.flat, tables.items(), strict=False):
        seeds = runs.loc[runs["kind"] == "full", "seed"].nunique()
        draw_panel(runs, ax)
        ax.set_title(f"{PANELS[table]} ({seeds} seed{'s' * (seeds > 1)})", fontsize=10)
    for ax in axes.flat[len(tables) :]:
        ax.remove()
    lines, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="lower center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0.22 / num_rows, 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    """Draw, and print the numbers of the figure."""
    tables = collect()
    draw(tables, Path(__file__).parent.parent / "book" / "_static" / "overview.svg")
    names = {rule: name for name, (rule, _) in RULES.items()}
    for table, runs in tables.items():
        shown = runs[runs["rule"].isin(names)].assign(rule=runs["rule"].map(names))
        groups = shown.groupby("rule").agg(
            epochs=("epochs", "mean"),
            accuracy=("accuracy", "mean"),
            half_width=("accuracy", evidence.half_width),
            seeds=("seed", "count"),
        )
        print(f"{PANELS[table]}\n{groups.sort_values('epochs').round(4).to_string()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

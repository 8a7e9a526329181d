"""Run what is missing under book/results/first, then draw book/_static/overview.svg from it.

.venv/bin/python book/overview.py      MNIST on disk; some minutes on one thread, seconds to redraw

One network, one data set, one sparsity; the runs differ in when a level stops training, and in
the seed. Each folder holds rows.csv and, in run.json, the command that made it.
"""

import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MultipleLocator

from infcop_lite import figures, records

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path("book/results/first")
SHARED = (
    "--data mnist --subset 10000 --model mlp --fraction 0.5 --levels 5 --final-epochs 8"
    " --threads 1 --device cpu"
)
SEEDS = range(3)
CONTROL = "one epoch per level, whatever the flow"
RULES = {
    "full retraining": ("full", "--stop budget"),
    "flow within 0.25 of the reference's norm": (
        "relative-0.25",
        "--stop information --epsilon 0.25",
    ),
    "flow within 0.5 of the reference's norm": ("relative-0.5", "--stop information --epsilon 0.5"),
    "flow within 0.11, absolute": ("absolute-0.11", "--stop information --epsilon 0.11 --absolute"),
    CONTROL: ("one-epoch", "--stop budget --epochs 1"),
    "no training between prunings": ("one-shot", "--stop budget --epochs 0"),
}


def collect() -> pd.DataFrame:
    """Make the runs that are missing; return the rows of all, a column "rule" naming each."""
    tables = []
    for rule, (name, options) in RULES.items():
        for seed in SEEDS:
            out = RESULTS / f"{name}-{seed}"
            if not (ROOT / out).exists() or not records.read(ROOT / out)[1]["finished"]:
                words = f"-m infcop_lite run {SHARED} {options} --seed {seed} --out {out}"
                subprocess.run([sys.executable, *words.split()], cwd=ROOT, check=True)
            tables.append(records.read(ROOT / out)[0].assign(rule=rule))
    return pd.concat(tables, ignore_index=True)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per run: the final network's test accuracy, and the epochs it took."""
    runs = rows[rows["stopped"]].groupby(["rule", "seed"], sort=False)
    return runs.agg(
        epochs=("epoch", "sum"), density=("density", "last"), accuracy=("test_accuracy", "last")
    ).reset_index()


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw epochs per level, and what the final network is worth against all its epochs."""
    plt.rcParams.update({"svg.hashsalt": "overview", "font.size": 10})
    with sns.axes_style("whitegrid"):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.5), layout="constrained")
    rules, runs = rows[rows["rule"] != CONTROL], summarise(rows)
    levels = rules[rules["stopped"]].groupby(["rule", "level"], sort=False)["epoch"].mean()
    figures.epochs_per_level(levels.reset_index().assign(stopped=True), left)
    left.set_title(f"how long a level trains (mean of {len(SEEDS)} seeds)", fontsize=10)
    look = {"hue": "rule", "style": "rule", "palette": figures.PALETTE, "legend": False}
    control = runs[runs["rule"] == CONTROL]
    ring = right.scatter(control["epochs"], control["accuracy"], s=170, fc="none", ec="0.2")
    runs = runs[runs["rule"] != CONTROL]
    sns.scatterplot(runs, x="epochs", y="accuracy", s=65, ax=right, **look)
    right.set_title("what the final network is worth (a mark per seed)", fontsize=10)
    right.set(
        xlabel="epochs in all, after the warm-up",
        ylabel=f"test accuracy at density {runs['density'].iloc[-1]:.3f}",
        xlim=(0, None),
    )
    right.yaxis.set_major_locator(MultipleLocator(0.005))
    lines, names = left.get_legend_handles_labels()
    left.get_legend().remove()
    lines, names = [*lines, ring], [*names, CONTROL]
    figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    """Make what is missing, draw, and print the numbers of the figure."""
    rows = collect()
    draw(rows, ROOT / "book" / "_static" / "overview.svg")
    by_rule = summarise(rows).groupby("rule", sort=False)
    table = by_rule.agg(
        epochs=("epochs", "mean"), accuracy=("accuracy", "mean"), sd=("accuracy", "std")
    )
    print(table.to_string(float_format="{:.4f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())

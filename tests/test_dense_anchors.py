"""What chapters say of dense networks of as many epochs, with such rows and without."""

import math

import build
import nbformat
import pandas as pd
import pytest

from infcop_lite import evidence, pairing
from infcop_lite import glue as of_glue

ROWS = evidence.read("airnet")
ROWS = ROWS[ROWS["family"] == "fixed"]
LEAD = 0.05  # of a dense network over full retraining


def anchored(rows, seeds=(0, 2)):
    """Return the rows with dense networks of 16 and 36 epochs, better by `LEAD`, on some seeds."""
    ends = rows[(rows["rule"] == "full") & rows["stopped"]]
    last = ends[ends["level"] == ends["level"].max()]
    made = [rows]
    for epochs in (16, 36):
        dense = last[last["seed"].isin(seeds)].assign(family=f"dense-{epochs}", level=0)
        dense["test_accuracy"] += LEAD
        made.append(dense.assign(epoch=float(epochs), warmup_epochs=0, density=1.0))
    return pd.concat(made, ignore_index=True)


@pytest.fixture
def said(monkeypatch):
    """A function: chapter, ids of cells and rows of airnet -> what the cells glue, and names."""

    def run(chapter, ids, rows):
        (path,) = build.ROOT.glob(f"notebooks/*-{chapter}.ipynb")
        cells = {c.id: c.source for c in nbformat.read(path, as_version=4).cells}
        real, told = evidence.read, {}
        monkeypatch.setattr(of_glue, "glue", lambda **facts: told.update(facts))
        monkeypatch.setattr(evidence, "read", lambda t: rows if t == "airnet" else real(t))
        names = {"pd": pd, "evidence": evidence, "pairing": pairing, "glue": of_glue.glue}
        names["named"] = "ours: loss recovered"
        for name in ids:
            exec(cells[name], names)
        monkeypatch.setattr(evidence, "read", real)
        return told, names

    return run


def test_a_line_between_dense_networks_says_what_a_rule_loses():
    assert evidence.below_dense(evidence.final(ROWS)).empty
    runs = evidence.final(anchored(ROWS))
    below = evidence.below_dense(runs)
    assert set(below["rule"]) == set(ROWS["rule"]) & set(below["rule"])
    of = below.set_index("rule")
    accuracy = runs[runs["family"] == "fixed"].groupby("rule")["accuracy"].mean()
    for rule in ("full", "k = 1"):  # both dense networks of a seed are equally good
        assert of.loc[rule, "loss"] == pytest.approx(accuracy["full"] + LEAD - accuracy[rule])
    assert "k = 0" not in of.index  # 12 epochs lie outside 16 to 36
    assert of.loc["full", "half_width"] == pytest.approx(0, abs=1e-9)
    alone = evidence.below_dense(evidence.final(anchored(ROWS, seeds=(0,))))
    assert math.isnan(alone["worst_loss"].iloc[0])


def test_the_comparison_says_what_pruning_costs_only_if_dense_networks_are_there(said):
    cells = ("dense-said", "airnet-said")
    told, _ = said("fair-comparisons", cells, ROWS)
    assert "not known" in told["fair_dense"]
    seeds = ROWS["seed"].nunique()
    assert told["fair_airnet"].startswith(f"run on {seeds} of 5 seeds; 0 of 10 dense")
    told, _ = said("fair-comparisons", cells, anchored(ROWS))
    assert f"full retraining {100 * LEAD:.1f} ± 0.0 points (airnet, 2 seeds)" in told["fair_dense"]
    assert "not known" not in told["fair_dense"]
    assert "4 of 10 dense" in told["fair_airnet"]
    told, _ = said("fair-comparisons", cells, anchored(ROWS, seeds=(0,)))
    assert "not known" in told["fair_dense"]  # one seed is none


def test_the_comparison_counts_the_pairs_of_the_primary_test(said):
    told, _ = said("fair-comparisons", ("primary-said",), ROWS)
    replays = ROWS[ROWS["rule"] == "ours: loss recovered"].assign(
        rule="replay of ours: loss recovered"
    )
    more, _ = said("fair-comparisons", ("primary-said",), pd.concat([ROWS, replays]))
    assert more["fair_primary"] == told["fair_primary"] + ROWS["seed"].nunique()
    assert "`airnet`" in more["fair_primary_listed"]


def test_the_guide_prices_each_choice_against_dense_networks_where_there_are_any(said):
    cells = ("own-dense", "own-dense-table", "own-dense-sentence")
    told, names = said("prune-your-own-model", cells, ROWS)
    assert "not known" in told["own-dense-said"]
    assert set(names["choices"]["against a dense network"]) == {"not run yet"}
    told, names = said("prune-your-own-model", cells, anchored(ROWS))
    assert f"full retraining itself loses {100 * LEAD:.1f} points" in told["own-dense-said"]
    column = names["choices"]["against a dense network"].tolist()
    assert column[0].startswith("5.0, at most 5.0 (2 seeds)")
    assert column[-1] == "none of so few epochs"

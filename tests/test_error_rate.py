"""The count of errors in real pruning runs: its rows are whole, and say what is said of them."""

import math

import error_rate
import pandas as pd
import pytest
import torch

from infcop_lite import data
from infcop_lite.confidence import quantile

ROWS = pd.read_csv(error_rate.ROWS)
VERDICT = error_rate.verdict(ROWS)


def test_more_than_two_hundred_runs_are_there_each_probe_and_rule_on_every_seed():
    runs = ROWS.groupby(["seed", "probe", "rule"]).size().unstack(["probe", "rule"])
    assert list(runs.index) == list(error_rate.SEEDS)
    assert set(runs.columns) == {(p, r) for p in error_rate.PROBES for r in error_rate.RULES}
    assert runs.notna().all(axis=None)
    assert runs.size >= 200


def test_each_row_stopped_exactly_if_its_rule_says_so():
    z = {"as read": 0.0, "one look": quantile(0.95), "four looks": quantile(0.95, 4)}
    upper = ROWS["read"] * (ROWS["rule"].map(z) * ROWS["error"]).map(math.exp)
    is_clear = (upper / error_rate.EPSILON - 1).abs() > 1e-3  # rows have four digits
    stopped = (upper < error_rate.EPSILON) & (ROWS["epoch"] < error_rate.LOOKS)
    assert (stopped == ROWS["stopped"])[is_clear].all()


def test_the_verdict_is_what_the_rows_give_by_hand():
    mine = ROWS[(ROWS["probe"] == "training") & (ROWS["rule"] == "as read")]
    levels = {(row.seed, row.level) for row in mine.itertuples()}
    wrong = {(row.seed, row.level) for row in mine.itertuples() if row.stopped and row.truth >= 0.5}
    found = VERDICT.loc["training", "as read"]
    assert found["levels"] == len(levels)
    assert found["wrong"] == pytest.approx(len(wrong) / len(levels))
    off = [math.log(row.read / row.truth) / row.error for row in mine.itertuples()]
    assert found["exceed"] == pytest.approx(sum(u < -1.6449 for u in off) / len(off), abs=0.002)


def test_what_the_script_says_of_them_holds():
    """Without allowance some levels end too early, with it none; no reading errs too often."""
    assert (VERDICT["levels"] >= 100).all()
    plain = VERDICT.xs("as read", level="rule")
    assert (plain["wrong"] > 0).all()
    for rule in ("one look", "four looks"):
        sure = VERDICT.xs(rule, level="rule")
        assert (sure["wrong"] == 0).all()
        assert (sure["stopped"] > 0.9 * plain["stopped"] - 0.1).all()
    close = ROWS[(ROWS["truth"] >= 0.5) & (ROWS["truth"] < 0.65) & (ROWS["rule"] == "as read")]
    ended = ROWS[ROWS["stopped"] & (ROWS["truth"] >= 0.5)]
    assert ended["truth"].max() < 0.65  # a stop that was wrong was close
    assert close["stopped"].mean() == pytest.approx(0.2, abs=0.05)
    assert VERDICT["below"].xs("held out").between(0.45, 0.6).all()
    assert (VERDICT["exceed"] < 0.06).all()
    later = error_rate.verdict(ROWS[ROWS["level"] > 0])
    assert (later["exceed"] < 0.06).all()
    assert VERDICT["spread"].between(0.8, 1.2).all()
    assert VERDICT["shift"].xs("training").mean() == pytest.approx(0.25, abs=0.05)
    # training images are no held-out sample: their readings are shifted, here to the safe side
    assert (VERDICT["shift"].xs("training") > VERDICT["shift"].xs("held out").max()).all()


def test_a_short_run_of_the_script_reads_its_own_probe_and_knows_the_truth(tmp_path):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(1400, 1, 28, 28, generator=draw)
    images = data.Split(inputs, torch.randint(10, (1400,), generator=draw))
    for probe in error_rate.PROBES:
        looks = list(error_rate.looks_of(0, probe, "one look", images, num_looks=1))
        assert {look["level"] for look in looks} == {0, 1, 2}
        assert all(set(look) == set(error_rate.FIELDS) for look in looks)
        assert all(look["read"] > 0 and look["error"] > 0 and look["truth"] > 0 for look in looks)
        assert not any(look["stopped"] for look in looks)  # at the budget

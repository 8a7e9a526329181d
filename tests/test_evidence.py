"""Evidence: verdicts on runs whose answer is known by hand."""

import base64
import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infcop_lite import evidence, records

CONFIG = {"warmup_epochs": 2.0}


def runs(**rules):
    """Return runs as `final` gives them: rule -> (retraining epochs, accuracy of each seed)."""
    return pd.DataFrame(
        [
            {
                "family": "fixed",
                "rule": rule.replace("_", " "),
                "seed": seed,
                "retraining": epochs,
                "epochs": epochs + 10,
                "accuracy": accuracy,
            }
            for rule, (epochs, accuracies) in rules.items()
            for seed, accuracy in enumerate(accuracies)
        ]
    )


def write(folder, rule="full", epochs=(8.0, 8.0, 8.0), **more):
    """Write one finished run of three levels, each with a check before its end."""
    rows = [
        {
            "rule": rule,
            "level": level,
            "epoch": epoch if stopped else epoch / 2,
            "density": 0.5**level,
            "stopped": stopped,
            "test_accuracy": 0.9 + level / 100 if stopped else math.nan,
            "validation_accuracy": 0.8,
            "overlap": 1.0,
            "train_s": epoch,
            "measure_s": 0.25,
            **more,
        }
        for level, epoch in enumerate(epochs)
        for stopped in (False, True)
    ]
    records.begin(folder, CONFIG)
    records.save(folder, CONFIG, rows, finished=True)


def test_results_are_read_with_the_family_and_the_seed_of_their_folder(tmp_path, monkeypatch):
    write(tmp_path / "mlp" / "long-warmup-3")
    write(tmp_path / "mlp" / "fixed-0")
    rows = evidence.read("mlp", tmp_path)
    assert rows.groupby(["family", "seed"]).size().to_dict() == {
        ("fixed", 0): 6,
        ("long-warmup", 3): 6,
    }
    monkeypatch.setenv("INFCOP_RESULTS_DIR", str(tmp_path))
    assert evidence.read("mlp").equals(rows)
    assert evidence.tables() == ["mlp"]


def test_results_that_are_not_there_are_missed_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no results in .*nothing; clone") as caught:
        evidence.read("nothing", tmp_path)
    assert "\n" not in str(caught.value)
    assert evidence.tables(tmp_path) == []


def test_a_run_costs_its_warm_up_and_its_levels_and_is_worth_its_last(tmp_path):
    write(tmp_path / "mlp" / "fixed-0", epochs=(1.0, 2.0, 8.0))
    (run,) = evidence.final(evidence.read("mlp", tmp_path)).to_dict("records")
    assert run["retraining"] == 3
    assert run["epochs"] == 2 + 1 + 2 + 8
    assert run["seconds"] == 11 + 3 * 0.25
    assert run["measuring"] == 3 * 0.25
    assert run["accuracy"] == 0.92
    assert run["density"] == 0.25


def test_seconds_that_were_not_taken_are_not_zero(tmp_path):
    write(tmp_path / "mlp" / "fixed-0", train_s=math.nan, measure_s=math.nan)
    (run,) = evidence.final(evidence.read("mlp", tmp_path)).to_dict("records")
    assert math.isnan(run["seconds"])


def test_the_interval_is_students():
    values = [0.1, 0.4, 0.5, 0.9]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert evidence.half_width(values) == pytest.approx((high - low) / 2)
    assert math.isnan(evidence.half_width([1.0]))


def test_a_rule_is_non_inferior_when_the_bound_of_its_loss_lies_within_the_margin():
    table = runs(
        full=(64, [0.90, 0.91, 0.92]),
        same=(8, [0.899, 0.909, 0.919]),
        noisy=(8, [0.95, 0.85, 0.94]),
        worse=(0, [0.88, 0.89, 0.90]),
    )
    verdicts = evidence.paired(table, 0.01).set_index("rule")
    assert verdicts["non_inferior"].to_dict() == {"same": True, "noisy": False, "worse": False}
    assert verdicts.loc["same", "loss"] == pytest.approx(0.001)
    losses = np.array([-0.05, 0.06, -0.02])
    bound = losses.mean() + stats.t.ppf(0.95, 2) * stats.sem(losses)
    assert verdicts.loc["noisy", "worst_loss"] == pytest.approx(bound)
    assert verdicts.loc["same", "saving"] == pytest.approx(74 / 18)
    assert verdicts.loc["same", "saving_retraining"] == 8
    assert verdicts.loc["worse", "saving_retraining"] == math.inf


def test_one_seed_is_no_evidence():
    (verdict,) = evidence.paired(runs(full=(64, [0.9]), same=(8, [0.9])), 0.01).to_dict("records")
    assert verdict["non_inferior"] is False


def test_a_rule_is_held_against_fixed_epochs_of_the_same_cost():
    table = runs(
        **{"k_=_0": (0, [0.5, 0.6]), "k_=_1": (7, [0.7, 0.8]), "full": (63, [0.9, 1.0])},
        on=(7, [0.7, 0.8]),
        above=(7, [0.75, 0.85]),
        between=(math.sqrt(8 * 64) - 1, [0.8, 0.9]),
        beyond=(70, [0.9, 0.9]),
    )
    gains = evidence.against_control(table).set_index("rule")
    assert gains["gain"].to_dict() == pytest.approx(
        {"on": 0, "above": 0.05, "between": 0, "beyond": math.nan}, nan_ok=True, abs=1e-12
    )
    assert gains["beats"].to_dict()["above"]
    assert not gains["beats"].to_dict()["on"]
    assert gains["seeds"].to_dict() == {"on": 2, "above": 2, "between": 2, "beyond": 0}


def test_verdicts_on_nothing_have_their_columns():
    table = runs(full=(64, [0.9, 0.9]))
    verdicts, gains = evidence.paired(table, 0.01), evidence.against_control(table)
    assert list(verdicts) == list(evidence.VERDICT)
    assert list(verdicts[verdicts["non_inferior"]]) == list(evidence.VERDICT)
    assert list(gains[gains["beats"]]) == list(evidence.GAIN)


def test_the_front_leaves_out_what_is_beaten_and_the_dearer_of_equals():
    points = runs(a=(1, [0.5]), b=(2, [0.5]), c=(3, [0.7]), d=(3, [0.6]), e=(4, [0.65]))
    assert evidence.front(points)["rule"].tolist() == ["a", "c"]


def test_ranks_agree_whatever_the_scale_and_too_few_or_constant_ones_say_nothing():
    assert evidence.rank_correlation([1, 2, 3, 4], np.exp([4, 3, 2, 1])) == pytest.approx(-1)
    assert math.isnan(evidence.rank_correlation([1, 2], [1, 2]))
    assert math.isnan(evidence.rank_correlation([1, 2, 3], [5, 5, 5]))


@pytest.mark.parametrize(("c", "rate", "floor"), [(1.0, 0.3, 0.2), (-0.8, 0.6, 1.0), (2.0, 0.9, 0)])
def test_the_decay_that_made_the_distances_is_found(c, rate, floor):
    t = np.array([0, 0.125, 0.25, 0.5, 1, 2, 4, 8])
    fit = evidence.fit_decay(t, c * rate**t + floor)
    assert fit["explained"] == pytest.approx(1, abs=1e-6)
    assert (fit["c"], fit["rate"], fit["floor"]) == pytest.approx((c, rate, floor), abs=0.02)


def test_distances_without_a_trend_are_not_explained():
    t = np.arange(12.0)
    fit = evidence.fit_decay(t, 1 + (-1.0) ** t / 10)
    assert fit["explained"] < 0.3


@pytest.mark.parametrize("distances", [[1.0, 2.0, 3.0], [1.0, math.nan, 1.0, 2.0]])
def test_a_decay_of_too_few_or_missing_distances_is_refused(distances):
    with pytest.raises(ValueError, match="at least four finite distances"):
        evidence.fit_decay(np.arange(len(distances)), distances)


def test_a_table_can_be_saved_from_the_page():
    link = evidence.download_link(pd.DataFrame({"rule": ["a, b"], "x": [0.5]}), "t.csv")
    found = re.fullmatch(r'<a download="t.csv" href="data:text/csv;base64,(.*)">t.csv</a>', link)
    assert base64.b64decode(found[1]).decode() == 'rule,x\n"a, b",0.5\n'

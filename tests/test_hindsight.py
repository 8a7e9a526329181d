"""Rules asked in hindsight: on the rows of full retraining, with no network in sight."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from infcop_lite import Config, compare, evidence, hindsight, stopping

NAN = float("nan")
TINY = {
    "data": "mnist-small",
    "subset": 200,
    "levels": 2,
    "fraction": 0.5,
    "epochs": 2,
    "warmup_epochs": 1,
}
TINY |= {"check_steps": 1, "probe_size": 100, "monitor": False, "threads": 1}


def rows_of(**columns):
    """Two levels before the last, four checks each."""
    level = [0] * 4 + [1] * 4 + [2] * 4
    rows = {"rule": "full", "kind": "full", "seed": 0, "level": level, "epoch": [0.0, 1, 2, 3] * 3}
    rows |= {name: [*values, *[NAN] * 4] for name, values in columns.items()}
    return pd.DataFrame(rows)


def epochs(rows, rule, reference="warmup"):
    return hindsight.timetable(rows, rule, reference)["epoch"].tolist()


def test_a_level_ends_at_the_first_yes_or_at_its_last_check():
    rows = rows_of(mask_distance=[NAN, 0.3, 0.1, 0.05, NAN, 0.4, 0.4, 0.4])
    assert epochs(rows, stopping.MaskStability(0.2)) == [2, 3]


def test_distances_are_held_against_a_norm_of_one_and_a_trained_reference_trains_level_0():
    rows = rows_of(
        information_warmup=[0, 0.4, 0.1, 0.1, 0.6, 0.6, 0.4, 0.1],
        information_trained=[NAN] * 4 + [0.9, 0.2, 0.1, 0.1],
    )
    rule = stopping.FlowConsistency("information", 0.5)
    assert epochs(rows, rule) == [1, 2]
    assert epochs(rows, rule, "trained") == [3, 1]


def test_an_absolute_tolerance_is_refused_since_rows_have_no_unit():
    rule = stopping.FlowConsistency("information", 0.11, relative=False)
    with pytest.raises(ValueError, match="take a relative tolerance"):
        hindsight.timetable(rows_of(), rule)


def test_rows_without_full_retraining_and_objects_that_are_no_rule_are_refused():
    with pytest.raises(ValueError, match="no full retraining"):
        hindsight.timetable(rows_of().assign(kind="mask"), stopping.FixedEpochs(1))
    with pytest.raises(ValueError, match="a name or a rule"):
        hindsight.timetable(rows_of(), len)


def test_a_rule_that_reads_what_no_row_has_is_told_its_name():
    with pytest.raises(ValueError, match="reads mask_distance"):
        hindsight.timetable(rows_of(), stopping.MaskStability(0.2))


@dataclass(frozen=True)
class Settled:
    reads = frozenset({"accuracy"})

    def stop(self, checks):
        return len(checks) > 2 and checks[-1].validation_accuracy >= checks[-2].validation_accuracy


def test_level_0_is_what_the_rule_did_and_all_levels_are_where_masks_agree():
    """A constant draws other masks than full retraining; its own timetable depends on none."""
    rules = {"own": Settled(), "k = 1": stopping.FixedEpochs(1)}
    configs = {name: Config(**TINY, stop=rule) for name, rule in rules.items()}
    results = {r.rule: r.stops for r in compare({"full": Config(**TINY)} | configs, "full")}
    frames = [pd.DataFrame([vars(row) for row in stops]) for stops in results.values()]
    rows = pd.concat(frames, ignore_index=True)
    full = rows.groupby(["rule", "level"])["epoch"].size()["full"]
    assert (full > 2).all()
    for name, rule in rules.items():
        ran = rows[(rows["rule"] == name) & rows["stopped"]].set_index("level")["epoch"]
        found = hindsight.timetable(rows, rule).set_index("level")["epoch"]
        assert list(found.index) == [0, 1]
        assert found[0] == ran[0]
        if name != "own":
            assert found[1] == ran[1]


@pytest.mark.parametrize("table", ["mlp-grid", "convnet-grid"])
def test_level_0_of_recorded_rules_is_theirs_to_the_check(table):
    """All rules of a seed were made on one device there."""
    rows = evidence.read(table)
    ends = rows[rows["stopped"] & (rows["level"] == 0)].set_index(["rule", "seed"])["epoch"]
    dense = rows[rows["level"] < 2]  # level 1 makes level 0 one that a rule ends
    for epsilon in (0.1, 0.5, 1.0):
        for flow in ("information", "gradient"):
            rule = stopping.FlowConsistency(flow, epsilon)
            found = hindsight.timetable(dense, rule).set_index("seed")["epoch"]
            ran = ends[f"{flow} {epsilon:g}, warmup"]
            np.testing.assert_array_equal(found.sort_index(), ran.sort_index())

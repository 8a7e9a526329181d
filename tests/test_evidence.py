"""Evidence: verdicts on runs whose answer is known by hand."""

import base64
import math
import re
from dataclasses import replace

import gather
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infcop_lite import evidence, labels, records, sweep
from infcop_lite.config import Config
from infcop_lite.recording import describe
from infcop_lite.rows import Row
from infcop_lite.stopping import FixedEpochs, Schedule

CONFIG = {"warmup_epochs": 2.0}


def runs(**rules):
    """Return runs as `final` gives them: rule -> (retraining epochs, accuracy of each seed).

    The rule "full" is full retraining, those of names that begin with k are constants.
    """
    return pd.DataFrame(
        [
            {
                "family": "fixed",
                "rule": rule.replace("_", " "),
                "kind": {"f": "full", "k": "constant"}.get(rule[0], "own"),
                "seed": seed,
                "retraining": epochs,
                "epochs": epochs + 10,
                "accuracy": accuracy,
            }
            for rule, (epochs, accuracies) in rules.items()
            for seed, accuracy in enumerate(accuracies)
        ]
    )


def write(folder, rule="full", epochs=(8.0, 8.0, 8.0), setting="stop=budget", **more):
    """Write one finished run of three levels, each with a check before its end."""
    rows = [
        {
            "rule": rule,
            "setting": setting,
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


CURVE = {"k_=_0": (0, [0.5, 0.6]), "k_=_1": (7, [0.7, 0.8]), "full": (63, [0.9, 1.0])}


def test_what_controls_are_called_does_not_matter():
    table = runs(**CURVE, above=(7, [0.75, 0.85]))
    renamed = table.replace({"rule": {"k = 0": "constant 0", "k = 1": "one", "full": "budget"}})
    assert evidence.against_control(renamed).equals(evidence.against_control(table))
    assert evidence.against_control(renamed)["gain"].tolist() == pytest.approx([0.05])
    verdict = evidence.paired(renamed, 0.01).set_index("rule").loc["above"]
    assert verdict["loss"] == pytest.approx(0.15)


def test_runs_without_a_control_are_refused_and_the_family_is_named():
    table = pd.concat(
        [
            runs(**CURVE, above=(7, [0.7, 0.8])),
            runs(full=(63, [0.9, 1.0]), above=(7, [0.7, 0.8])).assign(family="long"),
        ]
    )
    with pytest.raises(ValueError, match="no control in family 'long'") as caught:
        evidence.against_control(table)
    assert "\n" not in str(caught.value)
    assert len(evidence.against_control(table[table["family"] == "fixed"])) == 1


def test_a_family_without_rules_needs_no_control():
    table = pd.concat(
        [runs(**CURVE, a=(7, [0.7, 0.8])), runs(full=(63, [0.9, 1.0])).assign(family="budget-4")]
    )
    assert evidence.against_control(table)["family"].tolist() == ["fixed"]


@pytest.mark.parametrize("kind", ["konstant", "", math.nan, None])
def test_a_kind_that_is_not_known_is_refused(kind):
    table = runs(**CURVE, above=(7, [0.75, 0.85]))
    table["kind"] = table["kind"].astype(object).where(table["rule"] != "above", kind)
    with pytest.raises(ValueError, match=r"unknown kind .* of rule 'above'; choose"):
        evidence.against_control(table)


def test_runs_that_say_no_kind_are_refused_unless_the_controls_are_named():
    table = runs(**CURVE, above=(7, [0.75, 0.85]))
    old = table.drop(columns="kind")
    with pytest.raises(ValueError, match="runs need a column kind"):
        evidence.against_control(old)
    with pytest.warns(DeprecationWarning, match="goes with the next release"):
        told = evidence.against_control(old, control="k = ")
    assert told.equals(evidence.against_control(table))
    renamed = old.replace({"rule": {"k = 0": "constant 0", "k = 1": "constant 1"}})
    with (
        pytest.warns(DeprecationWarning, match="goes with the next release"),
        pytest.raises(ValueError, match="no control"),
    ):
        evidence.against_control(renamed, control="k = ")


def test_runs_whose_lines_are_numbered_twice_are_told_apart_by_place():
    table = pd.concat([runs(**CURVE), runs(above=(7, [0.75, 0.85]))])
    assert evidence.against_control(table)["gain"].tolist() == pytest.approx([0.05])


def test_every_network_with_a_goal_has_a_margin():
    assert evidence.MARGINS.keys() == evidence.GOALS.keys()
    assert all(0 < margin < 0.05 for margin in evidence.MARGINS.values())


SETTINGS = [
    ("stop=budget", {}),
    ("stop=FixedEpochs(n=0)", {"stop": FixedEpochs(0)}),
    ("stop=FixedEpochs(n=0.125)", {"stop": FixedEpochs(0.125)}),
    ("stop=Schedule(epochs=(2.0, 0.25))", {"stop": Schedule((2.0, 0.25))}),
    ("stop=Schedule(epochs=(1,))", {"stop": Schedule((1,))}),
    ("stop=information", {"stop": "information"}),
    ("stop=information epsilon=0.11 absolute=True", {"stop": "information", "epsilon": 0.11}),
    ("stop=gradient epsilon=1e-05 reference=trained", {"stop": "gradient", "epsilon": 1e-5}),
    ("stop=small-gradient epsilon=5.0", {"stop": "small-gradient", "epsilon": 5.0}),
    ("stop=mask epsilon=0.1 patience=1", {"stop": "mask", "epsilon": 0.1, "patience": 1}),
    ("stop=accuracy reference=trained", {"stop": "accuracy"}),
    ("stop=patience", {"stop": "patience"}),
    ("stop=twice-loss", {"stop": "twice-loss"}),
    ("stop=loss epsilon=0.5", {"stop": "loss", "epsilon": 0.5}),
    ("stop=information+accuracy epsilon=0.5", {"stop": "information+accuracy", "epsilon": 0.5}),
]


@pytest.mark.parametrize(("setting", "options"), SETTINGS)
def test_rows_of_the_first_release_say_what_rows_of_this_one_do(setting, options):
    options = options | {"absolute": "absolute" in setting}
    options |= {"reference": "trained" if "trained" in setting else "warmup"}
    now = describe(Config(**options))
    then = labels.from_setting(setting, Config().epochs)
    assert then.keys() == set(labels.COLUMNS)
    assert then["kind"] in labels.KINDS
    for name, value in then.items():
        assert value == now[name] or (value != value and now[name] != now[name]), name
        assert type(value) is type(now[name])


@pytest.mark.parametrize(
    "setting",
    [
        *(
            "",
            "budget",
            "stop=",
            "stop=flux",
            "stop=flow+",
            "stop=FixedEpochs(n=)",
            "stop=mask 0.1",
        ),
        *(
            "stop=information epsilon=",
            "stop=information absolute=yes",
            "stop=mask epsilon=0.1 x=1",
        ),
        *("stop=patience reference=none", "stop=Schedule(epochs=())", "stop=FixedEpochs(n=1) "),
        "stop=information\n",
    ],
)
def test_a_setting_that_is_not_understood_is_refused_in_one_line(setting):
    with pytest.raises(ValueError, match="no rule of the first release") as caught:
        labels.from_setting(setting)
    assert "\n" not in str(caught.value)


def test_final_networks_say_which_rule_they_are_of(tmp_path):
    setting = "stop=information epsilon=0.5 reference=trained"
    write(tmp_path / "mlp" / "fixed-0", rule="any name", setting=setting)
    (run,) = evidence.final(evidence.read("mlp", tmp_path)).to_dict("records")
    assert (run["kind"], run["stop"], run["epsilon"]) == ("flow", "information", 0.5)
    assert (run["absolute"], run["reference"]) == (False, "trained")
    assert math.isnan(run["epochs_fixed"])


def test_rows_of_both_releases_may_lie_in_one_folder(tmp_path):
    now = describe(Config(stop=FixedEpochs(1)))
    rows = pd.DataFrame(
        [
            dict.fromkeys(Row.__annotations__, None)
            | {"rule": "old", "setting": "stop=mask epsilon=0.1 patience=1", "kind": ""},
            now | {"rule": "new", "setting": "not read"},
        ]
    )
    told = labels.with_rules(rows, {}).set_index("rule")
    assert told["kind"].to_dict() == {"old": "mask", "new": "constant"}
    assert told["absolute"].dtype == bool
    assert told.loc["old", "epsilon"] == 0.1
    assert told.loc["new", "epochs_fixed"] == 1


def test_rows_that_do_not_say_their_rule_are_refused():
    with pytest.raises(ValueError, match="do not say which rule"):
        labels.with_rules(pd.DataFrame({"rule": ["k = 1"]}), {"stop": "budget"})


def test_tolerances_that_are_almost_the_same_are_told_apart():
    rules = [{"rule": "mask", "epsilon": epsilon} for epsilon in (0.1, 0.1 + 1e-9)]
    assert labels.tell_apart(rules) == ["mask, epsilon=0.1", "mask, epsilon=0.100000001"]


TOY = Config(subset=300, levels=2, fraction=0.5, epochs=2, warmup_epochs=1, threads=1)
RULES = {
    "full": {},
    **{f"k{k}": {"stop": FixedEpochs(k)} for k in (0, 1)},
    **{f"flow {e}": {"stop": "information", "epsilon": e} for e in (0.05, 50.0)},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Five rules on two seeds of digits, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("sweep")
    configs = {
        f"{name},seed={seed}": replace(TOY, seed=seed, **options)
        for name, options in RULES.items()
        for seed in (0, 1)
    }
    for name, config in configs.items():
        sweep.run_one(config, folder / name)
    assert sweep.run_many(configs, folder) == {}
    return folder


def test_a_sweep_comes_to_a_verdict(swept):
    rows = evidence.collect(swept)
    found = evidence.final(rows)
    assert found.groupby("rule")["seed"].apply(list).to_dict() == {
        "budget": [0, 1],
        "FixedEpochs(n=0)": [0, 1],
        "FixedEpochs(n=1)": [0, 1],
        "information, epsilon=0.05": [0, 1],
        "information, epsilon=50": [0, 1],
    }
    assert set(found["family"]) == {"all"}
    assert found.set_index("rule")["epochs"]["budget"].tolist() == [1 + 3 * 2] * 2
    verdicts = evidence.paired(found, 0.01)
    assert len(verdicts) == 4
    assert verdicts["seeds"].tolist() == [2] * 4
    gains = evidence.against_control(found).set_index("rule")
    assert list(gains.index) == ["information, epsilon=0.05", "information, epsilon=50"]
    assert gains["gain"].notna().all()


def test_collected_runs_are_the_same_as_read_one_by_one(swept):
    rows = evidence.collect(sorted(swept.iterdir())[:1])
    held, _ = records.read(sorted(swept.iterdir())[0])
    assert rows["rule"].unique().tolist() == held["rule"].unique().tolist()
    pd.testing.assert_frame_equal(rows[held.columns], held)


def test_families_are_the_settings_in_which_runs_differ(swept, tmp_path):
    for seed in (0, 1):
        sweep.run_one(replace(TOY, seed=seed, fraction=0.3), tmp_path / str(seed))
    found = evidence.final(evidence.collect([*swept.glob("full*"), *tmp_path.iterdir()]))
    assert found.groupby("family")["seed"].apply(list).to_dict() == {
        "fraction=0.3": [0, 1],
        "fraction=0.5": [0, 1],
    }


def test_dense_epochs_are_counted_once(tmp_path):
    """Warm-up 1, dense 3 in place of level 0, two levels of 2."""
    sweep.run_one(replace(TOY, dense_epochs=3.0), tmp_path / "a")
    (run,) = evidence.final(evidence.collect(tmp_path)).to_dict("records")
    assert run["epochs"] == 1 + 3 + 2 * 2


def test_settings_that_a_rule_does_not_read_make_no_other_rule(tmp_path):
    for name, epsilon in (("a", 0.1), ("b", 0.2)):
        sweep.run_one(replace(TOY, epochs=1, epsilon=epsilon), tmp_path / name)
    assert len(evidence.final(evidence.collect(tmp_path))) == 1  # the same run, taken once


def test_checks_in_a_row_tell_rules_apart(tmp_path):
    for patience in (1, 2):
        config = replace(TOY, stop="patience", patience=patience, levels=1)
        sweep.run_one(config, tmp_path / str(patience))
    rules = evidence.collect(tmp_path)["rule"].unique().tolist()
    assert rules == ["patience, patience=1", "patience, patience=2"]


def test_one_run_with_two_outcomes_is_refused(swept, tmp_path):
    rows, record = records.read(swept / "full,seed=0")
    lines = rows.assign(test_accuracy=0.5).to_dict("records")
    records.begin(tmp_path / "x", record["config"])
    records.save(tmp_path / "x", record["config"], lines, finished=True)
    with pytest.raises(ValueError, match="hold the same run with other rows") as caught:
        evidence.collect([swept / "full,seed=0", tmp_path / "x"])
    assert "\n" not in str(caught.value)


def test_a_run_that_is_not_finished_is_refused(swept, tmp_path):
    rows, record = records.read(swept / "full,seed=0")
    records.begin(tmp_path / "x", record["config"])
    records.save(tmp_path / "x", record["config"], rows.to_dict("records"))
    with pytest.raises(ValueError, match="is not finished"):
        evidence.collect(tmp_path)


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no runs in"):
        evidence.collect(tmp_path)
    with pytest.raises(ValueError, match="no runs to collect"):
        evidence.collect([])


def test_folders_of_experiments_are_collected_too(tmp_path):
    """Those of the first release, by other names of the families."""
    gather.restore(lambda name: name.startswith("mlp/") and name.endswith("-0"), tmp_path)
    folders = sorted((tmp_path / "mlp").iterdir())
    collected = evidence.final(evidence.collect(folders))
    read = evidence.final(evidence.read("mlp").query("seed == 0"))
    assert len(collected) == len(read)
    assert collected["family"].nunique() == read["family"].nunique()
    numbers = ["retraining", "epochs", "accuracy"]
    sums = [table.groupby("rule")[numbers].sum() for table in (collected, read)]
    pd.testing.assert_frame_equal(*sums, check_like=True)


def test_a_single_run_of_the_first_release_says_its_rule_in_its_settings(tmp_path):
    gather.restore("own/resnet18".__eq__, tmp_path)
    rows = evidence.collect(tmp_path / "own")
    assert set(rows["rule"]) == {"twice-loss"}
    assert set(rows["kind"]) == {"loss"}
    assert len(evidence.final(rows)) == 1


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


def test_a_distance_that_stays_as_it_is_has_no_decay_to_be_explained():
    fit = evidence.fit_decay(np.arange(5.0), [0.1] * 5)
    assert (fit["c"], fit["floor"]) == (0.0, 0.1)
    assert math.isnan(fit["rate"])
    assert math.isnan(fit["explained"])


@pytest.mark.parametrize("distances", [[1.0, 2.0, 3.0], [1.0, math.nan, 1.0, 2.0]])
def test_a_decay_of_too_few_or_missing_distances_is_refused(distances):
    with pytest.raises(ValueError, match="at least four finite distances"):
        evidence.fit_decay(np.arange(len(distances)), distances)


def test_a_name_in_the_page_is_no_code():
    link = evidence.download_link(runs(full=(1, [0.5])), '"><script>x')
    assert "<script>" not in link
    assert '">' not in link.partition("download=")[2].partition(" href")[0][:-1]


def test_a_table_can_be_saved_from_the_page():
    link = evidence.download_link(pd.DataFrame({"rule": ["a, b"], "x": [0.5]}), "t.csv")
    found = re.fullmatch(r'<a download="t.csv" href="data:text/csv;base64,(.*)">t.csv</a>', link)
    assert base64.b64decode(found[1]).decode() == 'rule,x\n"a, b",0.5\n'

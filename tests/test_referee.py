"""The referee: rows whose faults are known, of anybody's runs, and what it says of them."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from infcop_lite import evidence, families, faults, pairing, records, referee, results, sweep
from infcop_lite.__main__ import main
from infcop_lite.config import Config
from infcop_lite.rows import Row
from infcop_lite.stopping import FixedEpochs

KINDS = {"full": "full", "k": "constant", "r": "schedule"}  # replays; all else are rules that look
SEEDS = range(4)
CURVE = {"full": (8, 0.90), "k = 1": (1, 0.86), "k = 4": (4, 0.88)}


def rows(seeds=SEEDS, levels=3, **rules):
    """Return rows: rule -> (epochs of a level, accuracy); a seed adds noise of its own."""
    found = []
    for place, (rule, (epochs, accuracy)) in enumerate((CURVE | rules).items()):
        for seed in seeds:
            draw = np.random.default_rng([seed, place])
            about = {
                "family": "fixed",
                "rule": rule.replace("_", " "),
                "seed": seed,
                "data": "mnist",
            }
            kind = KINDS.get(rule.split()[0], KINDS.get(rule[0] if "_of" in rule else "", "own"))
            about |= {"kind": kind, "device": "cpu", "warmup_epochs": 2.0, "overlap": 1.0}
            worth = accuracy + 0.01 * seed + draw.normal(0, 1e-4)
            for level in range(levels + 1):
                end = {"level": level, "epoch": 8.0 if level == levels else epochs + level / 100}
                end |= {"density": 0.5**level, "stopped": True, "test_accuracy": worth}
                end |= {"validation_accuracy": worth, "train_s": 1.0, "measure_s": 0.0}
                found.append(about | end)
    return pd.DataFrame(found)


def said(table, about, **more):
    """Return the paragraph that begins with a word."""
    (text,) = [t for t in referee.report(table, 0.003, **more) if t.startswith(about)]
    return text


GOOD = {"looks": (2.0, 0.89), "replay_of_looks": (2.1, 0.87)}


def test_ten_lines_say_what_a_stranger_wants_to_know():
    text = referee.report(rows(**GOOD), 0.003)
    assert len(text) == 11
    assert text[0].startswith("fixed: 5 rules on seeds 0, 1, 2, 3, with a margin of 0.3 points")
    assert "of 1 stop rules, shown to beat its own replay of equal cost: 1" in text[0]
    words = re.findall(r"\w+", " ".join(text))
    names = {*Row.__annotations__, *evidence.VERDICT, *evidence.GAIN}
    assert not {word for word in words if "_" in word and word in names}
    assert '"looks" by 2.00 points; after Holm\'s correction 1' in said(rows(**GOOD), "Replays")


def test_a_rule_that_gains_nothing_is_shown_to():
    table = rows(looks=(2.0, 0.87), replay_of_looks=(2.1, 0.87))
    assert "shown to beat it: 0; shown to gain less than the margin: 1" in said(table, "Replays")


def test_networks_of_other_densities_get_no_verdict():
    table = rows(**GOOD)
    heavy = (table["rule"] == "looks") & (table["level"] == 3)
    table.loc[heavy, "density"] = 0.18
    text = said(table, "Density")
    assert "UNEQUAL: 4 of 20 networks" in text
    assert "looks (18 % where full retraining has 12 %)" in text
    assert said(table, "Replays").startswith("Replays. No rule here can be held")
    assert said(table, "Constants").startswith("Constants. No rule here")
    verdict = evidence.paired(evidence.final(table), 0.5).set_index("rule")["non_inferior"]
    assert verdict.to_dict() == {"k = 1": True, "k = 4": True, "looks": False} | {
        "replay of looks": True
    }


def test_two_machines_are_told_apart_and_counted():
    table = rows(**GOOD)
    table.loc[table["rule"] == "looks", "device"] = "NVIDIA H200"
    text = said(table, "Machine")
    assert "MIXED: cpu (16 runs); NVIDIA H200 (4 runs). 4 runs were made elsewhere" in text
    other = rows(**GOOD).assign(torch="2.14.1+cu130", threads=2)
    assert "One for all: cpu, torch 2.14.1, 2 threads." in said(other, "Machine")


def test_runs_that_began_with_other_weights_are_found_whatever_their_machine_is_called():
    """One processor's sums are not another's: folders that were completed elsewhere hold both."""
    table = rows(**GOOD, other=(2.0, 0.87), replay_of_other=(2.1, 0.87))
    first = table[(table["rule"] == "full") & (table["level"] == 0)].assign(stopped=False)
    seen = [first.assign(epoch=epoch) for epoch in (1.0, 2.0, 2.1, 4.0)]
    table = pd.concat([table, *seen]).assign(validation_accuracy=0.95)
    assert not faults.apart(table).any()
    elsewhere = table["rule"].isin(["looks", "other", "replay of other"]) & (table["seed"] == 3)
    table.loc[elsewhere & (table["level"] == 0), "validation_accuracy"] = 0.951
    found = faults.apart(table)
    assert set(found[found].index) == {(r, 3) for r in ("looks", "other", "replay of other")}
    text = said(table, "Machine")
    assert "BEGUN APART: 3 networks measure otherwise" in text
    runs = families.look(table).runs
    pairs = pairing.against(runs, pairing.REPLAY).groupby("rule")["seed"].agg(list)
    assert pairs.to_dict() == {"looks": [0, 1, 2], "other": [0, 1, 2, 3]}
    held = pairing.against_constants(runs)
    assert held[held["rule"] == "looks"]["seed"].tolist() == [0, 1, 2]


def test_twins_are_named_and_not_counted():
    table = rows(never=(8, 0.9), at_once=(1, 0.86), looks=(2.0, 0.89), replay_of_looks=(2.0, 0.89))
    text = said(table, "Twins")
    assert "2 of 3 stop rules" in text
    assert '"at once" is "k = 1"; "never" is full retraining' in text
    assert "Of 1 stop rules" in said(table, "Constants")
    assert said(table, "Replays").startswith("Replays. No rule here"), "its replay is the rule"
    assert "constants that need two thirds of them or less: 3;" in said(table, "Full retraining")


def test_a_rule_that_is_a_twin_on_one_seed_only_is_none():
    table = rows(never=(8, 0.9))
    table.loc[
        (table["rule"] == "never") & (table["seed"] == 1) & (table["level"] == 0), "epoch"
    ] = 7
    assert faults.twins(table) == {}


def test_seeds_that_are_missing_are_named_and_pairs_are_made_of_the_others():
    table = rows(**GOOD)
    table = table[(table["rule"] != "replay of looks") | (table["seed"] > 0)]
    assert "replay of looks on seed 0. Pairs" in said(table, "Missing")
    runs = evidence.final(table)
    assert pairing.against(runs, pairing.REPLAY)["seed"].tolist() == [1, 2, 3]


def test_an_accuracy_that_is_not_there_is_missing_and_no_zero():
    table = rows(**GOOD)
    at = (table["rule"] == "looks") & (table["seed"] == 2)
    table.loc[at, "test_accuracy"] = math.nan
    assert "looks on seed 2" in said(table, "Missing")
    assert pairing.against(evidence.final(table), pairing.REPLAY)["gain"].notna().all()
    assert "shown to beat it: 1" in said(table, "Replays")


def test_one_seed_shows_nothing():
    text = referee.report(rows(seeds=[0], **GOOD), 0.003)
    assert "In short: they show nothing" in text[0]
    assert "Noise. Unknown" in " ".join(text)
    assert not [t for t in text if "shown to beat" in t]


def test_rules_without_constants_or_replays_are_held_against_nothing():
    table = rows(looks=(2.0, 0.89))
    assert said(table, "Replays").startswith("Replays. No rule here can be held")
    table = table[~table["rule"].str.startswith("k")]
    assert said(table, "Constants").startswith("Constants. No rule here can be held")


def test_a_saving_must_be_one_to_count():
    table = rows(dear=(7.0, 0.9), cheap=(1.5, 0.9))
    text = said(table, "Full retraining")
    assert "constants that need two thirds of them or less: 3; of these, shown" in text
    assert 'The cheapest of these is "cheap"' in text


def test_dense_networks_are_a_line_between_them():
    table = rows(**GOOD)
    anchors = [
        rows(levels=0).query("rule == 'full'").assign(family=f"dense-{n}", epoch=n - 2.0)
        for n in (9, 36)
    ]
    anchors[0]["test_accuracy"] -= 0.02
    both = pd.concat([table, *anchors])
    runs = evidence.final(both)
    found = pairing.against_dense(runs).query("rule == 'k = 4' and seed == 0")
    own = runs.query("rule == 'k = 4' and seed == 0").iloc[0]
    share = math.log(own["epochs"] / 9) / math.log(36 / 9)
    low, high = (
        runs.query("family == @f and seed == 0")["accuracy"].item() for f in ("dense-9", "dense-36")
    )
    assert found["gain"].item() == pytest.approx(own["accuracy"] - low - share * (high - low))
    assert found["runs"].item() == pytest.approx(1 + share**2 + (1 - share) ** 2)
    assert "shown to lose less than the margin: 2." in said(both, "Dense networks of as many")
    assert "dense-9: 89.51 % after 9 epochs" in said(both, "Beside them")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: pd.concat([t, t[:1]]), r"'full' of family 'fixed', seed 0, has level 0 twice"),
        (lambda t: t.drop(columns=["density"]), "no rows of stop rules: density is not there"),
        (lambda t: t.assign(stopped=False), "no run there ends a level"),
        (lambda t: t[:0], "no run there ends a level"),
        (lambda t: t.assign(kind="konstant"), "unknown kind 'konstant'"),
        (lambda t: t.assign(test_accuracy=97.0), "a fraction from 0 to 1"),
        (lambda t: t.assign(model=["a", *["b"] * (len(t) - 1)]), "several networks, a, b"),
    ],
)
def test_rows_that_are_no_evidence_are_refused_in_one_line(spoil, message):
    with pytest.raises(ValueError, match=message) as refused:
        referee.report(spoil(rows(**GOOD)), 0.003)
    assert "\n" not in str(refused.value)


def test_the_margin_is_that_of_the_data_or_said():
    assert referee.margin_of(pd.DataFrame({"data": ["cifar10", "cifar10"]})) == 0.01
    assert referee.margin_of(pd.DataFrame({"data": ["mine"]}), 0.5) == 0.005
    for table in ({"data": ["mine"]}, {"data": ["mnist", "cifar10"]}, {"data": []}, {}):
        with pytest.raises(ValueError, match="say it in points: --margin"):
            referee.margin_of(pd.DataFrame(table))
    with pytest.raises(ValueError, match="lies between 0 and 100 points"):
        referee.margin_of(pd.DataFrame(), -1)


# --- what lies on disk ---


@pytest.mark.parametrize("table", ["lenet5", "resnet20"])
def test_the_referee_and_the_chapters_hold_a_network_to_one_margin(table):
    assert referee.margin_of(results.rows_at(table)) == evidence.MARGINS[table]


def test_the_faults_of_the_books_own_tables_are_found():
    table = results.rows_at("mlp")
    text = said(table, "Density", family="sap-half-layerwise")
    assert "UNEQUAL: 10 of 15" in text
    twins = said(table, "Twins", family="fixed")
    assert '"information 0.11, published" is "k = 0.125"' in twins
    assert "BEGUN APART: 6 networks" in said(table, "Machine", family="sap-one")
    assert "MIXED" in said(results.rows_at("resnet20"), "Machine", family="fixed")


def test_a_folder_of_anybodys_sweep_is_read_and_one_without_runs_is_refused(tmp_path, capsys):
    size = {"levels": 2, "epochs": 2, "fraction": 0.5, "subset": 200, "threads": 1}
    for name, rule in {"full": {}, "k": {"stop": FixedEpochs(1)}, "loss": {"stop": "loss"}}.items():
        for seed in range(2):
            sweep.run_one(Config(**size, **rule, seed=seed), tmp_path / "runs" / f"{name},{seed}")
    assert main(["referee", str(tmp_path / "runs"), "--margin", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("all: 3 rules on seeds 0, 1, with a margin of 2 points")
    assert max(map(len, out.splitlines())) <= 100
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.csv").write_text("a,b\n1,2\n")
    wrong = [["empty"], ["nowhere"], ["file.csv"], ["runs"], ["runs", "--margin", "0"]]
    for place, *more in [*wrong, ["runs", "--margin", "2", "--family", "x"]]:
        assert main(["referee", str(tmp_path / place), *more]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert re.fullmatch(r"infcop_lite: error: [^\n]+\n", shown.err)


def test_a_table_that_grows_is_read_as_it_will_be_when_it_is_gathered(tmp_path):
    """A replay has another timetable on each seed, and one name."""
    for seed in range(2):
        own = rows(seeds=[seed], **GOOD).drop(columns=["family", "seed", "warmup_epochs", "data"])
        own["setting"] = [f"stop=Schedule(epochs=({seed + 1}.0,))" for _ in range(len(own))]
        config = {"seed": seed, "warmup_epochs": 2.0, "data": "mnist", "model": "mlp"}
        folder = tmp_path / "toy" / f"fixed-{seed}"
        records.begin(folder, config)
        records.save(folder, config, own.to_dict("records"), finished=True)
    table = results.rows_at(tmp_path / "toy")
    assert set(table["rule"]) == {"full", "k = 1", "k = 4", "looks", "replay of looks"}
    assert set(table["data"]) == {"mnist"}

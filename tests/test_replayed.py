"""Tables that protocol.md announces: timetables of other seeds, equal epochs, what must wait."""

import doctest
import functools
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import gather
import pandas as pd
import pytest
import replay
import tables
import torch

from infcop_lite import evidence, models, recording, results
from infcop_lite.amounts import is_sparse_enough, next_masks
from infcop_lite.config import Config
from infcop_lite.masks import full_masks
from infcop_lite.stopping import FixedEpochs, Schedule

TINY = {"data": "digits", "model": "mlp", "subset": 400, "fraction": 0.5, "levels": 3, "epochs": 2}
TINY |= {"warmup_epochs": 1, "probe_size": 20, "check_steps": 1, "last_schedule": "linear"}
RULES = {"k = 1": {"stop": FixedEpochs(1)}, "loss": {"stop": "loss"}}
NEW = ("mlp-replay", "airnet", "airnet-converged", "airnet-epochs", "mlp-epochs", "lenet5-global")
NEW += tables.WIDE
TIMES = [0.0, 0.127660, 0.255319, 0.382979, 0.510638, 1.02128]


def rows_of(stops, rule="loss"):
    """Return rows of full retraining, every check of two levels and the last, and of one rule."""
    full = [("full", 0, level, t, t == TIMES[-1]) for level in range(3) for t in TIMES]
    own = [(rule, seed, level, t, True) for seed, of in stops.items() for level, t in enumerate(of)]
    return pd.DataFrame([*full, *own], columns=["rule", "seed", "level", "epoch", "stopped"])


def replayed(stops, seed, late=()):
    found = replay.controls(rows_of(stops), RULES, sorted(stops), seed, late)
    return {name: rule["stop"].epochs for name, rule in found.items()}


# --- worked by hand ---

STOPS = {0: [1.02128, 0.0, 9.0], 1: [0.127660, 0.255319, 9.0]}
STOPS |= {2: [0.127660, 0.510638, 9.0], 3: [0.127660, 0.127660, 9.0]}


def test_a_replay_is_the_mean_of_the_others_rounded_to_checks():
    # means of 1, 2, 3: 0.127660; (0.255319 + 0.510638 + 0.127660) / 3 = 0.298, nearest to 0.255
    assert replayed(STOPS, 0) == {"replay of loss": (0.127, 0.255)}
    # means of 0, 1, 3: 0.4255, nearest to 0.383, which leaves 0.0426; and 0.1277
    assert replayed(STOPS, 2) == {"replay of loss": (0.382, 0.127)}


def test_a_replay_never_uses_the_seeds_own_times():
    before = {seed: replayed(STOPS, seed) for seed in STOPS}
    after = {seed: replayed(STOPS | {0: [0.0, 1.02128, 9.0]}, seed) for seed in STOPS}
    assert after[0] == before[0]
    assert all(after[seed] != before[seed] for seed in (1, 2, 3))


def test_what_rounding_leaves_goes_to_the_next_level():
    times = [1.0, 2.0, 4.0, 8.0]
    for wanted in ([1.4] * 10, [3.3, 1.2, 5.9, 6.1, 1.0], [7.9] * 5):
        made = replay.timetable(wanted, times)["stop"].epochs
        assert set(made) <= set(times)
        assert abs(sum(made) - sum(wanted)) <= 2  # half of the widest gap


def test_a_late_timetable_costs_the_same_and_grows_by_one_factor():
    late = replay.geometric([2.0, 1.0, 0.0, 1.0], most=8.0)
    assert sum(late) == pytest.approx(4)
    assert late[1] / late[0] == pytest.approx(late[3] / late[2])
    assert late[3] / late[0] == pytest.approx(8)
    capped = replay.geometric([7.0, 7.0, 2.0], most=8.0)
    assert sum(capped) == pytest.approx(16)
    assert max(capped) <= 8
    assert replay.geometric([8.0, 8.0], most=8.0) == [8.0, 8.0]


def test_a_rule_has_no_replay_before_all_seeds_are_there():
    rows = rows_of({seed: STOPS[seed] for seed in (0, 1)})
    assert replay.controls(rows, RULES, range(3), 0) == {}
    with pytest.raises(ValueError, match="no timetable for seed 0"):
        replay.mean_of_others(rows[rows["rule"] == "loss"].query("seed == 0"), 0)


def test_the_examples_of_the_module_hold():
    assert doctest.testmod(replay) == (0, 5)


# --- a table of three seeds of digits ---


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Runs and tables in tmp_path; the table "toy" replays its own rules."""
    monkeypatch.setattr(gather, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(gather, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    monkeypatch.setitem(tables.SHARED, "toy", TINY)
    family = tables.Family({}, RULES, range(3), replay=("toy/fixed",), late=("loss",))
    monkeypatch.setitem(tables.TABLES, "toy", {"fixed": family, **tables.dense([0], "linear", 5)})
    return tmp_path


def run_and_gather(toy, family="fixed", seeds=range(3)):
    seconds = [tables.run_folder("cpu", "toy", family, seed) for seed in seeds]
    gather.gather(toy / "runs", toy / "results")
    return seconds


def test_replays_join_the_folders_of_the_rules_they_replay(toy):
    run_and_gather(toy)
    first = (toy / "runs" / "toy" / "fixed-0" / "rows.csv").read_text()
    assert set(evidence.read("toy", toy / "results")["rule"]) == {"full", *RULES}
    assert all(run_and_gather(toy))
    assert (toy / "runs" / "toy" / "fixed-0" / "rows.csv").read_text().startswith(first)
    rows = evidence.read("toy", toy / "results")
    assert set(rows["rule"]) == {"full", *RULES, "replay of loss", "late like loss"}
    assert set(rows[rows["rule"].str.contains("of|like")]["kind"]) == {"schedule"}
    assert run_and_gather(toy) == [0.0] * 3

    ends = rows[rows["stopped"] & (rows["level"] < 3)]
    times = sorted(rows[(rows["rule"] == "full") & (rows["level"] < 3)]["epoch"].unique())[1:]
    by_rule = {
        rule: part.set_index(["seed", "level"])["epoch"] for rule, part in ends.groupby("rule")
    }
    assert by_rule["loss"].groupby("level").nunique().max() > 1, "or there is nothing to average"
    for seed in range(3):
        others = by_rule["loss"].drop(index=seed, level="seed").groupby("level").mean()
        expected = replay.timetable(list(others), times)["stop"].epochs
        assert by_rule["replay of loss"][seed].tolist() == pytest.approx(list(expected), abs=1e-3)
        widest = max(b - a for a, b in pairwise(times))
        assert abs(sum(expected) - others.sum()) <= widest / 2 + 1e-3


def test_a_dense_anchor_trains_as_many_epochs_as_the_arm_it_stands_beside(toy):
    run_and_gather(toy)
    run_and_gather(toy, "dense-5", [0])
    runs = evidence.final(evidence.read("toy", toy / "results")).query("seed == 0")
    found = runs.set_index(["family", "rule"])
    # warm-up 1, k = 1 at three levels, the last one's 2: six; full retraining has 9
    assert found.loc[("fixed", "k = 1"), "epochs"] == 6
    assert found.loc[("dense-5", "full"), ["epochs", "density"]].tolist() == [5, 1]


def test_curves_reach_the_final_density_in_the_epochs_that_their_names_say(toy, monkeypatch):
    settings = TINY | {"final_density": 0.1, "fraction": 0.44, "levels": 40}
    families = tables.gradual([0], 0.135, 36) | tables.lr_rewind([0], 4, "triangular", 10)
    families |= tables.budgeted([0], 4, "linear", 18)
    monkeypatch.setitem(tables.SHARED, "toy", settings)
    monkeypatch.setitem(tables.TABLES, "toy", families)
    for family in families:
        run_and_gather(toy, family, [0])
    rows = evidence.read("toy", toy / "results")
    runs = evidence.final(rows).set_index("family")
    assert runs["epochs"].round(3).to_dict() == {
        "gradual-36": 36,
        "lr-rewind-10": 10,
        "budgeted-18": 18,
    }
    assert runs["density"].tolist() == pytest.approx([0.1] * 3, abs=1e-3)
    assert rows.groupby("family")["level"].max().to_dict() == {
        "gradual-36": 16,
        "lr-rewind-10": 4,
        "budgeted-18": 4,
    }
    assert set(rows["rewind"]) == {"none"}


# --- the tables themselves ---


@functools.cache
def prunings(model, fraction, scope, final_density):
    """Return how often that network is pruned; the fixed first layer of airnet counts as dense."""
    noise = torch.randn(60, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = SimpleNamespace(train=SimpleNamespace(inputs=noise), classes=tuple("0123456789"))
    network = models.build(model, images if model.startswith("airnet") else None)
    config = Config(model=model, fraction=fraction, scope=scope, final_density=final_density)
    masks, number = full_masks(network), 0
    while not is_sparse_enough(masks, config):
        masks, number = next_masks(network, masks, config), number + 1
    return number


def test_the_tables_prune_as_often_as_protocol_md_says():
    found = {}
    for table in (*NEW, *tables.CONFIRMATION):
        for family in tables.TABLES[table]:
            c = tables.configs_of(table, family, 0, "cpu")["full"]
            if c.levels:
                number = prunings(c.model, c.fraction, c.scope, c.final_density)
                found.setdefault((c.model, family.startswith("gradual")), set()).add(number)
    assert found == {
        ("mlp", False): {16},
        ("mlp", True): {16},
        ("lenet5", False): {8},
        ("lenet5", True): {16},
        ("airnet", False): {4},
        ("airnet", True): {16},
        ("airnet-64", False): {4},
        ("airnet-64", True): {16},
    }


def total(table, family, epochs=None):
    """Return the epochs of a run, from its settings alone."""
    c = tables.configs_of(table, family, 0, "cpu")["full"]
    if c.levels == 0:
        return c.warmup_epochs + (c.dense_epochs or c.last_epochs)
    number = prunings(c.model, c.fraction, c.scope, c.final_density)
    more = [c.epochs if epochs is None else epochs] * (number - 1)
    return c.warmup_epochs + (c.dense_epochs or (epochs or c.epochs)) + sum(more) + c.last_epochs


@pytest.mark.parametrize("table", [t for t in tables.TABLES if "dense-16" in tables.TABLES[t]])
def test_the_core_table_has_dense_networks_at_one_epoch_a_level_and_at_full_retraining(table):
    assert {"dense-16", "dense-36"} <= set(tables.TABLES[table])
    assert (total(table, "fixed", 1), total(table, "fixed")) == (16, 36)


def test_the_wide_tables_for_a_gpu_are_those_of_airnet_but_for_network_and_seeds():
    for wide in tables.WIDE:
        narrow = wide.replace("-64", "")
        assert tables.TABLES[wide].keys() == tables.TABLES[narrow].keys()
        for name, family in tables.TABLES[wide].items():
            assert list(family.seeds) == list(range(10))
            assert all(place.partition("/")[0] == wide for place in family.replay)
            pair = [tables.configs_of(table, name, 0, "cpu") for table in (wide, narrow)]
            for rule in (tables.FULL, *family.rules):
                assert replace(pair[0][rule], model="airnet") == pair[1][rule]


def test_dense_anchors_cost_what_arms_cost():
    anchors = {"mlp-replay": "mlp-epochs", "airnet": "airnet", "lenet5-global": "lenet5-global"}
    for table in tables.CONFIRMATION:
        anchors[table] = table
    for table, where in anchors.items():
        found = {n for n in tables.TABLES[where] if n.startswith("dense-")}
        wanted = {total(table, "fixed", 1), total(table, "fixed")}
        assert {total(where, name) for name in found} == wanted, table
        assert found == {f"dense-{n:g}" for n in wanted}


def test_the_name_of_a_curve_says_its_epochs():
    for table in NEW:
        for family in tables.TABLES[table]:
            what, _, epochs = family.rpartition("-")
            if what in ("dense", "gradual", "lr-rewind", "budgeted"):
                assert total(table, family) == pytest.approx(float(epochs)), (table, family)


def test_the_new_tables_compare_rules_at_one_constant_rate():
    """Under a schedule a rule and its replay would differ in more than looking."""
    for table in (*NEW, *tables.CONFIRMATION):
        for family, wanted in tables.TABLES[table].items():
            if wanted.replay:
                configs = tables.configs_of(table, family, 0, "cpu").values()
                assert {c.level_schedule for c in configs} == {"constant"}


def test_the_replays_of_the_mlp_come_from_the_committed_table():
    configs = tables.configs_of("mlp-replay", "fixed", 0, "cpu")
    rows = evidence.read("mlp", gather.RESULTS).query("family == 'fixed' and stopped")
    own = rows[(rows["rule"] == tables.LOSS) & (rows["seed"] > 0)]
    mean = own[own["level"] < own["level"].max()]["epoch"].sum() / 4
    assert isinstance(configs[f"replay of {tables.LOSS}"].stop, Schedule)
    assert sum(configs[f"replay of {tables.LOSS}"].stop.epochs) == pytest.approx(mean, abs=0.1)
    assert {f"replay of {rule}" for rule in tables.LOOKING} <= set(configs)


def test_seeds_that_nobody_has_seen_replay_those_that_were():
    """Theirs is the mean of all five, so none of them has a timetable of its own."""
    found = [tables.configs_of("mlp-replay", "fresh", seed, "cpu") for seed in range(5, 15)]
    name = f"replay of {tables.LOSS}"
    assert len({configs[name].stop for configs in found}) == 1
    assert not set(range(5, 15)) & set(evidence.read("mlp", gather.RESULTS)["seed"])


# --- what must wait ---


@pytest.mark.parametrize("table", tables.CONFIRMATION)
def test_nobody_looks_at_the_confirmation_before_its_recipe_is_named(
    table, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gather, "RUNS", tmp_path)
    monkeypatch.setattr(tables, "RECIPE", {})
    with pytest.raises(ValueError, match=r"waits until protocol\.md"):
        tables.run_folder("cpu", table, "fixed", 0)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("sys.argv", ["tables.py", table])
    with pytest.raises(SystemExit) as refused:
        tables.main()
    assert refused.value.code == 2
    assert "protocol.md" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.setattr(tables, "RECIPE", {table: {"scope": "global"}})
    assert tables.unsettled(table) == ""
    held = tables.configs_of(table, "fixed", 0, "cpu")
    assert held["full"].data == "fashion-mnist"


@pytest.mark.parametrize("table", ["mlp", "lenet5", "convnet", "resnet20"])
def test_the_folders_of_older_tables_are_still_theirs(table):
    """A folder is known by its settings: with others it could not be completed."""
    for name, record in evidence.provenance(table, gather.RESULTS).items():
        family, seed = results.split_name(name)
        config = tables.configs_of(table, family, seed, record["config"]["device"])["full"]
        assert tables.settings_of(gather.RUNS / "nowhere", config) == record["config"]


# --- arms that waited for the library ---


def test_the_arms_that_protocol_names_have_its_labels_and_run_where_it_says():
    """In the folders of `fixed` and `going-on`, and in no folder that is rewound or fresh."""
    text = (gather.RESULTS.parent / "protocol.md").read_text("utf-8")
    for label, rule in tables.WAITED.items():
        assert f"- `{label}`: `" in text
        made = dict(tables.stopping.__dict__)
        called = re.search(rf"- `{re.escape(label)}`: `(.*?)`", text)[1]
        assert eval(called, made) == rule["stop"]
        described = recording.describe(Config(**rule))
        assert described["kind"] == ("loss" if "price" in label else "flow")
        assert described["reference"] == ("" if "price" in label else "warmup")
    with_arms = {
        (table, name)
        for table, families in tables.TABLES.items()
        for name, family in families.items()
        if set(tables.WAITED) <= set(family.rules)
    }
    fixed = {(table, "fixed") for table in ("mlp-replay", "airnet", "airnet-64", "lenet5-global")}
    fixed |= {(table, "fixed") for table in tables.CONFIRMATION}
    going_on = {(table, "going-on") for table in ("airnet-converged", "airnet-64-converged")}
    assert with_arms == fixed | going_on
    for table, name in with_arms:
        assert f"{table}/{name}" in tables.TABLES[table][name].replay, "each with its replay"


def test_what_waited_is_replayed_on_the_mlp_from_rows_that_hold_it(monkeypatch):
    """All else from the committed table, whatever the new one holds."""
    committed = replay.gathered("mlp", "fixed", gather.RESULTS)
    names = {*replay.adaptive(tables.EVERYTHING)}

    def not_yet(table, family, root):
        return committed if table == "mlp" else committed[:0]

    monkeypatch.setattr(replay, "gathered", not_yet)
    before = tables.configs_of("mlp-replay", "fixed", 0, "cpu")
    assert not set(tables.WAITED) & set(committed["rule"])
    assert {f"replay of {name}" for name in tables.WAITED}.isdisjoint(before)

    def gathered(table, family, root):
        if table == "mlp":
            return committed
        full = rows_of({seed: [1.02128, 0.255319, 9.0] for seed in range(5)}, "none")
        own = [rows_of({s: [1.02128, 0.255319, 9.0] for s in range(5)}, n) for n in tables.ALL]
        return pd.concat([full.query("rule == 'full'"), *(o.query("rule != 'full'") for o in own)])

    monkeypatch.setattr(replay, "gathered", gathered)
    after = tables.configs_of("mlp-replay", "fixed", 0, "cpu")
    assert {k: c.stop for k, c in after.items() if k in before} == {
        k: c.stop for k, c in before.items()
    }
    assert set(after) - set(before) == {f"replay of {name}" for name in tables.WAITED}
    assert after["replay of price 0.1"].stop.epochs == (1.021, 0.255)
    assert {f"replay of {name}" for name in names} <= set(before)


def test_a_table_has_no_rule_that_its_rows_lack_and_nothing_will_run():
    """Else the table is another one than its page says, until somebody waits a night for it."""
    for table in ("mlp", "lenet5", "convnet", "resnet20"):
        rows = evidence.read(table, gather.RESULTS)
        for family in set(rows["family"]):
            held = set(rows[rows["family"] == family]["rule"])
            assert set(tables.TABLES[table][family].rules) <= held, (table, family)

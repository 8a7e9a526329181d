"""The tables of the experiments: what is there is kept, what is missing is run, and on what."""

import json
from dataclasses import replace

import gather
import pandas as pd
import pytest
import tables

from infcop_lite import evidence, records, results
from infcop_lite.config import Config
from infcop_lite.identity import identity
from infcop_lite.rows import SECONDS
from infcop_lite.stopping import FixedEpochs

TINY = {"data": "digits", "model": "mlp", "subset": 100, "fraction": 0.5, "levels": 2, "epochs": 1}
TINY |= {"warmup_epochs": 1, "probe_size": 20, "last_schedule": "linear"}
RULES = {"k = 0": {"stop": FixedEpochs(0)}, "accuracy": {"stop": "accuracy"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A table of one folder, with full retraining and one rule; its results go to tmp_path."""
    monkeypatch.setattr(gather, "RUNS", tmp_path)
    monkeypatch.setitem(tables.SHARED, "tiny", TINY)
    offer(monkeypatch, "k = 0")
    return tmp_path / "tiny" / "fixed-0"


def offer(monkeypatch, *names):
    family = tables.Family({}, {name: RULES[name] for name in names}, range(1))
    monkeypatch.setitem(tables.TABLES, "tiny", {"fixed": family})


def run():
    return tables.run_folder("cpu", "tiny", "fixed", 0)


def test_a_rule_that_is_added_later_is_the_only_one_that_is_run(folder, monkeypatch):
    assert run() > 0
    first = (folder / "rows.csv").read_text()
    assert set(records.read(folder)[0]["rule"]) == {"full", "k = 0"}
    assert run() == 0
    offer(monkeypatch, "k = 0", "accuracy")
    assert run() > 0
    rows = records.read(folder)[0]
    assert set(rows["rule"]) == {"full", "k = 0", "accuracy"}
    assert (folder / "rows.csv").read_text().startswith(first)
    ends = rows[rows["stopped"]].groupby("rule").tail(1).set_index("rule")
    assert ends.loc["full", "overlap"] == 1
    assert 0 < ends.loc["accuracy", "overlap"] <= 1


def test_a_rule_may_be_added_to_a_folder_of_the_first_release(folder, monkeypatch):
    """Which had no columns for the rule: `setting` says it, once and for all."""
    run()
    columns = ["kind", "stop", "epsilon", "absolute", "reference", "epochs_fixed"]
    lacking = [*columns, "seed", "threads"]
    held = records.read(folder)[0]
    (folder / "rows.csv").write_text(held.drop(columns=lacking).to_csv(index=False))
    record = json.loads((folder / records.RUN).read_text())
    del record["rows_sha256"]
    (folder / records.RUN).write_text(json.dumps(record))
    offer(monkeypatch, "k = 0", "accuracy")
    assert run() > 0
    rows = records.read(folder)[0]
    kinds = rows.drop_duplicates("rule").set_index("rule")["kind"].to_dict()
    assert kinds == {"full": "full", "k = 0": "constant", "accuracy": "accuracy"}
    pd.testing.assert_frame_equal(rows[columns][: len(held)], held[columns])
    assert set(evidence.final(evidence.read("tiny", folder.parent.parent))["rule"]) == set(kinds)


def test_without_its_masks_full_retraining_is_run_again_only_for_rules_that_need_them(
    folder, monkeypatch
):
    run()
    before = records.read(folder)[0]
    (folder / "full.safetensors").unlink()
    assert run() == 0
    offer(monkeypatch, "k = 0", "accuracy")
    assert run() > 0
    assert (folder / "full.safetensors").exists()
    rows = records.read(folder)[0]
    assert not rows.duplicated(["rule", "level", "epoch"]).any()
    unmeasured = [*SECONDS]
    of_full = [table.query("rule == 'full'").drop(columns=unmeasured) for table in (before, rows)]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in of_full))


def test_masks_of_a_very_large_network_are_not_kept(folder, monkeypatch):
    monkeypatch.setattr(tables, "LARGEST", 10)
    run()
    assert not (folder / "full.safetensors").exists()
    assert run() == 0


def test_a_rule_that_means_something_else_now_is_refused(folder, monkeypatch):
    run()
    before = (folder / "rows.csv").read_bytes()
    monkeypatch.setitem(RULES, "k = 0", {"stop": FixedEpochs(0.5)})
    offer(monkeypatch, "k = 0")
    with pytest.raises(ValueError, match="now defines otherwise"):
        run()
    assert (folder / "rows.csv").read_bytes() == before


def test_other_settings_are_refused(folder, monkeypatch):
    run()
    monkeypatch.setitem(tables.SHARED, "tiny", TINY | {"lr": 0.01})
    with pytest.raises(ValueError, match="differs in lr"):
        run()


def test_a_folder_begun_on_a_gpu_may_be_completed_here_and_its_rows_say_so(folder, monkeypatch):
    run()
    path = folder / records.RUN
    record = json.loads(path.read_text())
    record["config"]["device"] = "cuda"
    record["machine"]["accelerator"] = "NVIDIA H200"
    del record["rows_sha256"]
    path.write_text(json.dumps(record))
    table = records.read(folder)[0].drop(columns="device")  # as the first folders were
    (folder / "rows.csv").write_text(table.to_csv(index=False))
    (folder / "full.safetensors").unlink()
    settings = record["config"]
    assert tables.settings_of(folder, Config(**TINY)) == identity(
        replace(Config(**TINY), device="cuda")
    )
    offer(monkeypatch, "k = 0", "accuracy")
    assert run() > 0
    rows = evidence.read("tiny", folder.parent.parent)
    where = rows.groupby("rule")["device"].unique().str.join("+").to_dict()
    assert where == {"k = 0": "NVIDIA H200", "full": "cpu", "accuracy": "cpu"}
    assert records.read(folder)[1]["config"] == settings


def test_every_committed_run_is_what_the_script_would_make_now():
    """Whatever options have come since: none is run again, and none is taken for another."""
    lines = (gather.RESULTS / results.PROVENANCE).read_text("utf-8").splitlines()
    held = {line["run"]: line["record"]["config"] for line in map(json.loads, lines)}
    compared = 0
    for table, families in tables.TABLES.items():
        for family, wanted in families.items():
            for name, seed in ((f"{table}/{family}-{seed}", seed) for seed in wanted.seeds):
                if name in held:
                    configs = tables.configs_of(table, family, seed, held[name]["device"])
                    assert identity(configs[tables.FULL]) == held[name], name
                    compared += 1
    assert compared > 80


def test_what_is_in_the_tables_is_what_the_script_would_make():
    """So that a rule can be added to a folder: a new field of Config has its old value there."""
    compared = 0
    for table, families in tables.TABLES.items():
        made = evidence.provenance(table)
        for family, wanted in families.items():
            for seed in wanted.seeds:
                if (record := made.get(f"{family}-{seed}")) is not None:
                    config = tables.configs_of(table, family, seed, "cpu")[tables.FULL]
                    device = {"device": record["config"]["device"]}
                    assert identity(config) | device == record["config"], (table, family, seed)
                    compared += 1
    assert compared >= 97


def test_every_table_can_be_configured():
    for table, families in tables.TABLES.items():
        for family, wanted in families.items():
            configs = tables.configs_of(table, family, 0, "cpu")
            assert next(iter(configs)) == tables.FULL
            replayed = tables.controls_of(wanted, 0)
            assert set(configs) == {tables.FULL} | set(wanted.rules) | set(replayed)
            assert configs[tables.FULL].stop == "budget"
            assert len(wanted.seeds) > 0


def test_tables_for_a_gpu_are_run_there_or_if_asked(monkeypatch):
    ran = []
    monkeypatch.setattr(gather, "restore", lambda wanted: [])
    monkeypatch.setattr(tables, "run_jobs", lambda run, jobs, processes: ran.append(jobs) or 0)
    for options in ([], ["--device", "cuda"], ["vgg16"]):
        monkeypatch.setattr("sys.argv", ["tables.py", *options])
        assert tables.main() == 0
    of_cpu, of_gpu, asked = ({table for table, *_ in jobs} for jobs in ran)
    settled = {table for table in tables.TABLES if not tables.unsettled(table)}
    assert of_cpu == settled - set(tables.FOR_A_GPU)
    assert of_gpu == settled
    assert asked == {"vgg16"}


def test_an_unknown_table_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py", "mlpp"])
    with pytest.raises(SystemExit) as refused:
        tables.main()
    assert refused.value.code == 2
    assert "no table mlpp" in capsys.readouterr().err.splitlines()[-1]

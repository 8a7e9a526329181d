"""Runs into tidy tables and back: bit by bit, and no result lost without being named."""

import io
import json
import re
import subprocess
import tarfile

import gather
import pandas as pd
import pytest

from infcop_lite import evidence, ledger, records

CONFIG = {"seed": 0, "warmup_epochs": 2, "epochs": 8}


def a_run(folder, rules=("full",), num_levels=2, accuracy=0.9, config=CONFIG, **more):
    """Write a finished run as the first release did: which rule it is, `setting` says."""
    setting = {"full": "stop=budget", "k = 1": "stop=FixedEpochs(n=1)", "mask": "stop=mask"}
    rows = [
        {
            "rule": rule,
            "level": level,
            "epoch": 1.0,
            "density": 0.5**level,
            "stopped": True,
            "test_accuracy": accuracy,
            "validation_accuracy": 0.8,
            "overlap": 1.0,
            "train_s": 1.5,
            "measure_s": 0.25,
            "setting": setting[rule],
            **more,
        }
        for rule in rules
        for level in range(num_levels)
    ]
    records.begin(folder, config)
    records.save(folder, config, rows, "make results", finished=True, seconds=3.5)


@pytest.fixture
def places(tmp_path):
    """Where runs grow, with three of them, and where the tables are."""
    runs, home = tmp_path / "runs", tmp_path / "results"
    a_run(runs / "mlp" / "fixed-0", ("full", "k = 1"))
    a_run(runs / "mlp" / "fixed-global-10", ("full",), num_levels=3)
    a_run(runs / "mlp" / "fixed-2", ("full", "mask"), device="cpu", accuracy=0.7)
    return runs, home


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


# --- there and back ---


def test_folders_come_back_from_the_tables_bit_by_bit(places, tmp_path):
    runs, home = places
    (runs / "mlp" / "fixed-0" / "full.safetensors").write_bytes(bytes(range(256)))
    ledger.note_start(
        runs / "mlp" / "fixed-2", [{"rules": ["full"], "seconds": 0.1}, {"rules": []}]
    )
    assert gather.gather(*places) == ["mlp/fixed-0", "mlp/fixed-2", "mlp/fixed-global-10"]
    gather.restore(lambda name: True, tmp_path / "back", home)
    assert contents(tmp_path / "back") == contents(runs)


def test_the_tables_say_what_the_folders_say(places):
    runs, home = places
    before = evidence.read("mlp", runs)
    gather.gather(*places)
    after = evidence.read("mlp", home)
    keys = ["family", "seed", "rule", "level"]
    a, b = (table.sort_values(keys, ignore_index=True) for table in (before, after))
    pd.testing.assert_frame_equal(a, b[list(a)])
    assert evidence.tables(home) == evidence.tables(runs) == ["mlp"]
    assert evidence.provenance("mlp", home) == evidence.provenance("mlp", runs)
    assert set(after["kind"]) == {"full", "constant", "mask"}


def test_the_tables_are_tidy_and_sorted(places):
    _, home = places
    gather.gather(*places)
    assert sorted(p.name for p in (home / "mlp").iterdir()) == ["rows.csv", "runs.csv"]
    of_runs = pd.read_csv(home / "mlp" / "runs.csv")
    assert of_runs[["family", "seed", "rule"]].to_numpy().tolist() == [
        ["fixed", 0, "full"],
        ["fixed", 0, "k = 1"],
        ["fixed", 2, "full"],
        ["fixed", 2, "mask"],
        ["fixed-global", 10, "full"],
    ]
    assert "setting" not in pd.read_csv(home / "mlp" / "rows.csv"), "it is the same in all rows"
    again = contents(home)
    assert gather.gather(*places) == []
    assert contents(home) == again


def test_a_file_of_rows_that_grows_too_large_is_parted(places, monkeypatch):
    runs, home = places
    gather.gather(*places)
    whole = evidence.read("mlp", home)
    for too_large, parts in (
        ("rows.csv", {"fixed.csv", "fixed-global.csv"}),
        ("fixed.csv", {"fixed-0.csv", "fixed-2.csv", "fixed-global-10.csv"}),
    ):
        monkeypatch.setattr(gather, "LARGEST", (home / "mlp" / too_large).stat().st_size - 1)
        gather.gather(*places)
        assert {p.name for p in (home / "mlp").iterdir()} == parts | {"runs.csv"}
        pd.testing.assert_frame_equal(evidence.read("mlp", home), whole)
        assert gather.read(home) == gather.finished(runs)


def test_a_run_that_is_not_finished_waits(places):
    runs, home = places
    path = runs / "mlp" / "fixed-0" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": False}))
    assert gather.gather(*places) == ["mlp/fixed-2", "mlp/fixed-global-10"]
    assert set(gather.read(home)) == {"mlp/fixed-2", "mlp/fixed-global-10"}


def test_a_folder_that_is_there_is_not_overwritten(places):
    runs, _ = places
    gather.gather(*places)
    (runs / "mlp" / "fixed-0" / "rows.csv").write_text("mine\n")
    assert gather.restore(lambda name: True, *places) == []
    assert (runs / "mlp" / "fixed-0" / "rows.csv").read_text() == "mine\n"


# --- nothing is lost ---


def replace_run(runs, **changes):
    for path in (runs / "mlp" / "fixed-0").iterdir():
        path.unlink()
    a_run(runs / "mlp" / "fixed-0", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": ("full",)},
        {"rules": ("full", "k = 1"), "accuracy": 0.91},
        {"rules": ("full", "k = 1"), "num_levels": 3},
        {"rules": ("full", "k = 1"), "num_levels": 1},
    ],
)
def test_a_result_that_would_vanish_or_change_is_refused_and_the_tables_stay(places, changes):
    runs, home = places
    gather.gather(*places)
    before = contents(home)
    replace_run(runs, **changes)
    with pytest.raises(gather.Lost, match=r"mlp/fixed-0: '(full|k = 1)' would change"):
        gather.gather(*places)
    assert contents(home) == before


def test_a_rule_may_be_added_and_an_empty_column_filled(places):
    runs, home = places
    a_run(runs / "mlp" / "fixed-1", ("full",), to_end="")
    gather.gather(*places)
    for path in (runs / "mlp" / "fixed-1").iterdir():
        path.unlink()
    a_run(runs / "mlp" / "fixed-1", ("full", "k = 1"), to_end=0.5)
    assert gather.gather(*places) == ["mlp/fixed-1"]
    assert len(evidence.read("mlp", home).query("seed == 1")) == 4


def test_a_run_that_is_only_in_the_tables_stays_there(places, tmp_path):
    _, home = places
    gather.gather(*places)
    before = contents(home)
    assert gather.gather(tmp_path / "nothing", home) == []
    assert contents(home) == before


def test_what_is_dropped_is_named_with_the_reason(places):
    runs, home = places
    gather.gather(*places)
    (home / "dropped.txt").write_text("# why\nmlp/fixed-2  its data were split wrongly\n")
    assert gather.gather(*places) == ["mlp/fixed-2"]
    assert set(evidence.read("mlp", home)["seed"]) == {0, 10}
    replace_run(runs, rules=("full", "k = 1"), accuracy=0.91)
    (home / "dropped.txt").write_text(
        "mlp/fixed-2  split\nmlp/fixed-0: full  rerun\nmlp/fixed-0: k = 1  rerun\n"
    )
    assert gather.gather(*places) == ["mlp/fixed-0"]
    (home / "dropped.txt").write_text("mlp/fixed-0\n")
    with pytest.raises(ValueError, match="needs a reason"):
        gather.gather(*places)


def test_damaged_tables_are_refused_in_one_line(places, capsys, monkeypatch):
    _, home = places
    gather.gather(*places)
    path = home / "mlp" / "runs.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    monkeypatch.setattr(gather, "gather", lambda: gather.read(home))
    monkeypatch.setattr("sys.argv", ["gather.py"])
    assert gather.main() == 2
    assert re.fullmatch(r".*mlp does not fit provenance\.jsonl: .*\n", capsys.readouterr().err)
    with pytest.raises(ValueError, match="lacks runs that have rows"):
        evidence.read("mlp", home)
    path.write_text(path.read_text() * 2)
    with pytest.raises(ValueError, match=r"runs\.csv is damaged"):
        evidence.read("mlp", home)


# --- the tables of this repository ---


def test_no_file_of_the_tables_is_larger_than_a_megabyte_but_masks():
    found = list(gather.RESULTS.rglob("*.csv"))
    assert len(found) > 10
    assert max(path.stat().st_size for path in found) <= gather.LARGEST


def git(*words):
    done = subprocess.run(
        ["git", *words], cwd=gather.ROOT, capture_output=True, check=False, timeout=60
    )
    return done.stdout if done.returncode == 0 else b""


def test_no_commit_lost_a_result_without_naming_it(tmp_path):
    """The last twenty that touched the tables; a shallow clone has fewer."""
    where = f"experiments/results/{gather.results.PROVENANCE}"
    commits = git("log", "--format=%H", "-20", "--", where).decode().split()
    now, dropped = gather.read(), gather.named()
    assert len(now) >= 211
    for commit in commits:
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "experiments/results"))) as tar:
            tar.extractall(tmp_path / commit, filter="data")
        before = gather.read(tmp_path / commit / "experiments" / "results")
        gather.check_nothing_is_lost(before, now, dropped)

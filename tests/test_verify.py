"""make verify: rules of a committed run again, elsewhere, and what it says when they differ."""

import doctest

import gather
import pytest
import tables
import torch
import verify

from infcop_lite import ledger
from infcop_lite.rows import from_csv, to_csv
from infcop_lite.stopping import FixedEpochs

TINY = {"data": "digits", "model": "mlp", "subset": 100, "fraction": 0.5, "levels": 2, "epochs": 1}
TINY |= {"warmup_epochs": 1, "probe_size": 20, "last_schedule": "linear"}
RULES = {"k = 0": {"stop": FixedEpochs(0)}, "k = 0, twice": {"stop": FixedEpochs(0)}}
RULES |= {"accuracy": {"stop": "accuracy"}}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A table "tiny" of one run, gathered."""
    monkeypatch.setattr(gather, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(gather, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    monkeypatch.setitem(tables.SHARED, "tiny", TINY)
    monkeypatch.setitem(tables.TABLES, "tiny", {"fixed": tables.Family({}, RULES, range(1))})
    tables.run_folder("cpu", "tiny", "fixed", 0)
    gather.gather(tmp_path / "runs", tmp_path / "results")
    return tmp_path / "results"


def ask(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["verify.py", *words])
    return verify.main()


def test_rules_that_come_out_again_agree_in_every_digit_and_nothing_is_touched(
    results, monkeypatch, capsys
):
    files = {p: p.read_bytes() for p in results.parent.rglob("*") if p.is_file()}
    assert ask(monkeypatch, "tiny", "fixed-0", "k = 0, twice,accuracy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny/fixed-0"
    assert [line.partition(":")[0] for line in lines[1:]] == ["k = 0, twice", "accuracy"]
    assert all(line.endswith("numbers the same, 0 not") for line in lines[1:])
    assert {p: p.read_bytes() for p in results.parent.rglob("*") if p.is_file()} == files
    assert ask(monkeypatch, "tiny", "fixed-0", "full,accuracy") == 0


def test_a_number_that_differs_is_printed_and_the_exit_code_says_so(results, monkeypatch, capsys):
    held = gather.read(results)

    def spoilt(home):
        found = from_csv(held["tiny/fixed-0"]["rows.csv"].decode())
        own = [row for row in found if row["rule"] == "accuracy"]
        own[-1]["test_accuracy"] = "0.123456"
        for row in found:
            if row["rule"] == "k = 0":
                row |= {"validation_accuracy": "0.5", "commit": "abc"}
        return {"tiny/fixed-0": held["tiny/fixed-0"] | {"rows.csv": to_csv(found).encode()}}

    monkeypatch.setattr(gather, "read", spoilt)
    assert ask(monkeypatch, "tiny", "fixed-0", "accuracy") == 1
    out = capsys.readouterr().out
    assert "numbers the same, 1 not" in out
    assert "test_accuracy 0.123456 then, 0." in out
    assert "from the first row on" not in out
    assert ask(monkeypatch, "tiny", "fixed-0", "k = 0") == 1
    assert "from the first row on" in (out := capsys.readouterr().out)
    assert "commit abc, would tell" in out


def test_it_says_with_what_the_rows_were_made_where_that_is_not_here(results, monkeypatch, capsys):
    """A processor that calls itself alike may still add up otherwise: a digest of sums tells."""
    starts = ledger.starts(results.parent / "runs" / "tiny" / "fixed-0")
    assert starts[-1]["sums"] == tables.sums("cpu") != tables.sums("cpu", "bfloat16")
    assert starts[-1]["tf32"] is False
    monkeypatch.setattr(tables, "sums", lambda device, autocast: "another")
    assert ask(monkeypatch, "tiny", "fixed-0", "accuracy") == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said == (
        f"tiny/fixed-0: made otherwise: digest of sums {starts[-1]['sums']} then, another now"
    )


def test_results_are_computed_without_tf32_and_the_setting_comes_back():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    seen = list(tables.exact(torch.backends.cudnn.allow_tf32 for _ in range(2)))
    assert seen == [False, False]
    assert torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("tiny", "fixed-7", "k = 0"),
            "no run tiny/fixed-7 in the tables; choose from tiny/fixed-0",
        ),
        (("huge", "fixed-0", "k = 0"), "no run huge/fixed-0 in the tables; choose from tiny"),
        (("tiny", "fixed-0", "k = 9"), "no rule 'k = 9' there; choose from full; accuracy; k = 0"),
        (("tiny", "fixed-0", ""), "no rule '' there"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(results, monkeypatch, capsys, words, said):
    assert ask(monkeypatch, *words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_the_examples_of_the_module_hold():
    assert doctest.testmod(verify).failed == 0

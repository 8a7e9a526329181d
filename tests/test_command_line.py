"""The command line as a stranger meets it: options, progress, results, and one line when wrong."""

import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from infcop_lite import __main__ as command_line
from infcop_lite import data, records, sweep
from infcop_lite.config import STOPS, Config
from infcop_lite.datasets import SOURCES
from infcop_lite.identity import identity
from infcop_lite.loop import run_imp
from infcop_lite.options import parser
from infcop_lite.own import FUNCTIONS
from infcop_lite.rows import SECONDS

#: Fields that take only a function have no option.
OPTIONS = [f for f in fields(Config) if f.name not in FUNCTIONS]

ROOT = Path(__file__).parents[1]
FAST = "--subset 200 --batch-size 18 --levels 2 --epochs 2 --warmup-epochs 1 --probe-size 100"
FAST_CONFIG = Config(
    subset=200, batch_size=18, levels=2, epochs=2.0, warmup_epochs=1.0, probe_size=100
)
MNIST = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


@pytest.fixture
def call(capsys):
    """Return a function that runs the command line in this process: (exit code, stdout, stderr)."""

    def run(text):
        capsys.readouterr()
        try:
            code = command_line.main(shlex.split(text))
        except SystemExit as leaving:
            code = leaving.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def no_data_but_digits(tmp_path_factory, monkeypatch):
    """Point the data folder at an empty one; no test reads, or fetches, a real data set."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("INFCOP_DATA_DIR", str(folder))
    return folder


def in_a_process(*words):
    """Run the command line as its users do."""
    return subprocess.run(
        [sys.executable, "-m", "infcop_lite", *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def contents(folder):
    """What a run has left: name -> bytes; the lock holds nothing."""
    files = [path for path in Path(folder).iterdir() if path.name != ".lock"]
    return {path.name: path.read_bytes() for path in files}


def refused(result):
    """Check for exit code 2 and one clear line on stderr; return that line."""
    code, stdout, stderr = result
    assert code == 2
    assert stdout == ""
    assert stderr.endswith("\n")
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("infcop_lite: error: ")
    assert "Traceback" not in stderr
    assert len(stderr) > len("infcop_lite: error: \n") + 10
    return stderr


def options_in(help_text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text))


# --- options and help --------------------------------------------------------------------------


def test_every_field_of_the_config_is_an_option_and_there_are_no_others(call):
    code, text, _ = call("run --help")
    assert code == 0
    expected = {"--" + f.name.replace("_", "-") for f in OPTIONS}
    negations = {"--no-absolute", "--no-fresh-probe", "--no-monitor"}
    assert options_in(text) == expected | negations | {"--out", "--help"}


def test_help_explains_every_option_with_its_default(call):
    text = " ".join(call("run --help")[1].split())
    for f in OPTIONS:
        assert " ".join(f.metadata["help"].split()) in text, f.name
        described = text[text.index(f.metadata["help"]) :]
        assert described.removeprefix(f.metadata["help"]).startswith(f" (default: {f.default})")


def test_help_lists_the_choices(call):
    text = call("run --help")[1]
    for f in OPTIONS:
        for choice in f.metadata.get("choices", ()):
            assert choice in text
    assert all(stop in text for stop in STOPS)


def test_help_names_every_data_set(call):
    text, fetched = call("run --help")[1], call("download --help")[1]
    for name, record in SOURCES.items():
        assert name in text.split("--data")[-1]
        assert (name in fetched) == (record.fetch is not None)


def test_help_names_the_actions(call):
    code, text, _ = call("--help")
    assert code == 0
    assert "run" in text
    assert "download" in text


@pytest.mark.parametrize("f", OPTIONS, ids=lambda f: f.name)
def test_an_option_sets_its_field_and_nothing_else(f, out):
    flag, others = "--" + f.name.replace("_", "-"), {"fraction": 0.5, "p": 0.4, "q": 0.9}
    others |= {"final_density": 0.5, "confidence": 0.9}
    if isinstance(f.default, bool):
        words, value = [f"--no-{flag[2:]}" if f.default else flag], not f.default
    elif f.name == "dense":
        words, value = [flag, "fc1, conv*"], ("fc1", "conv*")
    elif "choices" in f.metadata:
        value = next(choice for choice in f.metadata["choices"] if choice != f.default)
        words = [flag, value]
    elif isinstance(f.default, str):
        words, value = [flag, "gradient"], "gradient"
    elif isinstance(f.default, float):
        value = others.get(f.name, f.default + 0.05)
        words = [flag, str(value)]
    else:
        value = others.get(f.name, 7)
        words = [flag, str(value)]
    options = vars(parser().parse_args(["run", "--out", str(out), *words]))
    assert options[f.name] == (words[1] if f.name == "dense" else value)
    config = Config(**{g.name: options[g.name] for g in OPTIONS})
    assert asdict(config) == {**asdict(Config()), f.name: value}


def test_numbers_are_read_as_the_type_of_their_field(out):
    words = ["run", "--out", str(out), "--epochs", "3", "--seed", "3", "--lr", "1e-3"]
    options = parser().parse_args(words)
    assert [type(value) for value in (options.epochs, options.seed, options.lr)] == [
        float,
        int,
        float,
    ]


# --- a run -------------------------------------------------------------------------------------


def test_anneal_of_the_first_release_still_works_and_says_what_it_is_now(call, out):
    code, _, stderr = call(f"run {FAST} --anneal last --out {out}")
    assert code == 0
    line = "infcop_lite: --anneal last is now --level-schedule constant --last-schedule linear"
    assert line in stderr.splitlines()
    config = replace(FAST_CONFIG, last_schedule="linear")
    assert records.read(out)[1]["config"] == identity(config)
    assert "--anneal" not in call("run --help")[1]


def test_a_run_leaves_the_rows_that_the_library_gives(call, out):
    code, _, _ = call(f"run {FAST} --out {out}")
    assert code == 0
    assert sorted(contents(out)) == [
        "network.safetensors",
        "provenance.jsonl",
        "rows.csv",
        "run.json",
    ]
    table, record = records.read(out)
    expected = [asdict(row) | {"metrics": ""} for row in run_imp(FAST_CONFIG)]
    for found, row in zip(table.to_dict("records"), expected, strict=True):
        for name in row.keys() - {*SECONDS}:
            if isinstance(row[name], float) and math.isnan(row[name]):
                assert math.isnan(found[name]), name
            else:
                assert found[name] == row[name], name
    assert record["config"] == identity(FAST_CONFIG)
    assert record["finished"] is True


def test_the_command_is_recorded_so_that_it_can_be_run_again(call, tmp_path):
    folder = tmp_path / "a folder"
    call(f"run {FAST} --levels 0 --epochs 0 --out {shlex.quote(str(folder))}")
    words = shlex.split(records.read(folder)[1]["command"])
    assert words[:4] == ["python", "-m", "infcop_lite", "run"]
    assert words[-2:] == ["--out", str(folder)]


def test_the_final_table_shows_density_accuracy_epochs_and_seconds(call, out):
    code, text, _ = call(f"run {FAST} --stop information --epsilon 1e9 --out {out}")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].split() == ["level", "density", "test", "accuracy", "epochs", "seconds"]
    ended = records.read(out)[0].query("stopped")
    cells = [line.split() for line in lines[1:4]]
    assert [row[0] for row in cells] == ["0", "1", "2"]
    assert [row[1] for row in cells] == [f"{value:.4f}" for value in ended["density"]]
    assert [row[2] for row in cells] == [f"{value:.4f}" for value in ended["test_accuracy"]]
    assert [row[3] for row in cells] == ["1", "1", "2"]
    seconds = sum(float(row[4]) for row in cells)
    assert seconds == pytest.approx(ended["elapsed_s"].iloc[-1], abs=0.2)
    assert lines[4].startswith("5 epochs in all, 1 of them warm-up")


def test_progress_is_one_line_per_level_on_stderr_when_it_is_no_terminal(call, out):
    _, _, stderr = call(f"run {FAST} --out {out}")
    lines = stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["level 0", "level 1", "level 2"]
    assert all("density" in line and "accuracy" in line for line in lines)
    assert "\r" not in stderr


def test_progress_is_a_bar_on_a_terminal(out, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert command_line.main(shlex.split(f"run {FAST} --out {out}")) == 0
    shown = sys.stderr.getvalue()
    assert "\r" in shown
    assert "3/3" in shown
    assert "level 0: density" not in shown
    assert capsys.readouterr().out.split()[0] == "level"


def test_rows_are_on_disk_while_the_run_goes_on(out, monkeypatch, call):
    seen = []

    def watched(*arguments):
        for row in run_imp(*arguments):
            yield row
            if row.stopped:
                table, record = records.read(out)
                seen.append((int(table["level"].max()), record["finished"]))

    monkeypatch.setattr(sweep, "run", watched)
    assert call(f"run {FAST} --out {out}")[0] == 0
    assert seen == [(0, False), (1, False), (2, False)]


def test_a_finished_run_is_not_run_again(call, out, monkeypatch):
    _, first, _ = call(f"run {FAST} --out {out}")
    before = contents(out)
    monkeypatch.setattr(sweep, "run", lambda *_: pytest.fail("it ran again"))
    code, second, _ = call(f"run {FAST} --out {out}")
    assert code == 0
    assert "already holds this run, finished" in second.splitlines()[0]
    assert second.splitlines()[1:] == first.splitlines()
    assert contents(out) == before


def test_an_interrupted_run_says_so_keeps_its_rows_and_can_be_run_again(call, out, monkeypatch):
    def interrupted(*arguments):
        for row in run_imp(*arguments):
            if row.level == 1:
                raise KeyboardInterrupt
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "run", interrupted)
        code, stdout, stderr = call(f"run {FAST} --out {out}")
    assert code == 130
    assert stdout == ""
    assert "interrupted" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert len(records.read(out)[0]) == 3
    assert call(f"run {FAST} --out {out}")[0] == 0
    assert len(records.read(out)[0]) == 9


# --- what is refused ---------------------------------------------------------------------------

BAD = {
    "unknown data": ("--data imagenet", "unknown data set 'imagenet'"),
    "unknown model": ("--model perceptron", "unknown model 'perceptron'"),
    "model too large for the images": ("--model vgg16", "images of at least"),
    "unknown rule": ("--stop entropy", "unknown stop rule 'entropy'"),
    "unknown rule in a sum": ("--stop information+entropy", "unknown stop rule 'entropy'"),
    "empty rule": ("--stop ''", "unknown stop rule ''"),
    "unknown amount": ("--amount half", "half"),
    "unknown scope": ("--scope everywhere", "everywhere"),
    "unknown reference": ("--reference test", "test"),
    "unknown optimiser": ("--optimizer lion", "lion"),
    "unknown device": ("--device tpu", "tpu"),
    "epsilon 0": ("--epsilon 0", "epsilon must be greater than 0"),
    "epsilon negative": ("--epsilon -1", "epsilon must be greater than 0"),
    "epsilon nan": ("--epsilon nan", "epsilon must be a finite number"),
    "epsilon infinite": ("--epsilon inf", "epsilon must be a finite number"),
    "epsilon abc": ("--epsilon abc", "'abc'"),
    "epsilon empty": ("--epsilon ''", "--epsilon"),
    "epsilon missing": ("--epsilon", "--epsilon"),
    "fraction 0": ("--fraction 0", "fraction must be greater than 0"),
    "fraction 1": ("--fraction 1", "fraction must be less than 1"),
    "fraction 2": ("--fraction 2", "fraction must be less than 1"),
    "fraction negative": ("--fraction -0.2", "fraction must be greater than 0"),
    "fraction nan": ("--fraction nan", "fraction must be a finite number"),
    "p equals q": ("--p 1 --q 1", "p must be smaller than q"),
    "p above q": ("--amount sap --p 2 --q 1", "p must be smaller than q"),
    "p 0": ("--p 0", "p must be greater than 0"),
    "beta 1": ("--beta 1", "beta must be less than 1"),
    "levels negative": ("--levels -1", "levels must be at least 0"),
    "levels fractional": ("--levels 2.5", "'2.5'"),
    "epochs negative": ("--epochs -1", "epochs must be at least 0"),
    "epochs nan": ("--epochs nan", "epochs must be a finite number"),
    "warm-up negative": ("--warmup-epochs -1", "warmup_epochs must be at least 0"),
    "batch size 0": ("--batch-size 0", "batch_size must be greater than 0"),
    "check steps 0": ("--check-steps 0", "check_steps must be greater than 0"),
    "lr nan": ("--lr nan", "lr must be a finite number"),
    "lr 0": ("--lr 0", "lr must be greater than 0"),
    "lr too large": ("--lr 1e30", "not finite"),
    "momentum 1": ("--momentum 1", "momentum must be less than 1"),
    "weight decay negative": ("--weight-decay -1", "weight_decay must be at least 0"),
    "seed negative": ("--seed -1", "seed must be at least 0"),
    "seed beyond 64 bits": ("--seed 18446744073709551616", "seed"),
    "threads 0": ("--threads 0", "threads must be greater than 0"),
    "subset 0": ("--subset 0", "subset must be greater than 0"),
    "subset too small": ("--subset 5", "subset"),
    "subset too large": ("--subset 5000", "subset is 5000"),
    "epochs beyond counting": ("--epochs 1e308", "epochs"),
    "probe of one": ("--probe-size 1", "probe_size must be greater than 1"),
    "data missing": ("--data mnist", "python -m infcop_lite download mnist"),
    "cifar10 missing": ("--data cifar10", "python -m infcop_lite download cifar10"),
    "unknown option": ("--epsilom 0.1", "--epsilom"),
    "abbreviated option": ("--eps 0.1", "--eps"),
    "extra word": ("extra", "extra"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_a_bad_option_ends_in_one_line_and_exit_code_2(call, out, words, message):
    # the bad words come last: argparse keeps the last of two equal options
    assert message in refused(call(f"run {FAST} --out {out} {words}"))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "run",
        "run --data digits",
        "run --out",
        "train",
        "download",
        "download digits",
        "download x",
        "--epsilon 0.1",
    ],
)
def test_an_incomplete_command_ends_in_one_line_and_exit_code_2(call, words):
    refused(call(words))


def test_missing_out_is_named(call):
    assert "--out" in refused(call(f"run {FAST}"))


def test_a_device_that_is_not_there_ends_in_one_line(call, out, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "cuda" in refused(call(f"run {FAST} --device cuda --out {out}"))


@pytest.mark.parametrize("words", ["--data mnist", "--data imagenet", "--model perceptron"])
def test_a_run_that_could_not_start_does_not_claim_its_folder(call, out, words):
    refused(call(f"run {FAST} {words} --out {out}"))
    assert not out.exists() or contents(out) == {}
    assert call(f"run {FAST} --levels 0 --out {out}")[0] == 0


def test_truncated_data_end_in_one_line_that_names_the_file(call, out, no_data_but_digits):
    raw = no_data_but_digits / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST:
        (raw / name).write_bytes(b"\x00\x00\x08\x03\x00")
    line = refused(call(f"run {FAST} --data mnist --out {out}"))
    assert "train-images-idx3-ubyte is truncated or altered" in line


def test_altered_data_end_in_one_line_that_names_the_file(
    call, out, no_data_but_digits, monkeypatch
):
    import hashlib

    raw = no_data_but_digits / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST:
        (raw / name).write_bytes(bytes(range(256)))
    md5 = hashlib.md5(bytes(range(256)), usedforsecurity=False).hexdigest()
    files = {f"MNIST/raw/{name}": md5 for name in MNIST}
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], files=files))
    (raw / MNIST[2]).write_bytes(bytes(range(255)) + b"\x00")  # one byte of one file
    line = refused(call(f"run {FAST} --data mnist --out {out}"))
    assert f"{MNIST[2]} is truncated or altered" in line


def test_a_folder_of_another_run_is_refused_and_left_as_it_was(call, out):
    assert call(f"run {FAST} --levels 0 --out {out}")[0] == 0
    before = contents(out)
    line = refused(call(f"run {FAST} --levels 0 --epsilon 0.5 --seed 1 --out {out}"))
    assert "already holds another run" in line
    assert "epsilon" in line
    assert "seed" in line
    assert contents(out) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "not json", "is damaged"),
        ("run.json", "[]", "is not the record of a run"),
        ("rows.csv", "a,b\n1,2\n", "without a run.json"),
    ],
)
def test_a_folder_with_foreign_files_is_refused_and_left_as_it_was(
    call, out, name, content, message
):
    out.mkdir()
    (out / name).write_text(content)
    assert message in refused(call(f"run {FAST} --out {out}"))
    assert contents(out) == {name: content.encode()}


def test_a_file_in_place_of_the_folder_is_refused_and_left_as_it_was(call, out):
    out.write_text("mine")
    assert "is a file, not a folder" in refused(call(f"run {FAST} --out {out}"))
    assert out.read_text() == "mine"


def test_a_full_disk_ends_in_one_line(call, out, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    assert "No space left on device" in refused(call(f"run {FAST} --out {out}"))


def test_a_finished_run_that_lost_its_rows_ends_in_one_line(call, out):
    call(f"run {FAST} --levels 0 --out {out}")
    (out / "rows.csv").unlink()
    code, _, stderr = call(f"run {FAST} --levels 0 --out {out}")
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert "rows.csv" in stderr


def test_an_error_of_several_lines_is_told_in_one(call, out, monkeypatch):
    def broken(*_):
        raise ValueError("the first line\n  and the second")
        yield

    monkeypatch.setattr(sweep, "run", broken)
    line = refused(call(f"run {FAST} --out {out}"))
    assert line == "infcop_lite: error: the first line and the second\n"


def test_a_defect_of_ours_is_not_hidden(out, monkeypatch):
    def broken(*_):
        raise AssertionError("a defect")
        yield

    monkeypatch.setattr(sweep, "run", broken)
    with pytest.raises(AssertionError, match="a defect"):
        command_line.main(["run", "--out", str(out)])


# --- download ----------------------------------------------------------------------------------


def test_download_says_once_where_the_data_are(call, no_data_but_digits, monkeypatch):
    fetched = []

    def fetch(name, folder):
        fetched.append((name, Path(folder)))

    monkeypatch.setattr(data, "_fetch", fetch)
    code, stdout, stderr = call("download mnist")
    assert (code, stderr) == (0, "")
    assert fetched == [("mnist", no_data_but_digits)]
    assert stdout.count(str(no_data_but_digits)) == 1


def test_a_download_that_fails_ends_in_one_line(call, monkeypatch):
    def fetch(name, folder):
        raise OSError("cannot download mnist: no network")

    monkeypatch.setattr(data, "_fetch", fetch)
    assert "no network" in refused(call("download mnist"))


def test_an_interrupted_download_does_not_speak_of_rows(call, monkeypatch):
    def fetch(name, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "_fetch", fetch)
    code, _, stderr = call("download mnist")
    assert code == 130
    assert "interrupted" in stderr
    assert "rows" not in stderr


# --- as a process ------------------------------------------------------------------------------


def test_a_process_runs_and_keeps_results_and_progress_apart(tmp_path):
    out = tmp_path / "out"
    result = in_a_process("run", *shlex.split(FAST), "--levels", "1", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:2] == ["level", "density"]
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["level 0", "level 1"]
    assert json.loads((out / "run.json").read_text())["finished"] is True


def test_a_process_refuses_in_one_line_with_exit_code_2(tmp_path):
    result = in_a_process("run", "--data", "mnist", "--out", str(tmp_path / "out"))
    line = refused((result.returncode, result.stdout, result.stderr))
    assert "mnist not found" in line


@pytest.mark.parametrize(
    ("raised", "lines"),
    [("KeyboardInterrupt", ["infcop_lite: interrupted"]), ("ImportError('no torch')", None)],
    ids=["Ctrl-C", "anything else"],
)
def test_an_interruption_of_the_imports_ends_in_one_line(tmp_path, raised, lines):
    (tmp_path / "torch.py").write_text(f"raise {raised}\n")
    root = Path(command_line.__file__).parent.parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, root)))}
    command = [sys.executable, "-m", "infcop_lite", "run", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = done.stderr.splitlines()
    if lines:
        assert said == lines
    else:
        assert said[-1].endswith("ImportError: no torch")
        assert len(said) > 3

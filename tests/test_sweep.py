"""Runs into folders: killed anywhere, they end as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import safetensors.numpy
import torch

from infcop_lite import ledger, records, sweep
from infcop_lite.config import Config
from infcop_lite.identity import identity
from infcop_lite.loop import run_imp
from infcop_lite.rows import SECONDS
from infcop_lite.verifying import verify

SMALL = Config(levels=3, fraction=0.5, epochs=2, warmup_epochs=1, threads=1)
VARIANTS = [
    {},
    {"stop": "information", "epsilon": 0.5},
    {"stop": "information+gradient+accuracy", "reference": "trained"},
    {"stop": "mask", "check_steps": 4, "amount": "sap", "scope": "global"},
    {"stop": "patience", "patience": 1, "optimizer": "adam", "lr": 0.002},
    {"model": "convnet", "subset": 200, "levels": 2, "epochs": 1, "stop": "gradient"},
]


HOLD = """
import sys, time
from infcop_lite import ledger
with ledger.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing may catch it."""


def outcome(folder):
    """Return all that must not depend on interruptions: rows without seconds, weights and masks.

    A commit made while these tests run is none of theirs.
    """
    rows = pd.read_csv(folder / records.ROWS, dtype=str).drop(columns=[*SECONDS, "commit"])
    content = (folder / "network.safetensors").read_bytes()
    return rows, safetensors.numpy.load(content)


def assert_same_outcome(folder, other):
    (rows, tensors), (other_rows, other_tensors) = outcome(folder), outcome(other)
    pd.testing.assert_frame_equal(rows, other_rows)
    assert tensors.keys() == other_tensors.keys()
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (
            other_tensors[name].dtype,
            other_tensors[name].shape,
        )
        assert tensor.tobytes() == other_tensors[name].tobytes()


def run_and_die(config, folder, after):
    """Run, and die at the report of row number `after`."""
    seen = []

    def report(row):
        seen.append(row)
        if len(seen) == after:
            raise Killed

    with pytest.raises(Killed):
        sweep.run_one(config, folder, report=report)


@pytest.mark.parametrize("options", VARIANTS)
def test_a_run_that_dies_at_any_row_ends_as_the_uninterrupted_one(options, tmp_path):
    config = replace(SMALL, **options)
    sweep.run_one(config, tmp_path / "whole")
    num_rows = len(records.read(tmp_path / "whole")[0])
    for after in {1, num_rows // 2, num_rows - 1, num_rows}:
        folder = tmp_path / f"died-{after}"
        run_and_die(config, folder, after)
        assert not records.read(folder)[1]["finished"]
        sweep.run_one(config, folder)
        assert_same_outcome(folder, tmp_path / "whole")


def test_a_resumed_run_trains_no_finished_level_again(tmp_path):
    run_and_die(SMALL, tmp_path, after=7)  # the first check of level 2
    levels = []
    sweep.run_one(SMALL, tmp_path, report=lambda row: levels.append(row.level))
    assert min(levels) == 2


def test_a_run_that_dies_several_times_still_ends_the_same(tmp_path):
    sweep.run_one(SMALL, tmp_path / "whole")
    for after in (4, 2, 5, 1):
        run_and_die(SMALL, tmp_path / "died", after)
    sweep.run_one(SMALL, tmp_path / "died")
    assert_same_outcome(tmp_path / "died", tmp_path / "whole")


def test_the_library_resumes_from_any_state_it_has_handed_out():
    states = []
    whole = [asdict(row) for row in run_imp(SMALL, keep=states.append)]
    assert [state.start.level for state in states] == [0, 1, 2, 3, 4]
    for state in states[:-1]:
        rest = [asdict(row) for row in run_imp(SMALL, state)]
        due = [row for row in whole if row["level"] >= state.start.level]
        for row in rest + due:
            for name in SECONDS:
                row.pop(name, None)
        assert pd.DataFrame(rest).equals(pd.DataFrame(due))


def test_seconds_go_on_where_they_stood(tmp_path):
    run_and_die(SMALL, tmp_path, after=7)
    before = records.read(tmp_path)[0]["elapsed_s"].max()
    sweep.run_one(SMALL, tmp_path)
    elapsed = records.read(tmp_path)[0]["elapsed_s"]
    assert elapsed.is_monotonic_increasing
    assert elapsed.iloc[-1] > before


def test_the_saved_network_is_the_one_of_the_last_row(tmp_path):
    sweep.run_one(SMALL, tmp_path)
    tensors = outcome(tmp_path)[1]
    masks = {k.removeprefix("masks/"): v for k, v in tensors.items() if k.startswith("masks/")}
    density = sum(mask.sum() for mask in masks.values()) / sum(m.size for m in masks.values())
    assert density == records.read(tmp_path)[0]["density"].iloc[-1]
    for name, mask in masks.items():
        assert (tensors[f"weights/{name}"][~mask] == 0).all()
        assert tensors[f"weights/{name}"][mask].any()


def test_a_finished_run_leaves_no_state_and_is_not_touched_again(tmp_path):
    sweep.run_one(SMALL, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files = {"rows.csv", "run.json", "network.safetensors", "provenance.jsonl", ".lock"}
    assert set(before) == files
    again = sweep.run_one(SMALL, tmp_path, report=lambda row: pytest.fail("it trained again"))
    assert again is False
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "again", [sweep.run_one, lambda c, f: sweep.run_many({f.name: c}, f.parent)]
)
def test_what_a_killed_run_has_left_behind_is_tidied_up(again, tmp_path):
    folder = tmp_path / "run"
    run_and_die(SMALL, folder, after=7)
    state = (folder / "state.safetensors").read_bytes()
    sweep.run_one(SMALL, folder)
    finished = {path.name for path in folder.iterdir()}
    (folder / "state.safetensors").write_bytes(state)  # killed between the last two writes
    (folder / ".rows.csv.elsewhere.1234").write_text("level,epo")  # killed inside a write
    again(SMALL, folder)
    assert {path.name for path in folder.iterdir()} == finished


@pytest.mark.parametrize("cut", [0, 7, 200, -1])
def test_a_state_that_is_cut_off_is_refused_and_nothing_is_guessed(cut, tmp_path):
    run_and_die(SMALL, tmp_path, after=7)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:cut])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="damaged"):
        sweep.run_one(SMALL, tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_the_state_of_another_run_is_refused(tmp_path):
    other = replace(SMALL, seed=1)
    run_and_die(SMALL, tmp_path / "a", after=7)
    run_and_die(other, tmp_path / "b", after=7)
    shutil.copy(tmp_path / "b" / "state.safetensors", tmp_path / "a")
    with pytest.raises(ValueError, match="another run"):
        sweep.run_one(SMALL, tmp_path / "a")


def test_rows_and_state_cannot_disagree(tmp_path):
    """A finished level's rows stand in the state; what became of rows.csv does not matter."""
    sweep.run_one(SMALL, tmp_path / "whole")
    for name, change in {
        "fewer": lambda rows: rows[:3],
        "more": lambda rows: rows + rows[-2:],
        "another": lambda rows: [rows[0], *(row.replace("0.5", "0.75") for row in rows[1:])],
    }.items():
        folder = tmp_path / name
        run_and_die(SMALL, folder, after=7)
        rows = (folder / "rows.csv").read_text().splitlines(keepends=True)
        (folder / "rows.csv").write_text("".join(change(rows)))
        sweep.run_one(SMALL, folder)
        assert_same_outcome(folder, tmp_path / "whole")


def test_two_processes_cannot_be_at_work_in_one_folder(tmp_path):
    """The second is told so and changes nothing; once the first is dead, the run goes on."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        for again in (sweep.run_one, lambda c, f: sweep.resume(iter, {"levels": 1}, f)):
            with pytest.raises(BlockingIOError, match="another process is at work in"):
                again(SMALL, tmp_path)
        words = "-m infcop_lite run --levels 1 --out".split()
        told = subprocess.run(
            [sys.executable, *words, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert told.returncode == 2
        assert told.stderr == f"infcop_lite: error: another process is at work in {tmp_path}\n"
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        holder.kill()
    assert sweep.run_one(SMALL, tmp_path)


def test_who_looks_at_a_folder_disturbs_nobody_at_work_there(tmp_path):
    """`begin` removes half-written files, but not those of a process that is writing them."""
    run_and_die(SMALL, tmp_path, after=7)
    half = tmp_path / ".rows.csv.here.1"
    half.write_text("level,epo")
    with ledger.lock(tmp_path):
        assert records.begin(tmp_path, identity(SMALL)) is False
        assert half.exists()
    assert records.begin(tmp_path, identity(SMALL)) is False
    assert not half.exists()


def test_every_start_of_a_run_leaves_a_line(tmp_path):
    run_and_die(SMALL, tmp_path, after=7)
    sweep.run_one(SMALL, tmp_path)
    sweep.run_one(SMALL, tmp_path)  # finished: nothing was started
    lines = ledger.starts(tmp_path)
    assert [line["first_level"] for line in lines] == [0, 2]
    for line in lines:
        assert line["versions"]["torch"] == version("torch")
        assert (line["device"], line["threads"]) == ("cpu", 1)
        assert line["instructions"] == torch.backends.cpu.get_cpu_capability()
        assert line["seconds"] > 0
    (tmp_path / "provenance.jsonl").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        ledger.starts(tmp_path)


def test_a_disk_that_is_full_leaves_the_earlier_levels_to_go_on_from(tmp_path, monkeypatch):
    run_and_die(SMALL, tmp_path / "died", after=7)
    before = {path.name: path.read_bytes() for path in (tmp_path / "died").iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            sweep.run_one(SMALL, tmp_path / "died")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "died").iterdir()}
    sweep.run_one(SMALL, tmp_path / "died")
    sweep.run_one(SMALL, tmp_path / "whole")
    assert_same_outcome(tmp_path / "died", tmp_path / "whole")


# --- real processes, real SIGKILL --------------------------------------------------------------

LONGER = "--levels 4 --fraction 0.5 --epochs 2 --warmup-epochs 1 --threads 1 --stop information"


def forked_run(folder, **changes):
    """Start the run in a process of its own, forked: no second import of torch."""
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.set_num_threads(1)
        config = Config(
            levels=4, fraction=0.5, epochs=2, warmup_epochs=1, threads=1, stop="information"
        )
        sweep.run_one(replace(config, **changes), folder)
        os._exit(0)
    except BaseException:
        os._exit(1)


def kill_five_times(folder, seed):
    """Start the run again and again; kill it at random moments, then let it finish."""
    moments = random.Random(seed)
    for _ in range(5):
        pid = forked_run(folder)
        time.sleep(moments.uniform(0.0, 0.6))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(forked_run(folder), 0)[1]) == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "seeds",
    [
        range(2),
        pytest.param(range(2, 8), marks=pytest.mark.slow),
        pytest.param(range(8, 48), marks=[pytest.mark.slow, pytest.mark.soak]),
    ],
    ids=["10 kills", "30 more", "200 more"],
)
def test_a_run_killed_at_random_moments_ends_as_the_uninterrupted_one(seeds, tmp_path):
    words = f"-m infcop_lite run {LONGER} --out {tmp_path / 'whole'}".split()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    for seed in seeds:
        folder = Path(tmp_path, f"killed-{seed}")
        kill_five_times(folder, seed)
        assert_same_outcome(folder, tmp_path / "whole")
        assert not [path for path in folder.iterdir() if path.name.startswith("state")]


SHORT = {"levels": 3, "subset": 200, "probe_size": 20, "epochs": 1}


def two_at_once_killed(folder, seed):
    """Two processes on one folder, begun and killed at random moments; then one ends the run."""
    moments, pids = random.Random(seed), []
    for _ in range(2):
        pids.append(forked_run(folder, **SHORT))
        time.sleep(moments.uniform(0.0, 0.3))
    for pid in moments.sample(pids, len(pids)):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        time.sleep(moments.uniform(0.0, 0.05))
    assert os.waitstatus_to_exitcode(os.waitpid(forked_run(folder, **SHORT), 0)[1]) == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(5), marks=pytest.mark.slow),
        pytest.param(range(5, 55), marks=[pytest.mark.slow, pytest.mark.soak]),
    ],
    ids=["5 trials", "50 more"],
)
def test_processes_on_one_folder_that_are_killed_leave_a_run_that_goes_on(seeds, tmp_path):
    os.waitpid(forked_run(tmp_path / "whole", **SHORT), 0)
    for seed in seeds:
        folder = Path(tmp_path, f"killed-{seed}")
        two_at_once_killed(folder, seed)
        assert_same_outcome(folder, tmp_path / "whole")
        assert verify(folder) == []
        assert not [path for path in folder.iterdir() if path.name.startswith("state")]

"""Many runs: on local processes and on a Dask cluster, whole or with workers killed."""

import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from test_sweep import assert_same_outcome

from infcop_lite import __main__ as command_line
from infcop_lite import pool, records, sweep
from infcop_lite.config import Config
from infcop_lite.sweep import grid

ROOT = Path(__file__).parents[1]
TINY = Config(subset=200, levels=2, fraction=0.5, epochs=1, warmup_epochs=1, probe_size=50)
SLOWER = replace(TINY, subset=None, levels=5, epochs=12)
CONFIGS = {f"seed={seed}": replace(TINY, seed=seed) for seed in range(3)}
TINY_OPTIONS = "--subset 200 --levels 2 --fraction 0.5 --epochs 1 --warmup-epochs 1 --probe-size 50"

# processes start, die and are waited for: seconds here, minutes on a machine with other work
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The runs of CONFIGS and SLOWER, one after another, in this process."""
    folder = tmp_path_factory.mktemp("whole")
    for name, config in (CONFIGS | {"slower": SLOWER}).items():
        sweep.run_one(replace(config, threads=1), folder / name)
    return folder


def wait_until(condition, seconds=240):  # where all waits for processors, 60 were too few
    due = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < due, "waited in vain"
        time.sleep(0.02)
    return value


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def writers():
    """The worker processes of this one: those that multiprocessing has spawned to do runs."""
    children = psutil.Process().children()
    return [c for c in children if "spawn_main" in " ".join(c.cmdline())]


def in_level(folder, level):
    """Say whether the run there has finished `level` levels, and is training the next."""
    try:
        _, record = records.read(folder)
        _, numbers = records.read_tensors(folder, "state", record["config"])
    except (OSError, ValueError):
        return False
    assert not record["finished"], "too late to kill it"
    return numbers["level"] >= level


def many_in_a_thread(*arguments, **options):
    """Start `run_many` beside this thread; return a function that waits for its result."""
    return ThreadPoolExecutor(1).submit(sweep.run_many, *arguments, **options).result


# --- local processes ---------------------------------------------------------------------------


def test_runs_side_by_side_end_as_the_same_runs_alone(whole, tmp_path):
    configs = {**CONFIGS, "bad": replace(TINY, data="none-such")}
    done = []
    failed = sweep.run_many(
        configs, tmp_path, processes=2, report=lambda name, problem: done.append((name, problem))
    )
    assert set(failed) == {"bad"}
    assert "none-such" in failed["bad"]
    assert len(failed["bad"].splitlines()) == 1
    assert sorted(done) == sorted({**dict.fromkeys(CONFIGS, ""), **failed}.items())
    for name in CONFIGS:
        assert_same_outcome(tmp_path / name, whole / name)
    assert not writers()

    before = contents(tmp_path)
    assert sweep.run_many(CONFIGS, tmp_path) == {}
    assert contents(tmp_path) == before


def test_a_killed_worker_loses_its_current_level_only_and_no_other_run(whole, tmp_path):
    join = many_in_a_thread({"slower": SLOWER, **CONFIGS}, tmp_path, processes=2)
    wait_until(lambda: in_level(tmp_path / "slower", 2))
    victim = min(writers(), key=lambda worker: worker.create_time())  # it got the first run
    times = records.read(tmp_path / "slower")[0].query("stopped")["elapsed_s"].tolist()[:2]
    os.kill(victim.pid, signal.SIGKILL)
    assert join() == {}
    for name in ("slower", *CONFIGS):
        assert_same_outcome(tmp_path / name, whole / name)
    # the rows of finished levels are the first worker's: nobody trained them again
    assert records.read(tmp_path / "slower")[0].query("stopped")["elapsed_s"].tolist()[:2] == times


def test_a_run_whose_worker_dies_twice_is_given_up_and_goes_on_next_time(tmp_path, monkeypatch):
    def dies(parent):
        if parent.recv().args[1].name == "seed=1":
            os._exit(1)
        parent.send("")

    monkeypatch.setattr(pool, "_serve", dies)
    fork = multiprocessing.get_context("fork")  # so that the workers see the patched function
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: fork)
    monkeypatch.setattr(sweep, "_is_finished", lambda job: False)
    failed = sweep.run_many(CONFIGS, tmp_path, processes=1)
    assert "died twice" in failed["seed=1"]
    assert all("share" in failed[name] for name in ("seed=0", "seed=2"))


def test_workers_end_with_their_parent_even_if_it_is_killed(tmp_path):
    command = f"-m infcop_lite sweep --levels 9 --epochs 1000 --no-monitor --out {tmp_path}"
    words = [*command.split(), "--grid", "seed=0,1", "--processes", "1"]
    parent = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "seed=0" / "run.json").exists())
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert children
    assert not psutil.wait_procs(children, timeout=20)[1]


@pytest.fixture
def interruptible():
    """A process started here can be interrupted, even if a shell runs the tests in background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_sweep_ends_in_one_line_and_leaves_no_worker(tmp_path, interruptible):
    command = f"-m infcop_lite sweep --levels 9 --epochs 1000 --no-monitor --out {tmp_path}"
    words = [*command.split(), "--grid", "seed=0,1", "--processes", "1"]
    parent = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: (tmp_path / "seed=0" / "run.json").exists())
    children = psutil.Process(parent.pid).children(recursive=True)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to all of them
    assert parent.communicate(timeout=90)[1].splitlines() == [
        f"infcop_lite: interrupted; the rows so far are in {tmp_path}"
    ]
    assert parent.returncode == 130
    assert not psutil.wait_procs(children, timeout=20)[1]


# --- a Dask cluster ----------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process of its own: its address, and the workers."""
    log = (tmp_path / "log").open("w+")
    started = []

    def start(*words):
        script = [sys.executable, "-m", "dask", *words]
        started.append(subprocess.Popen(script, stdout=log, stderr=log, cwd=tmp_path))
        return started[-1]

    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
    address = wait_until(lambda: re.search(r"tcp://127.0.0.1:\d+", (tmp_path / "log").read_text()))[
        0
    ]
    options = (
        "--nthreads 1 --no-nanny --no-dashboard --memory-limit 0 --local-directory scratch".split()
    )
    yield address, [start("worker", address, *options) for _ in range(2)]
    for process in started:
        process.kill()
        process.wait()
    log.close()


def test_a_dask_cluster_gives_the_same_results_and_survives_a_killed_worker(
    cluster, whole, tmp_path
):
    address, workers = cluster
    out = tmp_path / "out"
    configs = {"slower": SLOWER, **CONFIGS, "bad": replace(TINY, data="none-such")}
    join = many_in_a_thread(configs, out, scheduler=address)
    wait_until(lambda: in_level(out / "slower", 2))
    times = records.read(out / "slower")[0].query("stopped")["elapsed_s"].tolist()[:2]
    used = [psutil.Process(worker.pid).cpu_times().user for worker in workers]
    workers[used.index(max(used))].kill()
    assert set(failed := join()) == {"bad"}
    assert "none-such" in failed["bad"]
    for name in ("slower", *CONFIGS):
        assert_same_outcome(out / name, whole / name)
    assert records.read(out / "slower")[0].query("stopped")["elapsed_s"].tolist()[:2] == times


def test_a_scheduler_that_is_not_there_or_does_not_speak_dask_is_refused(tmp_path):
    for address in ("tcp://", "nonsense://x", "tcp://127.0.0.1:port"):
        with pytest.raises((ValueError, OSError)):
            sweep.run_many(CONFIGS, tmp_path, scheduler=address)


def test_a_client_that_failed_is_gone_before_another_one_starts(tmp_path):
    """Collected while another one starts, it would wait for a lock that this one holds."""
    with pytest.raises(ValueError, match="nonsense"):
        sweep.run_many(CONFIGS, tmp_path, scheduler="nonsense://x")
    assert not [thread for thread in threading.enumerate() if thread.name == "IO loop"]


def test_without_the_dask_extra_the_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'infcop-lite\[dask\]'"):
        sweep.run_many(CONFIGS, tmp_path, scheduler="tcp://127.0.0.1:1")


# --- names, folders and grids ------------------------------------------------------------------


@pytest.fixture
def nothing_starts(monkeypatch):
    def started(*arguments):
        pytest.fail("a run was started")

    monkeypatch.setattr(pool, "_in_processes", started)
    monkeypatch.setattr(pool, "_on_dask", started)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "a\\b", "/a", "c:a", ".hidden", "a\n", "a\0", "x" * 201, 3],
)
def test_a_name_that_is_no_plain_folder_name_is_refused(name, tmp_path, nothing_starts):
    with pytest.raises(ValueError, match="plain folder name"):
        sweep.run_many({"good": TINY, name: TINY}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("processes", [0, -1, 1.5, True])
def test_workers_are_counted(processes, tmp_path, nothing_starts):
    with pytest.raises(ValueError, match="processes must be an int"):
        sweep.run_many({"a": TINY}, tmp_path, processes=processes)


def test_either_processes_or_a_cluster(tmp_path, nothing_starts):
    with pytest.raises(ValueError, match="scheduler or processes"):
        sweep.run_many({"a": TINY}, tmp_path, processes=1, scheduler="tcp://127.0.0.1:1")


def test_what_is_not_a_config_is_refused(tmp_path, nothing_starts):
    with pytest.raises(ValueError, match="must be a Config"):
        sweep.run_many({"a": {"levels": 1}}, tmp_path)


def test_nothing_starts_if_one_folder_holds_another_run(tmp_path, nothing_starts):
    other = replace(TINY, levels=0, epochs=0, warmup_epochs=0, threads=1)
    sweep.run_one(other, tmp_path / "seed=2")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="already holds another run"):
        sweep.run_many(CONFIGS, tmp_path)
    assert contents(tmp_path) == before


def test_no_runs_are_no_work(tmp_path, nothing_starts):
    assert sweep.run_many({}, tmp_path) == {}


def test_a_grid_is_a_product_with_values_of_the_fields_types():
    axes = ["epsilon=0.25, 1", "stop=information,information+accuracy", "subset=none,200"]
    configs = grid({"levels": 3, "epsilon": 0.25}, [*axes, "absolute=True,false"])
    assert len(configs) == 16
    assert {config.levels for config in configs.values()} == {3}
    config = configs["epsilon=1.0,stop=information+accuracy,subset=None,absolute=False"]
    assert config == Config(levels=3, epsilon=1.0, stop="information+accuracy")


def test_a_value_is_given_as_an_option_or_in_the_grid_but_not_in_both():
    with pytest.raises(ValueError, match="epsilon is given both as an option and in the grid"):
        grid({"epsilon": 7.0}, ["epsilon=0.25,1"])


def test_a_grid_is_checked_as_a_whole_not_by_what_its_points_share():
    assert grid({"p": 1.5}, ["q=2,3"])["q=3.0"].q == 3


@pytest.mark.parametrize(
    ("axes", "line"),
    [
        (["seed"], "field=value"),
        (["=1"], "field=value"),
        (["speed=1,2"], "with a field of data, model"),
        (["seed="], "'' is no value for seed"),
        (["seed=0,,1"], "'' is no value for seed"),
        (["seed=0.5"], "'0.5' is no value for seed"),
        (["seed=none"], "'none' is no value for seed"),
        (["monitor=1"], "'1' is no value for monitor"),
        (["epsilon=half"], "'half' is no value for epsilon"),
        (["epsilon=nan"], "epsilon must be a finite"),
        (["epsilon=0.5,0"], "epsilon must be greater than 0"),
        (["epsilon=0.1,1e-1"], "given twice"),
        (["seed=0,1", "seed=2"], "two grids for seed"),
        (["amount=fixed,../sap"], "unknown amount"),
        (["stop=budget,never"], "unknown stop rule"),
        (["p=0.5,2"], "p must be smaller than q"),
    ],
)
def test_a_bad_grid_is_refused_in_one_line_before_anything_starts(
    axes, line, tmp_path, nothing_starts, capsys
):
    words = [word for axis in axes for word in ("--grid", axis)]
    assert command_line.main(["sweep", "--out", str(tmp_path / "out"), *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("infcop_lite: error: ")
    assert len(output.err.splitlines()) == 1
    assert line in output.err
    assert not (tmp_path / "out").exists()


def test_values_of_a_grid_cannot_leave_the_folder(tmp_path, nothing_starts, capsys):
    words = ["--out", str(tmp_path / "out"), "--grid", "data=digits,../../digits"]
    assert command_line.main(["sweep", *words]) == 2
    assert "plain folder name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- the command line --------------------------------------------------------------------------


def test_the_command_runs_a_grid_reports_failures_and_goes_on_when_repeated(tmp_path, capsys):
    sweep.run_one(replace(CONFIGS["seed=0"], threads=1), tmp_path / "seed=0,data=digits")
    command = f"sweep {TINY_OPTIONS} --out {tmp_path} --processes 1 --grid seed=0,1"
    words = shlex.split(f"{command} --grid data=digits,none-such")
    for _ in range(2):
        assert command_line.main(words) == 2
        output = capsys.readouterr()
        assert output.out == f"2 of 4 runs are finished in {tmp_path}\n"
        lines = output.err.splitlines()
        assert len(lines) == 4
        assert lines[0] == "run 1 of 4: seed=0,data=digits finished"
        bad = [line for line in lines if line.startswith("infcop_lite: error: seed=")]
        assert len(bad) == 2
        assert all("none-such" in line for line in bad)
    command = records.read(tmp_path / "seed=1,data=digits")[1]["command"]
    assert command == shlex.join(["python", "-m", "infcop_lite", *words])


def test_a_sweep_needs_a_grid_and_its_help_names_all(capsys):
    with pytest.raises(SystemExit) as leaving:
        command_line.main(["sweep", "--out", "x"])
    assert leaving.value.code == 2
    assert "--grid" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command_line.main(["sweep", "--help"])
    text = capsys.readouterr().out
    assert all(flag in text for flag in ("--processes", "--scheduler", "--out", "--epsilon"))


# --- functions of one's own ---------------------------------------------------------------------


def note(folder, name):
    """Leave a file; what a task does is its own affair."""
    (Path(folder) / name).write_text(str(os.getpid()))


def fail_on_purpose():
    raise ValueError("two\nlines")


def die_once(folder):
    """Die without a word the first time."""
    if not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os._exit(1)


def test_functions_run_side_by_side_and_one_that_fails_is_nobody_elses_affair(tmp_path):
    tasks = {name: partial(note, str(tmp_path), name) for name in ("a", "b", "c")}
    tasks |= {"wrong": fail_on_purpose, "mortal": partial(die_once, str(tmp_path))}
    told = []
    failed = sweep.run_many(tasks, processes=2, report=lambda *what: told.append(what))
    assert failed == {"wrong": "two lines"}
    assert dict(told) == dict.fromkeys(tasks, "") | failed
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "died"}
    assert (tmp_path / "a").read_text() != str(os.getpid())


def test_configs_and_functions_may_be_mixed_but_a_config_needs_a_folder(tmp_path):
    config = Config(levels=0, epochs=0, warmup_epochs=0, subset=50)
    tasks = {"run": config, "note": partial(note, str(tmp_path), "note")}
    assert sweep.run_many(tasks, tmp_path, processes=1) == {}
    assert records.read(tmp_path / "run")[1]["finished"]
    with pytest.raises(ValueError, match="run 'run' needs a folder"):
        sweep.run_many(tasks)
    with pytest.raises(ValueError, match="run 'class' must be a Config"):
        sweep.run_many({"class": Config}, tmp_path)


def test_a_worker_says_what_it_cannot_import_and_goes_on_with_the_next_run(monkeypatch):
    """What a notebook defines lies in __main__, which a process that is started afresh lacks."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(pool, "die_with_parent", lambda: None)
    ours, theirs = multiprocessing.Pipe()
    worker = threading.Thread(target=pool._serve, args=(theirs,), daemon=True)
    worker.start()
    ours.send_bytes(b"c__main__\nRuleOfANotebook\n.")  # pickled, a class of that name
    assert ours.poll(10)
    problem = ours.recv()
    assert "cannot import it" in problem
    assert "RuleOfANotebook" in problem
    ours.send(partial(int))
    assert ours.recv() == ""
    ours.close()
    worker.join(10)
    assert not worker.is_alive()

"""Bad input through the command line: one line on stderr, exit code 2, earlier results intact."""

import errno
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch

from infcop_lite import Config, records, sweep
from infcop_lite.__main__ import main
from infcop_lite.datasets import SOURCES
from infcop_lite.identity import identity
from infcop_lite.rows import SECONDS

ROOT = Path(__file__).parents[2]
SIZES = "--subset 60 --batch-size 18 --levels 2 --epochs 1 --warmup-epochs 1 --probe-size 20"
FAST = ["run", *SIZES.split(), "--monitor"]  # so that a state has flows
OPTIONS = {"subset": 60, "batch_size": 18, "levels": 2, "epochs": 1.0}
OPTIONS |= {"warmup_epochs": 1.0, "probe_size": 20, "monitor": True}
SETTINGS = identity(Config(**OPTIONS))
HUGE = str(2**63)


def snapshot(folder):
    """Everything under a folder: path -> bytes and time of a file, target of a link, or None."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.name == ".lock":
            continue
        held = path.readlink() if path.is_symlink() else None
        if held is None and path.is_file():
            held = path.read_bytes(), path.stat().st_mtime_ns
        found[str(path.relative_to(folder))] = held
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """Start every test in an empty folder, with no data set to be found; return the data folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("INFCOP_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def refused(capsys):
    """Return a function that runs words, checks how they are refused, and returns the line."""

    def check(*words):
        capsys.readouterr()
        try:
            code = main(list(words))
        except SystemExit as leaving:
            code = leaving.code
        stderr = capsys.readouterr().err
        assert (code, stderr[-1:]) == (2, "\n"), stderr
        return a_line(stderr[:-1])

    return check


def a_line(text):
    assert text.startswith("infcop_lite: error: ")
    assert text.isprintable(), ascii(text)  # one line, and nothing that a terminal would obey
    assert len(text) > len("infcop_lite: error: ") + 10
    return text


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run, and one that was interrupted after its first level."""
    folder = tmp_path_factory.mktemp("runs")
    config, real = Config(**OPTIONS), sweep.run

    def interrupted(*arguments):
        for row in real(*arguments):
            if row.level == 1:
                raise KeyboardInterrupt
            yield row

    sweep.run_one(config, folder / "finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_one(config, folder / "interrupted")
    return folder


# --- words -------------------------------------------------------------------------------------

# All of them stand after FAST and --out: argparse keeps the last of two equal options.
WORDS = {
    "--data imagenet": "unknown data set 'imagenet'",
    "--data ../../etc/passwd": "unknown data set '../../etc/passwd'",
    "--data =1+1": "unknown data set '=1+1'",
    "--data \x1b[2J": r"unknown data set '\x1b[2J'",
    "--data a\nb": r"unknown data set 'a\nb'",
    "--data mnist": "mnist not found",
    "--model os.system": "unknown model 'os.system'",
    "--model vgg16": "images of at least",
    "--stop entropy": "unknown stop rule 'entropy'",
    "--stop budget+": "unknown stop rule ''",
    "--scope a\nb": r"invalid choice: 'a\nb'",
    "--epsilon 0": "epsilon must be greater than 0",
    "--epsilon nan": "epsilon must be a finite number",
    "--epsilon ε": "invalid float value: 'ε'",
    "--fraction 1": "fraction must be less than 1",
    "--fraction inf": "fraction must be a finite number",
    "--p 2": "p must be smaller than q",
    "--lr 1e30": "not finite",
    "--lr 1e999": "lr must be a finite number",
    "--epochs 1e300": "epochs must be less than",
    "--levels 1.5": "invalid int value: '1.5'",
    "--subset 9": "subset must be",
    "--subset 99999": "1437 training images",
    f"--subset {HUGE}": "subset must fit in 64 bits",
    f"--levels {HUGE}": "levels must fit in 64 bits",
    f"--patience {HUGE}": "patience must fit in 64 bits",
    f"--check-steps {HUGE}": "check_steps must fit in 64 bits",
    f"--probe-size {HUGE}": "probe_size must fit in 64 bits",
    f"--batch-size {HUGE}": "batch_size must fit in 64 bits",
    f"--threads {HUGE}": "threads must fit in 64 bits",
    "--threads 2147483648": "threads must be less than",
    f"--threads {'9' * 5000}": "--threads",
    f"--seed {HUGE}": "seed must",
    "--seed ٣x": "invalid int value",
    "--warmup-epochs": "expected one argument",
    "--x\x1b[2J": r"unrecognized arguments: --x\x1b[2J",
    "--x\ny": "unrecognized arguments: --x y",
    "--out": "expected one argument",
    "--out ": "the name of the folder is empty",
    "--out \t": "the name of the folder is empty",
    "--out a\0b": "null byte",
    f"--out {'a' * 300}": "File name too long",
    f"--out {'a/' * 3000}": "File name too long",
    "--out /dev/null": "is a file, not a folder",
    "--out /proc/nowhere/run": "/proc/nowhere",
    "--out ./mine": "mine is a file, not a folder",
    "--out ./mine/run": "Not a directory",
    "--out ./mine/\x1b[2J": "Not a directory",
    "--out ./mine/\udcff": "Not a directory",
    "--out ./loop": "is a file, not a folder",
    "--out ./dangling": "is a file, not a folder",
}


@pytest.mark.parametrize(("words", "message"), WORDS.items(), ids=ascii)
def test_bad_words_are_refused(words, message, refused):
    here = Path()
    (here / "mine").write_text("mine")
    (here / "loop").symlink_to("loop")
    (here / "dangling").symlink_to("nowhere")
    before = snapshot(here)
    option, *value = words.split(" ", 1)
    assert message in refused(*FAST, "--out", "out", option, *value)
    left = {k: v for k, v in snapshot(here).items() if k.split("/")[0] != "out"}
    assert left == before


@pytest.mark.parametrize("words", [[], ["train"], ["a\nb"], ["download", "\x1b"], ["run"]])
def test_incomplete_words_are_refused(words, refused):
    refused(*words)
    assert snapshot(".") == {}


# --- files of an earlier run -------------------------------------------------------------------


def rows(change):
    """Return a function that changes the text of rows.csv."""

    def spoil(folder):
        path = folder / "rows.csv"
        old = path.read_text("utf-8")
        new = change(old)
        assert new != old
        path.write_text(new, "utf-8")

    return spoil


def record(**changes):
    """Return a function that changes entries of run.json."""

    def spoil(folder):
        path = folder / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))

    return spoil


def content(name, new):
    """Return a function that writes other bytes to a file."""
    return lambda folder: (folder / name).write_bytes(new)


def cut(name, part):
    """Return a function that cuts a file off, after that part of it."""

    def spoil(folder):
        old = (folder / name).read_bytes()
        (folder / name).write_bytes(old[: int(part * len(old))])

    return spoil


def gone(name):
    return lambda folder: (folder / name).unlink()


def a_folder(name):
    """Return a function that puts a folder in a file's place."""

    def spoil(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


KINDS = ("finished", "interrupted")
NOT_THEM = "is not as the run left it"
RUN = {
    "record of another run": (record(config=SETTINGS | {"seed": 1}), "differs in seed"),
    "record with a path": (record(config=SETTINGS | {"data": "../../x"}), "differs in data"),
    "record with a formula": (record(config=SETTINGS | {"model": "=1+1"}), "differs in model"),
    "record with control characters": (record(config={"\x1b[2J\n": 1}), r"differs in \x1b[2J"),
    "record without a config": (record(config=None), "not the record of a run"),
    "record with a list": (record(config=[1]), "not the record of a run"),
    "record finished in words": (record(finished="false"), "not the record of a run"),
    "record empty": (content("run.json", b""), "run.json is damaged"),
    "record cut off": (cut("run.json", 0.5), "run.json is damaged"),
    "record no text": (content("run.json", b"\xff\xfe"), "run.json is damaged"),
    "record too deep": (content("run.json", b"[" * 100_000), "run.json is damaged"),
    "record with a vast number": (
        content("run.json", b'{"config": %s}' % (b"9" * 5000)),
        "run.json is damaged",
    ),
    "record a pickle": (content("run.json", b"\x80\x04N."), "run.json is damaged"),
    "record a folder": (a_folder("run.json"), "Is a directory"),
    "record gone": (gone("run.json"), "without a run.json"),
    "rows a folder": (a_folder("rows.csv"), "Is a directory"),
}
ROWS = {
    "rows gone": (gone("rows.csv"), "rows.csv"),
    "rows empty": (rows(lambda text: ""), "rows.csv is damaged"),
    "rows cut off": (rows(lambda text: text[:-9]), "rows.csv is damaged"),
    "rows no text": (content("rows.csv", b"\xff\n"), "rows.csv is damaged"),
    "rows with a zero byte": (rows(lambda text: text.replace("1.0", "\0")), "rows.csv is damaged"),
    "rows with a formula": (
        rows(lambda text: text.replace("1.0", "=cmd()")),
        "rows.csv is damaged",
    ),
    "rows with control characters": (
        rows(lambda text: text.replace("1.0", "\x1b[2J")),
        "rows.csv is damaged",
    ),
    "rows that stop in words": (rows(lambda text: text.replace("True", "yes")), "is damaged"),
    "rows of a ragged width": (rows(lambda text: text + "1,2\n"), "rows.csv is damaged"),
    "rows of another table": (rows(lambda text: "a,b\n1,2\n"), NOT_THEM),
    "rows without a column": (rows(lambda text: text.replace("stopped", "ended")), NOT_THEM),
    "rows none": (rows(lambda text: text[: text.index("\n") + 1]), "rows.csv"),
    "rows of no finished level": (
        rows(lambda text: "".join(text.splitlines(keepends=True)[:2])),
        "rows.csv",
    ),
}


REFUSED = {f"{name}-{kind}": (kind, *case) for name, case in RUN.items() for kind in KINDS}
REFUSED |= {f"{name}-finished": ("finished", *case) for name, case in ROWS.items()}


@pytest.mark.parametrize(("kind", "spoil", "message"), REFUSED.values(), ids=REFUSED)
def test_the_damaged_files_of_a_run_are_refused(kind, spoil, message, runs, tmp_path, refused):
    out = tmp_path / "out"
    shutil.copytree(runs / kind, out)
    spoil(out)
    before = snapshot(tmp_path)
    assert message in refused(*FAST, "--out", str(out))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("spoil", [spoil for spoil, _ in ROWS.values()], ids=ROWS)
def test_damaged_rows_of_an_interrupted_run_are_written_anew(spoil, runs, tmp_path, capsys):
    """The rows of finished levels stand in the state: what rows.csv says does not matter."""
    shutil.copytree(runs / "interrupted", tmp_path / "out")
    spoil(tmp_path / "out")
    assert main([*FAST, "--out", str(tmp_path / "out")]) == 0
    (found, _), (whole, _) = (records.read(f) for f in (tmp_path / "out", runs / "finished"))
    pd.testing.assert_frame_equal(found.drop(columns=[*SECONDS]), whole.drop(columns=[*SECONDS]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_earlier_run_of_another_config_is_refused(kind, runs, refused):
    before = snapshot(runs)
    line = refused(*FAST, "--out", str(runs / kind), "--seed", "1", "--epsilon", "0.5")
    assert line.endswith("already holds another run; it differs in epsilon, seed")
    assert snapshot(runs) == before


def state(tensors=None, config=SETTINGS, **changes):
    """Return a function that writes the state anew, whole but changed."""

    def spoil(folder):
        arrays, numbers, rows = records.read_with_rows(folder, "state", SETTINGS)
        arrays = {name: array.copy() for name, array in arrays.items()}
        new = arrays if tensors is None else tensors(arrays)
        records.save_tensors(folder, "state", new, config, rows, **{**numbers, **changes})

    return spoil


def flipped(folder):
    path = folder / "state.safetensors"
    old = path.read_bytes()
    path.write_bytes(old[:-1] + bytes([old[-1] ^ 1]))


def every(part, change):
    return lambda arrays: {k: change(v) if k.startswith(part) else v for k, v in arrays.items()}


def without(part):
    return lambda arrays: {k: v for k, v in arrays.items() if not k.startswith(part)}


def a_pickle(folder):
    torch.save({"a": torch.ones(1)}, folder / "state.safetensors")


STATE = {
    "state empty": (content("state.safetensors", b""), "damaged"),
    "state cut off": (cut("state.safetensors", 0.9), "damaged"),
    "state with a flipped bit": (flipped, "damaged"),
    "state a torch pickle": (a_pickle, "damaged"),
    "state of a vast header": (content("state.safetensors", b"\xff" * 64), "damaged"),
    "state of nobody": (
        content("state.safetensors", safetensors.numpy.save({"a": np.ones(1)})),
        "damaged",
    ),
    "state a folder": (a_folder("state.safetensors"), "Is a directory"),
    "state of another run": (state(config={"seed": 1}), "belongs to another run"),
    "state before the start": (state(level=-1), "damaged"),
    "state after the end": (state(level=99), "damaged"),
    "state between levels": (state(level=1.5), "damaged"),
    "state of no level": (state(level=math.nan), "damaged"),
    "state ahead of its rows": (state(level=2), "lacks rows"),
    "state of an infinite level": (state(level=math.inf), "is damaged"),
    "state of no accuracy": (state(**{"accuracy of warmup": 5.0}), "damaged"),
    "state of no arrays": (state(without("")), "damaged"),
    "state with a foreign part": (state(lambda a: {**a, "../x": np.ones(1)}), "damaged"),
    "state with a foreign mask": (state(lambda a: {**a, "masks/x": np.ones(1)}), "extra x"),
    "state without masks": (state(without("masks")), "damaged"),
    "state without weights": (state(without("weights")), "does not fit the model"),
    "state of masks in numbers": (state(every("masks", np.float32)), "must be boolean"),
    "state of masks mis-shaped": (state(every("masks", np.ravel)), "must be boolean"),
    "state of weights mis-shaped": (state(every("weights", np.ravel)), "does not fit the model"),
    "state of weights nan": (
        state(every("weights", lambda w: w * np.float32("nan"))),
        "not finite",
    ),
    "state of other references": (
        state(every("flows of warmup", lambda f: f[:1])),
        "different networks",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), STATE.values(), ids=STATE)
def test_a_damaged_state_is_refused(spoil, message, runs, tmp_path, refused):
    out = tmp_path / "out"
    shutil.copytree(runs / "interrupted", out)
    spoil(out)
    before = snapshot(tmp_path)
    assert message in refused(*FAST, "--out", str(out))
    assert snapshot(tmp_path) == before


def test_arrays_in_any_memory_order_are_kept(tmp_path):
    held = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(7)}
    records.save_tensors(tmp_path, "state", held, SETTINGS)
    found, _ = records.read_tensors(tmp_path, "state", SETTINGS)
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in held.items()}


# --- disks and links ---------------------------------------------------------------------------

DISKS = {
    "full": (os, "fsync", OSError(errno.ENOSPC, "No space left on device")),
    "read-only": (Path, "open", OSError(errno.EROFS, "Read-only file system")),
    "without permission": (Path, "replace", PermissionError(errno.EACCES, "Permission denied")),
    "over quota": (os, "fsync", OSError(errno.EDQUOT, "Disk quota exceeded")),
    "broken": (os, "fsync", OSError(errno.EIO, "Input/output error")),
}


@pytest.mark.parametrize(("place", "name", "error"), DISKS.values(), ids=DISKS)
def test_a_disk_that_fails_leaves_what_was_there(
    place, name, error, runs, tmp_path, refused, monkeypatch
):
    out, real = tmp_path / "out", getattr(place, name)
    shutil.copytree(runs / "interrupted", out)
    before = snapshot(tmp_path)

    def broken(*arguments, **options):
        if name == "open" and "w" not in "".join(map(str, arguments[1:])):
            return real(*arguments, **options)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(place, name, broken)
        line = refused(*FAST, "--out", str(out))
    assert error.strerror in line
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path, refused):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(*FAST, "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["rows.csv", "run.json", "state.safetensors"])
def test_nothing_is_written_through_a_link_that_somebody_left(name, runs, tmp_path, capsys):
    out, outside = tmp_path / "out", tmp_path / "outside"
    shutil.copytree(runs / "interrupted", out)
    (out / name).replace(outside)
    (out / name).symlink_to(outside)
    (out / f".{name}.{os.getpid()}").symlink_to(tmp_path / "never")
    before = outside.read_bytes()
    assert main([*FAST, "--out", str(out)]) == 0
    assert outside.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "outside"]
    assert not any(path.is_symlink() for path in out.iterdir())


# --- data files --------------------------------------------------------------------------------

FILES = {
    **{name: list(record.files) for name, record in SOURCES.items() if record.fetch},
    "cifar10 in python": list(SOURCES["cifar10"].others[0][0]),
}
WRONG = {
    "empty": b"",
    "cut off": b"\0\0\x08\x03\0\0",
    "another file": b"\x1f\x8b" + bytes(1000),
    "a pickle": b"cos\nsystem\n(S'touch executed'\ntR.",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("name", "files"), FILES.items(), ids=FILES)
def test_data_with_a_wrong_checksum_are_refused(name, files, wrong, elsewhere, refused):
    for file in files:
        (elsewhere / file).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / file).write_bytes(wrong)
    before = snapshot(elsewhere)
    line = refused(*FAST, "--data", name.split()[0], "--out", "out")
    assert f"{files[0]} is truncated or altered" in line
    assert snapshot(elsewhere) == before
    assert not Path("executed").exists()
    assert not Path("out/rows.csv").exists()


# --- as a process ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["--stop", "entropy"], ["--out", "/dev/null"]],
    ids=["name", "folder"],
)
def test_a_process_refuses_too(words, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "infcop_lite", *FAST, "--out", str(tmp_path / "out"), *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stdout) == (2, "")
    a_line(result.stderr.removesuffix("\n"))


# --- the count ---------------------------------------------------------------------------------


def test_the_number_of_bad_inputs_does_not_fall():
    files = 2 * (len(RUN) + len(ROWS)) + len(STATE)
    assert len(WORDS) + files + len(DISKS) + len(FILES) * len(WRONG) >= 140


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_finished_run_without_its_network_is_not_called_finished(damage, runs, tmp_path, refused):
    out = tmp_path / "out"
    shutil.copytree(runs / "finished", out)
    file = out / "network.safetensors"
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:-9])
    line = refused(*FAST, "--out", str(out))
    assert ("without its network" if damage == "gone" else "is damaged") in line


def test_a_home_that_is_not_there_is_one_line(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("INFCOP_DATA_DIR", "~nobody-of-that-name/data")
    line = refused(*FAST, "--data", "mnist", "--out", str(tmp_path / "out"))
    assert "set INFCOP_DATA_DIR to a folder" in line


# --- nobody listens, or not to the end -----------------------------------------------------------

LISTENERS = {
    "nobody": (">&- 2>&-", False),
    "ASCII only": ("", True),
    "a reader that has enough": ("| true", True),
}


@pytest.mark.parametrize(("end", "is_there"), LISTENERS.values(), ids=LISTENERS)
def test_whoever_listens_the_run_is_whole_and_nothing_is_wrong(end, is_there, runs, tmp_path):
    out = tmp_path / "größer"
    if is_there:  # then its name is said
        shutil.copytree(runs / "finished", out)
    command = shlex.join([sys.executable, "-m", "infcop_lite", *FAST, "--out", str(out)])
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    words = ["bash", "-o", "pipefail", "-c", f"{command} {end}"]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert records.read(out)[1]["finished"]
    assert ("gr\\xf6\\xdfer already holds" in done.stdout) is (is_there and not end)

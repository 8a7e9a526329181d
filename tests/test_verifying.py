"""A finished run can be held to what it left: its sums are looked at, a level is trained again."""

import hashlib
import json
import shutil

import pytest
import torch
from torch import nn

from infcop_lite import __main__ as command_line
from infcop_lite import ledger, records
from infcop_lite.config import Config
from infcop_lite.pruning import prune
from infcop_lite.resuming import resume
from infcop_lite.sweep import run_one
from infcop_lite.verifying import replay, verify

CONFIG = Config(levels=2, fraction=0.5, epochs=1, warmup_epochs=1, subset=200, probe_size=20)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_one(CONFIG, folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def edit(folder, old, new, forge=False):
    """Change rows.csv, as a spreadsheet would; a forger corrects the sum, too."""
    path, about = folder / records.ROWS, folder / records.RUN
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    if forge:
        record = json.loads(about.read_text())
        record["rows_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        about.write_text(json.dumps(record))


def said(capsys, *words):
    code = command_line.main(["verify", *map(str, words)])
    out, err = capsys.readouterr()
    assert (out + err).count("\n") == 1
    return code, out + err


def test_a_run_that_nobody_touched_is_as_it_was_left(folder, capsys):
    assert verify(folder) == []
    for level in range(3):
        assert replay(folder, level) == []
    code, line = said(capsys, folder, "--replay")
    assert (code, line) == (
        0,
        f"{folder}: rows, network and masks are bit for bit as the run left them\n",
    )


EDITS = {
    "a digit": (b"0.5,", b"0.6,"),
    "line ends": (b"\n", b"\r\n"),
    "a mark before": (b"data,", b"\xef\xbb\xbfdata,"),
    "rounded": (b"False,", b"FALSE,"),
}


@pytest.mark.parametrize("what", EDITS)
def test_rows_that_a_spreadsheet_saved_are_noticed_wherever_they_are_read(what, folder, capsys):
    edit(folder, *EDITS[what])
    code, line = said(capsys, folder)
    assert code == 1
    assert "did a spreadsheet save it?" in line
    with pytest.raises(ValueError, match="not as the run left it"):
        records.read(folder)
    with pytest.raises(ValueError, match="not as the run left it"):
        run_one(CONFIG, folder)


def test_a_forged_number_is_found_by_training_again(folder, capsys):
    rows, _ = records.read(folder)
    loss = str(rows.train_loss[1])
    edit(folder, loss.encode(), b"0.125", forge=True)
    assert verify(folder) == []
    assert replay(folder, 0) == [f"level 0, epoch 1.0: train_loss was 0.125, is {loss}"]


def test_a_forged_density_is_not_that_of_the_masks(folder):
    edit(folder, b",0.25,", b",0.125,", forge=True)
    last = (folder / records.ROWS).read_text().splitlines()[-1]
    edit(folder, last.encode(), last.replace(",0.25,", ",0.125,").encode(), forge=True)
    assert "the masks keep 0.25, the last row says 0.125" in verify(folder)


def test_a_network_with_a_changed_bit_is_noticed(folder, capsys):
    path = folder / "network.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, line = said(capsys, folder)
    assert (code, "network.safetensors is damaged" in line) == (1, True)


def test_what_cannot_be_verified_ends_with_2_and_says_why(tmp_path, capsys):
    assert said(capsys, tmp_path / "nowhere")[0] == 2
    (tmp_path / "half").mkdir()
    records.save(tmp_path / "half", {"levels": 1}, [])
    code, line = said(capsys, tmp_path / "half")
    assert (code, "is not finished: start it again" in line) == (2, True)
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    prune(nn.Linear(3, 2), (x, y), (x, y), folder=tmp_path / "own", levels=0, epochs=0)
    assert said(capsys, tmp_path / "own")[0] == 0
    code, line = said(capsys, tmp_path / "own", "--replay")
    assert (code, "Call prune again with the same arguments" in line) == (2, True)


def test_a_run_of_the_first_release_has_no_sum_and_is_read(folder):
    record = json.loads((folder / records.RUN).read_text())
    del record["rows_sha256"]
    (folder / records.RUN).write_text(json.dumps(record))
    assert verify(folder) == []


def test_going_on_with_other_threads_is_said_on_stderr(tmp_path, monkeypatch, capsys):
    class Killed(BaseException):
        """Stands for SIGKILL: nothing may catch it."""

    def die(row):
        if row.level == 1:
            raise Killed

    with pytest.raises(Killed):
        run_one(CONFIG, tmp_path, report=die)
    first = ledger.starts(tmp_path)
    ledger.note_start(tmp_path, [first[0] | {"threads": 99}])
    assert run_one(CONFIG, tmp_path)
    error = capsys.readouterr().err
    assert f"{tmp_path} goes on at level 1 with threads 99 -> " in error
    assert len(ledger.starts(tmp_path)) == 2


def test_going_on_with_the_same_things_says_nothing(tmp_path, capsys):
    resume(lambda state, keep: iter([]), {"levels": 1}, tmp_path)
    assert capsys.readouterr().err == ""

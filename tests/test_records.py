"""Records: what is written is read back exactly, and nothing that goes wrong costs earlier rows."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from infcop_lite import records
from infcop_lite.rows import Row, from_csv, parse, to_csv

CONFIG = {"data": "digits", "seed": 0, "epsilon": 0.1, "subset": None, "absolute": False}
FLOATS = [
    0.1,
    1 / 3,
    2 / 3 * 1e-7,
    0.8464265569314532,
    0.0029330770107964094,
    5e-324,
    1.7976931348623157e308,
    -0.0,
    1e22,
    123456789.12345679,
]


def row(level=0, epoch=0.0, stopped=False, **others):
    return {"level": level, "epoch": epoch, "elapsed_s": 0.5 + level, "stopped": stopped, **others}


ROWS = [row(), row(0, 1.0, True), row(1), row(1, 0.5, True)]


def saved(folder, rows=ROWS, finished=True, config=CONFIG):
    assert records.begin(folder, config) is False
    records.save(folder, config, rows, "python -m infcop_lite run", finished)
    return folder


def contents(folder):
    """What is in a folder: name -> bytes; the lock holds nothing."""
    files = [path for path in Path(folder).iterdir() if path.name != ".lock"]
    return {path.name: path.read_bytes() for path in files}


# --- the round trip ----------------------------------------------------------------------------


def test_rows_come_back_as_they_were(tmp_path):
    table, _ = records.read(saved(tmp_path))
    assert table.to_dict("records") == ROWS
    assert list(table) == list(ROWS[0])


def test_rows_that_lack_a_column_and_rows_that_have_it_go_into_one_table():
    """A run that was killed under an earlier release goes on under this one."""
    text = to_csv(
        [{"level": "0"}, {"level": 1, "metrics": {"f1": 1 / 3}}, {"level": 2, "metrics": {}}]
    )
    found = from_csv(text)
    assert [row["metrics"] for row in found] == ["", json.dumps({"f1": 1 / 3}), ""]
    assert to_csv(found) == text


def test_numbers_of_ones_own_come_back_as_they_were():
    row = dict.fromkeys(Row.__annotations__, "1") | {"stopped": "True"}
    for metrics in ({}, {"f1": 1 / 3, "auc": 5e-324}):
        (text,) = from_csv(to_csv([row | {"metrics": metrics}]))
        assert parse(text).metrics == metrics
    del row["metrics"]
    assert parse(row).metrics == {}


def test_floats_come_back_to_the_last_bit(tmp_path):
    table, _ = records.read(saved(tmp_path, [row(flow=value) for value in FLOATS]))
    assert [value.hex() for value in table["flow"]] == [value.hex() for value in FLOATS]


def test_random_floats_come_back_to_the_last_bit(tmp_path):
    values = pd.Series(range(1, 2001)).map(lambda i: math.sin(i) * 10.0 ** (i % 40 - 20)).tolist()
    table, _ = records.read(saved(tmp_path, [row(flow=value) for value in values]))
    assert table["flow"].tolist() == values


def test_what_was_not_measured_is_blank_in_the_file_and_nan_in_the_table(tmp_path):
    rows = [row(test_accuracy=math.nan), row(epoch=1.0, stopped=True, test_accuracy=0.9)]
    table, _ = records.read(saved(tmp_path, rows))
    assert table["test_accuracy"].isna().tolist() == [True, False]
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].endswith(",")


def test_infinity_is_not_taken_for_missing(tmp_path):
    table, _ = records.read(saved(tmp_path, [row(flow=math.inf)]))
    assert table["flow"].tolist() == [math.inf]


def test_truth_values_come_back_as_truth_values(tmp_path):
    table, _ = records.read(saved(tmp_path))
    assert table["stopped"].dtype == bool
    assert table["stopped"].tolist() == [False, True, False, True]


def test_names_with_commas_quotes_and_greek_letters_survive(tmp_path):
    name = 'any, of "ε ≤ 0.1"\nand more'
    table, record = records.read(saved(tmp_path, [row(stop=name)], config={"stop": name}))
    assert table["stop"].tolist() == [name]
    assert record["config"] == {"stop": name}


def test_the_record_says_what_was_run_with_what_and_for_how_long(tmp_path):
    _, record = records.read(saved(tmp_path))
    assert record["config"] == CONFIG
    assert record["command"] == "python -m infcop_lite run"
    assert record["finished"] is True
    assert record["seconds"] == ROWS[-1]["elapsed_s"]
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["torch"].split("+")[0].count(".") == 2
    assert set(record["machine"]) == {"system", "processor", "cpus", "accelerator"}


def test_the_record_is_plain_json_for_people_to_read(tmp_path):
    text = (saved(tmp_path) / "run.json").read_text(encoding="utf-8")
    assert json.loads(text)["config"] == CONFIG
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 10


def test_the_same_rows_make_the_same_file(tmp_path):
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert (first / "rows.csv").read_bytes() == (second / "rows.csv").read_bytes()


def test_several_runs_are_read_as_one_table(tmp_path):
    folders = [saved(tmp_path / str(seed), [row(seed=seed)] * 2) for seed in (3, 1)]
    table = records.read_all(folders)
    assert table["seed"].tolist() == [3, 3, 1, 1]
    assert table.index.tolist() == [0, 1, 2, 3]


def test_no_runs_at_all_are_refused():
    with pytest.raises(ValueError, match="no runs to read"):
        records.read_all([])


def test_records_can_be_read_without_importing_torch(tmp_path):
    saved(tmp_path)
    # the package itself imports torch, so an empty one takes its place
    program = (
        "import sys, types; package = types.ModuleType('infcop_lite');"
        "package.__path__ = [sys.argv[1]]; sys.modules['infcop_lite'] = package;"
        "from infcop_lite import records;"
        "print(len(records.read(sys.argv[2])[0]), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(Path(records.__file__).parent), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.split() == ["4", "False"], result.stderr


# --- one folder, one run -----------------------------------------------------------------------


def test_a_missing_folder_is_made_with_its_parents(tmp_path):
    assert records.begin(tmp_path / "a" / "b", CONFIG) is False
    assert (tmp_path / "a" / "b").is_dir()


def test_a_path_may_be_text(tmp_path):
    saved(str(tmp_path))
    assert len(records.read(str(tmp_path))[0]) == 4


def test_a_finished_run_is_recognised(tmp_path):
    saved(tmp_path)
    assert records.begin(tmp_path, CONFIG) is True


def test_an_unfinished_run_may_be_begun_again(tmp_path):
    saved(tmp_path, finished=False)
    assert records.begin(tmp_path, CONFIG) is False


@pytest.mark.parametrize("finished", [True, False])
def test_another_config_is_refused_and_the_difference_named(tmp_path, finished):
    saved(tmp_path, finished=finished)
    before = contents(tmp_path)
    other = {**CONFIG, "epsilon": 0.2, "seed": 1}
    with pytest.raises(ValueError, match=r"already holds another run.*epsilon.*seed") as caught:
        records.begin(tmp_path, other)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("other", [{**CONFIG, "new": 1}, {"data": "digits"}])
def test_a_config_with_other_fields_is_another_run(tmp_path, other):
    saved(tmp_path)
    with pytest.raises(ValueError, match="already holds another run"):
        records.begin(tmp_path, other)


def test_rows_without_a_record_are_somebody_elses(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"holds a rows.csv without a run.json"):
        records.begin(tmp_path, CONFIG)
    assert contents(tmp_path) == {"rows.csv": b"a,b\n1,2\n"}


def test_files_of_other_kinds_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    saved(tmp_path)
    assert contents(tmp_path)["notes.txt"] == b"mine"
    assert sorted(contents(tmp_path)) == ["notes.txt", "rows.csv", "run.json"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="is a file, not a folder"):
        records.begin(tmp_path / "out", CONFIG)
    with pytest.raises(OSError, match="Not a directory"):
        records.begin(tmp_path / "out" / "deeper", CONFIG)
    assert (tmp_path / "out").read_text() == "mine"


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["", "{", "not json", '{"config": {}', "\x00\x01", "NaN,"])
def test_a_damaged_record_is_refused(tmp_path, damage):
    saved(tmp_path)
    (tmp_path / "run.json").write_text(damage)
    for call in (lambda: records.read(tmp_path), lambda: records.begin(tmp_path, CONFIG)):
        with pytest.raises(ValueError, match=r"run.json is damaged: it is not JSON"):
            call()


def test_a_record_that_is_no_text_is_refused(tmp_path):
    saved(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        records.read(tmp_path)


@pytest.mark.parametrize("foreign", ["[]", "3", "null", '{"name": "x"}', '{"config": 3}'])
def test_json_that_is_no_record_of_a_run_is_refused(tmp_path, foreign):
    saved(tmp_path)
    (tmp_path / "run.json").write_text(foreign)
    for call in (lambda: records.read(tmp_path), lambda: records.begin(tmp_path, CONFIG)):
        with pytest.raises(ValueError, match=r"run.json is not the record of a run"):
            call()


def test_rows_cut_off_anywhere_are_refused(tmp_path):
    whole = (saved(tmp_path) / "rows.csv").read_bytes()
    assert len(records.read(tmp_path)[0]) == 4
    line_ends = {i + 1 for i, byte in enumerate(whole) if byte == ord("\n")}
    for length in set(range(len(whole))) - line_ends:  # a cut between rows cannot be seen
        (tmp_path / "rows.csv").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"rows.csv is damaged"):
            records.read(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [b"level,epoch\n1,2\n1,2,3\n", b"\xff\xfe\x00\n", b"level,stopped\n0,True\n1\n", b"\n\n"],
    ids=["long row", "binary", "short row", "blank"],
)
def test_damaged_rows_are_refused(tmp_path, damage):
    saved(tmp_path)
    (tmp_path / "rows.csv").write_bytes(damage)
    with pytest.raises(ValueError, match=r"rows.csv is damaged"):
        records.read(tmp_path)


def test_a_run_that_is_not_there_is_reported_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run.json"):
        records.read(tmp_path / "nowhere")
    (saved(tmp_path) / "rows.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"rows.csv"):
        records.read(tmp_path)


# --- writes that fail --------------------------------------------------------------------------


def broken(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("finished", [True, False])
def test_a_full_disk_leaves_the_earlier_files_and_no_litter(tmp_path, monkeypatch, finished):
    saved(tmp_path, ROWS[:2], finished=False)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space left"):
        records.save(tmp_path, CONFIG, ROWS, finished=finished)
    assert contents(tmp_path) == before


def test_a_full_disk_at_the_first_write_leaves_a_folder_that_can_be_used(tmp_path, monkeypatch):
    records.begin(tmp_path, CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="No space left"):
            records.save(tmp_path, CONFIG, ROWS)
    assert contents(tmp_path) == {}
    saved(tmp_path)


@pytest.mark.parametrize(
    ("earlier", "failing"), [(True, 1), (True, 2), (False, 1), (False, 2), (False, 3)]
)
def test_a_write_cut_short_between_the_files_can_be_taken_up_again(
    tmp_path, monkeypatch, earlier, failing
):
    if earlier:
        saved(tmp_path, ROWS[:2], finished=False)
    sync, calls = os.fsync, []

    def fails_once(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            broken()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(OSError, match="No space left"):
        records.save(tmp_path, CONFIG, ROWS, finished=True)
    assert records.begin(tmp_path, CONFIG) is False  # neither refused nor taken for finished
    records.save(tmp_path, CONFIG, ROWS, finished=True)
    assert records.read(tmp_path)[0].to_dict("records") == ROWS
    assert sorted(contents(tmp_path)) == ["rows.csv", "run.json"]


def test_an_interruption_while_writing_leaves_the_earlier_files(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    saved(tmp_path, ROWS[:2], finished=False)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.save(tmp_path, CONFIG, ROWS)
    assert contents(tmp_path) == before


def test_a_file_is_on_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    events, sync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd))[1])

    def watched(self, target):
        events.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    saved(tmp_path)
    assert events[::2] == ["sync"] * (len(events) // 2)
    assert {"rows.csv", "run.json"} == set(events[1::2])
    assert events[-1] == "run.json"  # "finished" is said last


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    saved(tmp_path, ROWS[:2], finished=False)
    before, opened = contents(tmp_path), Path.open

    def read_only(self, mode="r", *arguments, **options):
        if "w" in mode:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(PermissionError, match="Permission denied"):
        records.save(tmp_path, CONFIG, ROWS)
    assert contents(tmp_path) == before


def test_a_folder_that_may_not_be_made_is_refused(tmp_path, monkeypatch):
    def read_only(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(PermissionError, match="Permission denied"):
        records.begin(tmp_path / "new", CONFIG)


def test_a_config_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        records.save(tmp_path, {"stop": object()}, ROWS)
    assert contents(tmp_path) == {}


def test_rows_with_different_keys_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="extra"):
        records.save(tmp_path, CONFIG, [row(), row(extra=1)])
    assert contents(tmp_path) == {}

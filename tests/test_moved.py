"""Names of the first release: each still works, and says in one line where it is now."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import infcop_lite
from infcop_lite import _moved

NAMES = [
    (old, name, new)
    for table in (_moved.MODULES, _moved.NAMES)
    for old, names in table.items()
    for name, new in names.items()
]


@pytest.mark.parametrize(("old", "name", "new"), NAMES, ids=str)
def test_an_old_name_is_the_new_one_and_warns_once(old, name, new):
    module, _, attribute = new.rpartition(".")
    now = f"infcop_lite.{old}.{name} is now infcop_lite.{new}; the old name goes with"
    with pytest.warns(DeprecationWarning, match=re.escape(now)) as seen:
        found = getattr(import_module(f"infcop_lite.{old}"), name)
    assert found is getattr(import_module(f"infcop_lite.{module}"), attribute)
    assert [warning.filename for warning in seen] == [__file__]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("from infcop_lite.imp import run_imp, prune, Config, Row, next_masks, Pruned", ""),
        ("from infcop_lite import imp; imp.run_imp, imp.prune", ""),
        ("from infcop_lite.compare import compare, Result, Stop, MAY_DIFFER", ""),
        ("from infcop_lite.monitor import Measured, Monitor, check_fit", ""),
        ("from infcop_lite.train import lay_out, threads, accelerator, choose_device", ""),
        ("from infcop_lite.config import grid, stop_rule, STOPS, READS", ""),
        ("from infcop_lite.records import Row, read, save, read_all", ""),
        ("from infcop_lite.run import next_masks", ""),
        ("from infcop_lite import Config, compact, compare, prune, run, run_imp", ""),
        ("from infcop_lite.run import Run", "infcop_lite.run.Run is gone: what a level begins"),
        ("from infcop_lite.imp import State", "infcop_lite.imp.State is gone: what a level"),
        ("from infcop_lite.imp import nothing", "cannot import name 'nothing'"),
        ("import infcop_lite; infcop_lite.nothing", "has no attribute 'nothing'"),
    ],
)
def test_what_was_documented_can_be_imported_in_a_fresh_process(line, says):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", line], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (says == ""), done.stderr
    assert says in done.stderr


def test_the_front_door_clashes_with_no_module():
    """`infcop_lite.run` is the function, whatever was imported before."""
    import_module("infcop_lite.run")
    import_module("infcop_lite.compare")
    modules = {path.stem for path in Path(infcop_lite.__file__).parent.glob("*.py")}
    assert not modules & set(infcop_lite.__all__)
    for name in infcop_lite.__all__:
        found = getattr(infcop_lite, name)
        assert callable(found)
        assert found.__doc__


def test_what_the_readme_names_can_be_called_from_the_package():
    text = (Path(infcop_lite.__file__).parent.parent / "README.md").read_text("utf-8")
    named = set(re.findall(r"`infcop_lite\.(\w+)", text))
    assert {"prune", "compare", "compact"} <= named <= set(infcop_lite.__all__)


def test_the_library_itself_uses_no_old_name():
    line = "import infcop_lite.__main__, infcop_lite.evidence, infcop_lite.explorer.replay"
    words = [sys.executable, "-W", "error::DeprecationWarning:infcop_lite", "-c", line]
    assert subprocess.run(words, check=False).returncode == 0

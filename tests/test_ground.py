"""Before minutes of work: the environment, the library and the kernel are this clone's own."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext

import build
import ground
import pytest

from infcop_lite import ledger

# --- an environment knows where it was made ----------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """A clone at a place with spaces and umlauts, whose environment imports from `made_at`."""
    root = tmp_path / "mein Büchlein 2"

    def make(made_at, target="dist"):
        library, python = root / "infcop_lite", root / ".venv" / "bin" / "python"
        for folder in (library, python.parent):
            folder.mkdir(parents=True)
        (library / "__init__.py").touch()
        for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
            shutil.copy(build.ROOT / name, root)
        lines = f'import sys; sys.path.insert(0, "{made_at or root}"); exec(sys.argv[3])'
        python.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -c '{lines}' \"$@\"\n")
        python.chmod(0o755)
        (root / ".venv" / ".installed").touch()
        words = ["make", "--dry-run", target]
        return subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout

    return make


CLEARED = 'if [ -e .venv/.installed ] && [ "" ]'  # though its stamp is there


def test_an_environment_that_was_made_here_is_used(copied):
    assert "installing" not in (said := copied(None))
    assert "python -m build" in said


def test_an_environment_of_a_clone_that_was_copied_is_made_anew(copied, tmp_path):
    (tmp_path / "first" / "infcop_lite").mkdir(parents=True)
    (tmp_path / "first" / "infcop_lite" / "__init__.py").touch()
    assert CLEARED in copied(tmp_path / "first")


def test_an_environment_whose_clone_or_python_is_gone_is_made_anew(copied, tmp_path):
    assert CLEARED in copied(tmp_path / "moved away")


# --- one line for each thing that is not as it should be ----------------------------------------


def test_the_library_of_another_clone_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ground, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["build.py", "notebooks/01-x.ipynb"])
    assert build.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("cannot build: the library would be ")
    assert f"not that of {tmp_path}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("taken", [True, False])
def test_a_book_that_is_being_built_is_not_built_a_second_time(
    tmp_path, monkeypatch, capsys, taken
):
    done = []
    monkeypatch.setattr(build, "BUILT", tmp_path / "_build")
    monkeypatch.setattr(build, "execute_all", lambda chosen, profile: done.append(profile) or {})
    monkeypatch.setattr(build, "html", lambda: done.append("html"))
    monkeypatch.setattr(sys, "argv", ["build.py"])
    (tmp_path / "_build").mkdir()
    with ledger.lock(tmp_path / "_build") if taken else nullcontext():
        assert build.main() == int(taken)
    assert done == ([] if taken else ["ci", "html"])
    line = f"cannot build: another process is at work in {tmp_path / '_build'}\n"
    assert capsys.readouterr().err == (line if taken else "")


def test_every_look_is_taken_and_passes_here():
    for look in ground.CHECKS[:-1]:
        look()
    assert ground.CHECKS[-1] is ground.kernel


def test_another_version_than_the_pinned_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(ground, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("-c x.txt\n# words\npytest==0.1  # why\n")
    with pytest.raises(ground.GroundError, match=r"pytest is [\d.]+, not 0.1"):
        ground.environment()
    (tmp_path / "requirements.txt").write_text("no-such-package[all]==1.0\n")
    with pytest.raises(ground.GroundError, match="no-such-package is missing"):
        ground.environment()


def test_a_folder_of_data_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("INFCOP_DATA_DIR", "/nowhere/at/all")
    with pytest.raises(ground.GroundError, match="INFCOP_DATA_DIR names /nowhere/at/all"):
        ground.data()
    monkeypatch.setenv("INFCOP_DATA_DIR", "")  # unset: chapters use what the package brings
    ground.data()


def test_a_full_disk_is_named():
    with pytest.raises(ground.GroundError, match="MB are free on the disk"):
        ground.disk(needed_mb=10**12)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_kernel_that_does_not_start_is_tried_once_more(monkeypatch, failures):
    calls = []

    class Manager:
        def __init__(self, **_):
            calls.append("")

        def start_kernel(self, **_):
            if len(calls) <= failures:
                raise RuntimeError("Kernel died\nbefore replying")

        def client(self):
            return self

        def start_channels(self): ...
        def stop_channels(self): ...
        def wait_for_ready(self, timeout): ...
        def shutdown_kernel(self, now): ...

    monkeypatch.setattr(ground, "KernelManager", Manager)
    if failures == 1:
        ground.kernel()
    else:
        with pytest.raises(ground.GroundError, match="no kernel starts: Kernel died before"):
            ground.kernel()
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("quota", "most"), [("100000 100000", 1), ("250000 100000", 3), ("max 100000", 64), ("", 64)]
)
def test_only_the_processors_that_it_may_use_are_used(tmp_path, monkeypatch, quota, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    assert ground.processors(tmp_path / "cpu.max") == most
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert ground.processors(tmp_path / "nowhere") == 2

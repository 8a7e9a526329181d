"""Who is at work in a run's folder, and who was: one lock, and a line for each start of the run."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import filelock

STARTS = "provenance.jsonl"
PACKAGES = ("infcop-lite", "torch", "torchvision", "numpy")


@contextmanager
def lock(folder: Path | str) -> Iterator[None]:
    """Be the only one at work in a folder; the lock ends with the process, whatever ends that.

    Source: flock(2), by the package filelock.

    Args:
        folder: one that is there.

    Raises:
        BlockingIOError: another process is at work there.
        OSError: a folder that cannot be written to.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with lock(folder), lock(folder):
    ...     pass
    Traceback (most recent call last):
    BlockingIOError: another process is at work in ...
    """
    try:
        held = filelock.FileLock(Path(folder) / ".lock", timeout=0)
        held.acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"another process is at work in {folder}") from None
    try:
        yield
    finally:
        held.release()


def note_start(folder: Path | str, starts: Sequence[Mapping[str, Any]]) -> None:
    """Write one line for each start of a run: where it resumed, with what, and for how long.

    Args:
        folder: one that `begin` has accepted.
        starts: all of them, the present one last; JSON values only.

    Raises:
        OSError: the disk is full or the folder read-only; the earlier file is intact.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> note_start(folder, [{"first_level": 0}]); starts(folder)
    [{'first_level': 0}]
    """
    replace(Path(folder) / STARTS, "".join(json.dumps(dict(start)) + "\n" for start in starts))


def starts(folder: Path | str) -> list[dict[str, Any]]:
    """Return what `note_start` wrote; nothing where a run of the first release began.

    Raises:
        ValueError: a file that is damaged.
    """
    path = Path(folder) / STARTS
    if not path.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged: it does not hold one JSON object a line") from None


def differing(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what a start is made with that an earlier one was not, in a few words each.

    Args:
        earlier, now: two lines of `starts`.

    >>> differing({"threads": 1, "versions": {"torch": "2.4"}}, {"threads": 2, "versions": {}})
    ['threads 1 -> 2']
    """
    named = ("device", "threads", "instructions")
    pairs = {name: (earlier.get(name), now.get(name)) for name in named}
    before, after = earlier.get("versions", {}), now.get("versions", {})
    pairs |= {name: (before[name], after.get(name)) for name in before.keys() & after.keys()}
    return [f"{name} {a} -> {b}" for name, (a, b) in sorted(pairs.items()) if a not in (None, b)]


@cache
def commit() -> str:
    """Return the commit of the clone that this library runs from, "-dirty" if it was changed.

    Returns:
        Text as ``git describe`` gives it; empty where there is no clone or no git.
    """
    clone = Path(__file__).parent.parent
    if not (clone / ".git").exists():  # a site-packages folder may lie in somebody else's clone
        return ""
    words = ["git", "-C", str(clone), "describe"]
    words += ["--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a run comes to.

    >>> list(versions())
    ['python', 'infcop-lite', 'torch', 'torchvision', 'numpy']
    """
    return {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def replace(path: Path, content: str | bytes) -> None:
    """Write a file in one step: under another name, flushed to disk, then renamed.

    Args:
        path: of the file.
        content: all of it.

    Raises:
        OSError: the disk is full or the folder read-only; an earlier file is intact.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)  # never write through a link that was left there
        with temporary.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

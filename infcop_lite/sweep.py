"""Runs into folders, one that resumes after an interruption, or many side by side."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

from . import _moved, records
from .config import Config
from .identity import identity
from .limits import expect, shown
from .loop import run
from .own import FUNCTIONS
from .pool import Task, side_by_side
from .resuming import resume
from .rows import Row

Job = tuple[Config, Path, str]  # what `run_one` is called with


def run_one(
    config: Config,
    folder: Path | str,
    command: str = "",
    report: Callable[[Row], None] = lambda row: None,
) -> bool:
    """Run a config into a folder; a run that was interrupted there resumes after its last level.

    Source: `resuming.resume` with the levels of `loop.run`.

    Args:
        config: what to run.
        folder, command, report: as for `resuming.resume`.

    Returns:
        Whether there was anything to do; False if the run was already finished there.

    Raises:
        ValueError, OSError: as `resuming.resume`; what was there is intact.
        FloatingPointError: training diverged.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> run_one(Config(levels=1, epochs=0, final_epochs=0), folder)
    True
    >>> records.read(folder)[0]["density"].round(2).tolist()
    [1.0, 0.8]
    """
    return resume(partial(run, config), identity(config), folder, command, report)


def run_many(
    runs: Mapping[str, Config | Task],
    folder: Path | str | None = None,
    processes: int | None = None,
    scheduler: str | None = None,
    command: str = "",
    report: Callable[[str, str], None] = lambda name, problem: None,
) -> dict[str, str]:
    """Run configs side by side, each into a folder of its own; what is finished is skipped.

    A worker that is killed loses its run's current level, nothing else: the run is
    started again, once, and resumes after its last finished level.

    In a script, call it under ``if __name__ == "__main__":``, for the workers import the script.

    Args:
        runs: name -> config, ``threads`` being 1 unless given; or a function of no arguments that
            does it all by itself and can be imported by another process.
        folder: the run of a config goes to ``folder / name``.
        processes: workers on this machine; as many as its cores can feed unless given.
        scheduler: address of a Dask cluster (``tcp://...``) to run on instead. Its workers must see
            ``folder`` under the same path and have this package; one thread each is best.
        command: the command line, for the records.
        report: called when a run is done, with its name and what went wrong, "" if nothing did.

    Returns:
        The runs that failed, as name -> what went wrong, in one line.

    Raises:
        ValueError: a bad name, no folder for a config, or one that holds another run; nothing has
            been started.
        OSError: a folder that cannot be written to, or a scheduler that does not answer.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> config = Config(levels=1, epochs=0, final_epochs=0, threads=1)
    >>> run_one(config, folder + "/a")
    True
    >>> run_many({"a": config}, folder, report=lambda name, problem: print(name, "is finished"))
    a is finished
    {}
    """
    expect("runs", runs, Mapping, "name -> Config")
    expect("folder", folder, (str, PathLike, type(None)), "a path")
    expect("report", report, Callable, "a function")
    for name, given in runs.items():
        if not (isinstance(given, Config) or (callable(given) and not isinstance(given, type))):
            raise ValueError(f"run {name!r} must be a Config, not {shown(given)}")
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.,=+ -]{0,199}", name, re.ASCII):
            wanted = "a plain folder name of 1 to 200 characters"
            raise ValueError(f"a run's name must be {wanted}, not {name!r}")
        if isinstance(given, Config) and folder is None:
            raise ValueError(f"run {name!r} needs a folder")
    home = Path.cwd() / (folder or "")
    jobs: dict[str, Job] = {
        name: (replace(config, threads=config.threads or 1), home / name, command)
        for name, config in runs.items()
        if isinstance(config, Config)
    }
    tasks: dict[str, Task] = {name: given for name, given in runs.items() if callable(given)}
    tasks |= {name: partial(run_one, *job) for name, job in jobs.items()}
    done = [name for name, job in jobs.items() if _is_finished(job)]
    due = {name: tasks[name] for name in runs if name not in done}
    threads = max((job[0].threads or 1 for job in jobs.values()), default=1)
    results = side_by_side(due, processes, scheduler, threads)
    for name in done:
        report(name, "")
    failed = {}
    for name, problem in results:
        if not problem and name in jobs and not _is_finished(jobs[name]):
            problem = f"done, but not to be seen in {jobs[name][1]}: do the workers share it?"
        if problem:
            failed[name] = problem
        report(name, problem)
    return failed


def _is_finished(job: Job) -> bool:
    config, folder, _ = job
    return records.begin(folder, identity(config))


def grid(options: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Config]:
    """Return a config for each point of a grid, named after the point.

    Source: the command line's ``--grid``.

    Args:
        options: fields of `Config` that all points share.
        axes: each ``field=value,value,...``; the grid is their product.

    Raises:
        ValueError: an unknown field, a value that is not of its type or range, or one given twice.

    >>> [(name, config.seed) for name, config in grid({"levels": 3}, ["seed=0,1"]).items()]
    [('seed=0', 0), ('seed=1', 1)]
    """
    hints = get_type_hints(Config)
    values: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, text = axis.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in hints or name in FUNCTIONS:
            known = ", ".join(f.name for f in fields(Config) if f.name not in FUNCTIONS)
            raise ValueError(
                f"a grid is field=value,value,... with a field of {known}; not {axis!r}"
            )
        if name in values:
            raise ValueError(f"two grids for {name}; give all its values in one")
        if options.get(name, getattr(Config, name)) != getattr(Config, name):
            raise ValueError(f"{name} is given both as an option and in the grid {axis!r}")
        values[name] = [_read(name, word.strip(), hints[name]) for word in text.split(",")]
        if len(set(values[name])) < len(values[name]):
            raise ValueError(f"a value is given twice in the grid {axis!r}")
    points = [
        dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
    ]
    return {
        ",".join(f"{k}={v}" for k, v in point.items()): Config(**{**options, **point})
        for point in points
    }


def _read(name: str, word: str, hint: Any) -> Any:
    kinds = getattr(hint, "__args__", (hint,))
    words: dict[str, Any] = {"true": True, "false": False} if bool in kinds else {}
    if type(None) in kinds:
        words["none"] = None
    if word.lower() in words:
        return words[word.lower()]
    try:
        return next(kind for kind in kinds if kind in (int, float, str))(word)
    except (ValueError, StopIteration):
        raise ValueError(f"{word!r} is no value for {name}") from None


__getattr__ = _moved.lookup("sweep", _moved.NAMES["sweep"])

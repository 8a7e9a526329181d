"""Runs into folders: one run that goes on where it was killed, or many side by side."""

import itertools
import multiprocessing
import os
import re
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, get_type_hints

from . import records
from .config import Config
from .identity import identity
from .loop import run
from .resuming import resume
from .rows import Row

DIED = "its worker died twice; the same sweep started again goes on after its last finished level"
Job = tuple[str, Config, Path, str]  # name, config, folder, command

_one_at_a_time = threading.Lock()


def run_one(
    config: Config,
    folder: Path | str,
    command: str = "",
    report: Callable[[Row], None] = lambda row: None,
) -> bool:
    """Run a config into a folder; a run that was interrupted there goes on after its last level.

    Source: ours; `resuming.resume` with the levels of `loop.run`.

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
    configs: Mapping[str, Config],
    folder: Path | str,
    processes: int | None = None,
    scheduler: str | None = None,
    command: str = "",
    report: Callable[[str, str], None] = lambda name, problem: None,
) -> dict[str, str]:
    """Run configs side by side, each into a folder of its own; what is finished is skipped.

    Source: ours. A worker that is killed loses its run's current level, nothing else: the run is
    started again, once, and goes on after its last finished level.

    In a script, call it under ``if __name__ == "__main__":``, for the workers import the script.

    Args:
        configs: name -> config; ``threads`` is 1 unless given.
        folder: a run goes to ``folder / name``.
        processes: workers on this machine; as many as its cores can feed unless given.
        scheduler: address of a Dask cluster (``tcp://...``) to run on instead. Its workers must see
            ``folder`` under the same path and have this package; one thread each is best.
        command: the command line, for the records.
        report: called when a run is done, with its name and what went wrong, "" if nothing did.

    Returns:
        The runs that failed, as name -> what went wrong, in one line.

    Raises:
        ValueError: a bad name, or a folder that holds another run; nothing has been started.
        OSError: a folder that cannot be written to, or a scheduler that does not answer.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> config = Config(levels=1, epochs=0, final_epochs=0, threads=1)
    >>> run_one(config, folder + "/a")
    True
    >>> run_many({"a": config}, folder, report=lambda name, problem: print(name, "is finished"))
    a is finished
    {}
    """
    if scheduler is not None and processes is not None:
        raise ValueError("a Dask cluster has its own workers: give a scheduler or processes")
    if processes is not None and (type(processes) is not int or processes < 1):
        raise ValueError(f"processes must be an int greater than 0, not {processes!r}")
    for name, config in configs.items():
        if not isinstance(config, Config):
            raise ValueError(f"run {name!r} must be a Config, not {config!r}")
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.,=+ -]{0,199}", name, re.ASCII):
            raise ValueError(f"a run's name must be a plain folder name, not {name!r}")
    home = Path.cwd() / folder
    jobs: list[Job] = [
        (name, replace(config, threads=config.threads or 1), home / name, command)
        for name, config in configs.items()
    ]
    finished = [_is_finished(job) for job in jobs]
    due = [job for job, done in zip(jobs, finished, strict=True) if not done]
    for job, done in zip(jobs, finished, strict=True):
        if done:
            report(job[0], "")
    failed = {}
    if due:
        runs = _in_processes(due, processes) if scheduler is None else _on_dask(due, scheduler)
        for job, problem in runs:
            if not problem and not _is_finished(job):
                problem = f"done, but not to be seen in {job[2]}: do the workers share it?"
            if problem:
                failed[job[0]] = problem
            report(job[0], problem)
    return failed


def _is_finished(job: Job) -> bool:
    _, config, folder, _ = job
    return records.begin(folder, identity(config))


def _work(job: Job) -> str:
    """Do a run, in a worker; return what went wrong, in one line."""
    _, config, folder, command = job
    try:
        with _one_at_a_time:  # a Dask worker may have several threads, torch has one generator
            run_one(config, folder, command)
    except Exception as error:
        expected = isinstance(error, ValueError | OSError | FloatingPointError)
        return " ".join((str(error) if expected else repr(error)).split()) or repr(error)
    return ""


def _serve(parent: Connection) -> None:
    """Do what the parent process sends until it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    die_with_parent()
    while True:
        parent.send(_work(parent.recv()))


def die_with_parent() -> None:
    """End this process as soon as the one that started it is gone, whatever ended that.

    Source: ours; a worker that outlives a killed sweep would go on writing into its folders.
    """

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Worker:
    """A process that does one run after another; its death is nobody else's."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def end(self) -> None:
        self.process.kill()  # at any moment: every write is atomic
        self.process.join()
        self.pipe.close()


def _in_processes(jobs: Sequence[Job], processes: int | None) -> Iterator[tuple[Job, str]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fed = max(1, (cores or 1) // max(job[1].threads or 1 for job in jobs))
    queue, restarted = list(jobs), set()
    idle: list[_Worker] = []
    busy: dict[Any, tuple[_Worker, Job]] = {}
    try:
        while queue or busy:
            while queue and len(busy) < (processes or fed):
                worker = idle.pop() if idle else _Worker()
                busy[worker.pipe] = worker, queue[0]
                with suppress(OSError):  # it was killed while idle: found out below
                    worker.pipe.send(queue.pop(0))
            for pipe in wait(list(busy)):
                worker, job = busy.pop(pipe)
                try:
                    problem = worker.pipe.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    worker.end()
                    if job[0] not in restarted:
                        restarted.add(job[0])
                        queue.insert(0, job)
                        continue
                    problem = DIED
                yield job, problem
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.end()


def _on_dask(jobs: Sequence[Job], scheduler: str) -> Iterator[tuple[Job, str]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ValueError("no package distributed: pip install 'infcop-lite[dask]'") from None
    with Client(scheduler, timeout="20s", set_as_default=False) as client:
        sweep = uuid.uuid4().hex
        futures = {
            client.submit(_work, job, key=f"{job[0]}-{sweep}", pure=False, retries=2): job
            for job in jobs
        }
        for future in as_completed(futures, loop=client.loop):
            try:
                problem = future.result()
            except CancelledError:
                problem = "the cluster is gone; the same sweep started again goes on"
            except Exception as error:  # of the cluster: too many dead workers, no package there
                problem = " ".join(f"{type(error).__name__}: {error}".split())
            yield futures[future], problem


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
        if not equals or name not in hints:
            known = ", ".join(f.name for f in fields(Config))
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

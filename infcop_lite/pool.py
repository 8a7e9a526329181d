"""Functions run side by side, in processes of which any may die, or on a Dask cluster."""

import gc
import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

DIED = "its worker died twice; the same sweep started again goes on after its last finished level"
UNKNOWN = "a worker process cannot import it; put your rule or function in a module, or run_one it"
Task = Callable[[], Any]

_one_at_a_time = threading.Lock()


def side_by_side(
    tasks: Mapping[str, Task],
    processes: int | None = None,
    scheduler: str | None = None,
    threads: int = 1,
    fresh: bool = False,
) -> Iterator[tuple[str, str]]:
    """Call functions side by side; yield the name of each when it is done, and what went wrong.

    A worker that is killed loses its task alone, which is started again, once.

    Args:
        tasks: name -> function of no arguments, which another process can import; what it returns
            is dropped.
        processes: workers on this machine; as many as its cores can feed unless given.
        scheduler: address of a Dask cluster to run on instead.
        threads: that one task computes with.
        fresh: whether each task gets a process of its own, on this machine.

    Yields:
        Name, and one line that says what went wrong; empty if nothing did.

    Raises:
        ValueError: a bad number of processes, both at once, or no package distributed.
        OSError: a scheduler that does not answer.

    >>> list(side_by_side({}))
    []
    """
    if scheduler is not None and processes is not None:
        raise ValueError("a Dask cluster has its own workers: give a scheduler or processes")
    if processes is not None and (type(processes) is not int or processes < 1):
        raise ValueError(f"processes must be an int greater than 0, not {processes!r}")
    if not tasks:
        return iter(())
    if scheduler is None:
        return _in_processes(tasks, processes, threads, fresh)
    return _on_dask(tasks, scheduler)


def _work(task: Task) -> str:
    """Do a task, in a worker; return what went wrong, in one line."""
    try:
        with _one_at_a_time:  # a Dask worker may have several threads, torch has one generator
            task()
    except Exception as error:
        expected = isinstance(error, ValueError | OSError | FloatingPointError)
        return " ".join((str(error) if expected else repr(error)).split()) or repr(error)
    return ""


def _serve(parent: Connection) -> None:
    """Do what the parent process sends until it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    die_with_parent()
    while True:
        try:
            task = parent.recv()
        except EOFError:
            return
        except Exception as error:  # of unpickling; what a notebook defines, say
            parent.send(f"{UNKNOWN}: {error}")
        else:
            parent.send(_work(task))


def die_with_parent() -> None:
    """End this process as soon as the one that started it is gone, whatever ended that.

    A worker that outlived a killed sweep would write on into its folders.
    """

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Worker:
    """A process that does one task after another; if it dies, the others live on."""

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


def _in_processes(
    tasks: Mapping[str, Task], processes: int | None, threads: int, fresh: bool
) -> Iterator[tuple[str, str]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fed = max(1, (cores or 1) // threads)
    queue, restarted = list(tasks), set()
    idle: list[_Worker] = []
    busy: dict[Any, tuple[_Worker, str]] = {}
    try:
        while queue or busy:
            while queue and len(busy) < (processes or fed):
                worker = idle.pop() if idle else _Worker()
                busy[worker.pipe] = worker, queue[0]
                with suppress(OSError):  # it was killed while idle: found out below
                    worker.pipe.send(tasks[queue.pop(0)])
            for pipe in wait(list(busy)):
                worker, name = busy.pop(pipe)
                try:
                    problem = worker.pipe.recv()
                    if fresh:
                        worker.end()
                    else:
                        idle.append(worker)
                except (EOFError, OSError):
                    worker.end()
                    if name not in restarted:
                        restarted.add(name)
                        queue.insert(0, name)
                        continue
                    problem = DIED
                yield name, problem
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.end()


def _on_dask(tasks: Mapping[str, Task], scheduler: str) -> Iterator[tuple[str, str]]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ValueError("no package distributed: pip install 'infcop-lite[dask]'") from None
    refused: Exception | None = None
    try:
        connected = Client(scheduler, timeout="20s", set_as_default=False)
    except (ValueError, OSError) as error:
        refused = OSError(str(error)) if isinstance(error, OSError) else ValueError(str(error))
    if refused is not None:
        # The client that failed still runs a thread. When it is collected, it waits for a lock that
        # the next client holds while it starts; so it is collected now, with all that led to it.
        gc.collect()
        raise refused
    with connected as client:
        sweep = uuid.uuid4().hex
        futures = {
            client.submit(_work, task, key=f"{name}-{sweep}", pure=False, retries=2): name
            for name, task in tasks.items()
        }
        for future in as_completed(futures, loop=client.loop):
            try:
                problem = future.result()
            except CancelledError:
                problem = "the cluster is gone; the same sweep started again goes on"
            except Exception as error:  # of the cluster: too many dead workers, no package there
                problem = " ".join(f"{type(error).__name__}: {error}".split())
            yield futures[future], problem

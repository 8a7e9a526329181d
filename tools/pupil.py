"""The process in which a student's notebook runs: cells in, values out, and no verdict.

It knows no test and no solution. Whoever grades starts it from a server that has loaded what
notebooks import, hands it cells and calls, and ends it. The limits here stop accidents and the
usual tricks; they are no prison. The verdict does not depend on them: it falls where the tests are.
"""

import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import IPython
import IPython.core.interactiveshell
import matplotlib
import numpy as np  # noqa: F401  loaded once, for all notebooks
import scipy.stats  # noqa: F401
import torch
import traitlets.config
from wire import Table

#: Events of Python that a graded notebook may not cause, or not everywhere.
NETWORK = {f"socket.{w}" for w in ("connect", "bind", "sendto", "getaddrinfo", "gethostbyname")}
PROGRAMS = {f"os.{w}" for w in ("system", "exec", "posix_spawn", "spawn", "fork", "forkpty")}
PROGRAMS |= {"subprocess.Popen", "pty.spawn", "os.kill", "os.killpg"}
CHANGES = {f"os.{w}" for w in ("remove", "rename", "rmdir", "mkdir", "link", "symlink", "chmod")}
CHANGES |= {"os.truncate", "shutil.rmtree", "shutil.move"}
LOOKS = {"os.listdir", "os.scandir", "os.chdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def serve(
    connection: Connection,
    scratch: str,
    memory: int,
    closed: Iterable[str],
    without: Iterable[str] = (),
) -> None:
    """Run cells and calls until the connection ends.

    Args:
        connection: where they come from.
        scratch: a folder of its own, the only one that may be written to.
        memory: bytes that it may take, beyond what is loaded.
        closed: folders that it may not read, with tests or the work of others.
        without: modules that it may not import, since answers are to be written without them.
    """
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m) for n, m in enumerate("rww"))
    open_now = [int(path.name) for path in Path("/dev/fd").iterdir()]
    for number in open_now:  # what its server has open is not for it
        if number > 2 and number != connection.fileno():
            with contextlib.suppress(OSError):
                os.close(number)
    os.chdir(scratch)
    os.environ.update(HOME=scratch, IPYTHONDIR=scratch, MPLCONFIGDIR=scratch, TMPDIR=scratch)
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    shell = _shell()
    _limit(memory)
    folders = [os.path.realpath(folder) for folder in closed]
    sys.addaudithook(_guard(os.path.realpath(scratch), folders, set(without)))
    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order = json.loads(connection.recv_bytes())
            if "cell" in order:
                answer = {"error": _run(shell, order["cell"])}
                connection.send_bytes(json.dumps(answer).encode())
            elif "has" in order:
                found = [name for name in order["has"] if name in shell.user_ns]
                connection.send_bytes(json.dumps({"has": found}).encode())
            else:
                _call(shell.user_ns.get(order["call"]), connection)


def _shell() -> Any:
    """What runs cells in Jupyter: magics, `!` and `await` mean what they mean there."""
    config = traitlets.config.Config()
    config.HistoryManager.enabled = False
    return IPython.core.interactiveshell.InteractiveShell.instance(config=config)


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, 2**26))
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc, nothing is limited
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _guard(
    scratch: str, closed: list[str], without: set[str]
) -> Callable[[str, tuple[Any, ...]], None]:
    """What is asked before Python imports, or opens files, connections or programs; it stays."""

    def within(path: Any, folders: Iterable[str]) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return any(real == folder or real.startswith(folder + os.sep) for folder in folders)

    files = {"open", *CHANGES, *LOOKS}

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0].partition(".")[0] in without:
            raise ImportError(f"the answers are to be written without {arguments[0]}")
        if event in NETWORK:
            raise PermissionError("a graded notebook has no network")
        if event in PROGRAMS:
            raise PermissionError("a graded notebook starts and ends no other program")
        path = arguments[0] if event in files and arguments else None
        if not isinstance(path, str | bytes | os.PathLike):
            return
        writes = event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING)
        if within(path, [scratch, os.devnull]):
            return
        if within(path, closed):
            raise PermissionError("this folder is closed to a graded notebook")
        if writes:
            raise PermissionError("a graded notebook writes into its own folder only")

    return guard


def _run(shell: Any, source: str) -> str:
    """Run a cell; return how it failed, or an empty text."""
    try:
        result = shell.run_cell(source, store_history=False)
    except BaseException as failure:  # a cell may raise what it likes
        return _said(failure)
    error = result.error_before_exec or result.error_in_exec
    return _said(error) if error is not None else ""


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())[:300]
    except BaseException:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _call(function: Any, connection: Connection) -> None:
    """Call a function with the arguments that follow; answer with its value or its failure."""

    def back(number: int) -> Callable[..., Any]:
        """What stands here for a function of the grader: calling it asks there."""

        def stub(*args: Any) -> Any:
            inner = Table(stub=back)
            connection.send_bytes(json.dumps({"callback": number}).encode())
            connection.send_bytes(inner.pack(args))
            return inner.unpack(connection.recv_bytes())

        return stub

    table = Table(stub=back)
    args, named = table.unpack(connection.recv_bytes())
    try:
        packed = table.pack(function(*args, **named))
    except BaseException as failure:
        connection.send_bytes(json.dumps({"raised": _said(failure)}).encode())
        return
    connection.send_bytes(json.dumps({"returned": True}).encode())
    connection.send_bytes(packed)

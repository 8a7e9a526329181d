"""Execute the notebooks, then build the book from the executed copies.

    python tools/build.py                          every notebook, then book/_build/html/index.html
    python tools/build.py notebooks/01-x.ipynb     that notebook alone, no book

Each notebook runs in a worker process and kernel of its own, in a scratch folder, and only when
something it depends on has changed. A notebook that fails never replaces its earlier copy.
"""

import argparse
import ast
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import address
import ground
import keys
import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError

from infcop_lite import ledger
from infcop_lite.pool import side_by_side

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "book" / "_build"
EXECUTED = BUILT / "executed" / "notebooks"
STALLED = (CellTimeoutError, RuntimeError)  # the latter of a kernel that dies or does not start
FAILED = ".failed.txt"  # beside the executed copies, until it is read: how an attempt failed
CELL_TIMEOUT_S = {"ci": 120, "laptop": 3600, "paper": None}  # by profile


class NotebookError(Exception):
    """A notebook that cannot be run as asked; its text says which cell and why."""


def execute(
    notebook: Path, *, profile: str = "ci", into: Path = EXECUTED, **parameters: Any
) -> Path:
    """Run one notebook and return its executed copy in `into`; reuse that if nothing changed.

    Raises:
        NotebookError: a parameter is unknown or of the wrong type, or a cell fails.
    """
    parameters = {"profile": profile, **parameters}
    changed = _check_parameters(notebook, parameters)
    target, key = into / notebook.name, keys.key(notebook, parameters)
    if target.exists() and record(target).get("key") == key:
        return target
    started, before = time.perf_counter(), _processor_seconds()
    try:
        executed = _run(notebook, changed, CELL_TIMEOUT_S[profile])
    except papermill.PapermillExecutionError as error:
        where = f"{notebook.name}, cell {error.cell_index + 1}"
        raise NotebookError(f"{where} failed:\n\n{error.source}\n{error}") from None
    except STALLED as error:
        raise NotebookError(f"{notebook.name} stalled, twice: {error}") from None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    executed.metadata["infcop_lite"] = {
        "key": key,
        "parameters": parameters,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(_processor_seconds() - before, 1),
        "peak_memory_mb": peak // (1024**2 if sys.platform == "darwin" else 1024),
    }
    into.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    nbformat.write(executed, unfinished)
    unfinished.replace(target)
    return target


def _processor_seconds() -> float:
    """Return what the kernels that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def record(executed: Path) -> dict[str, Any]:
    """What `execute` noted in an executed copy: key, parameters, what it took."""
    return dict(nbformat.read(executed, as_version=4).metadata.get("infcop_lite", {}))


def _check_parameters(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Compare with the `parameters` cell; return the parameters that differ from it."""
    declared = papermill.inspect_notebook(str(notebook))
    defaults = {name: ast.literal_eval(entry["default"]) for name, entry in declared.items()}
    for name, value in parameters.items():
        if name not in defaults:
            raise NotebookError(f"{notebook.name} has no parameter {name!r}, only {list(defaults)}")
        wanted = type(defaults[name])
        if type(value) is not wanted and (wanted, type(value)) != (float, int):
            raise NotebookError(f"{notebook.name}: {name} is a {wanted.__name__}, not {value!r}")
    if parameters["profile"] not in CELL_TIMEOUT_S:
        raise NotebookError(f"{notebook.name}: profile is one of {list(CELL_TIMEOUT_S)}")
    return {name: value for name, value in parameters.items() if value != defaults[name]}


def _run(notebook: Path, parameters: dict[str, Any], timeout: int | None) -> nbformat.NotebookNode:
    """Run in a scratch folder, this interpreter as the kernel, with one retry on a stall.

    A kernel that dies while it starts, or is slow to, is a stall: kernels that start side by side
    may choose the same port. Errors of cells are none, and are not retried.
    """
    with tempfile.TemporaryDirectory() as scratch:
        kernel = Path(scratch, "jupyter", "kernels", "book", "kernel.json")
        kernel.parent.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=50"]
        spec = {
            "argv": [*argv, "-f", "{connection_file}"],
            "display_name": "",
            "language": "python",
        }
        kernel.write_text(json.dumps(spec))
        first = Path(scratch, "ipython", "profile_default", "startup", "keep_figures.py")
        first.parent.mkdir(parents=True)
        shutil.copyfile(ROOT / "tools" / "keep_figures.py", first)
        # one thread, one result; and nothing of the reader's own settings may reach the book
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.update(JUPYTER_PATH=f"{scratch}/jupyter", IPYTHONDIR=f"{scratch}/ipython")
        # and the library and the tables are this clone's, which the key was made of
        os.environ["PYTHONPATH"] = str(ROOT)
        for name in ("MPLBACKEND", "INFCOP_RESULTS_DIR"):
            os.environ.pop(name, None)
        # what needs a kernel says so, and leads there
        os.environ["INFCOP_STATIC_PAGE"] = address.in_colab(notebook.name)
        options = {"kernel_name": "book", "cwd": scratch, "progress_bar": False}
        limits = {"execution_timeout": timeout, "iopub_timeout": 60, "start_timeout": 120}
        try:
            nb = papermill.execute_notebook(notebook, None, parameters, **options, **limits)
        except STALLED:
            nb = papermill.execute_notebook(notebook, None, parameters, **options, **limits)
    for number, cell in enumerate(nb.cells, 1):  # papermill takes exit() for success
        due = cell.cell_type == "code" and "skip-execution" not in cell.metadata.get("tags", [])
        if due and cell.source.strip() and cell.execution_count is None:
            raise NotebookError(f"{notebook.name}, cell {number} never ran: an earlier one exits")
    del nb.metadata["papermill"]["input_path"], nb.metadata["papermill"]["output_path"]
    return nb


def execute_all(notebooks: Iterable[Path], **options: Any) -> dict[Path, NotebookError | None]:
    """Run notebooks side by side, each in a fresh worker process; what failed, and how."""
    into = options.get("into", EXECUTED)
    tasks = {path.name: partial(_attempt, path, **options) for path in notebooks}
    paths = {path.name: path for path in notebooks}
    outcomes: dict[Path, NotebookError | None] = {}
    for name, problem in side_by_side(tasks, processes=ground.processors(), fresh=True):
        outcomes[paths[name]] = None
        failed = (into / name).with_suffix(FAILED)
        if not problem:
            spent = "{seconds} s, {processor_seconds} s of processor, {peak_memory_mb} MB"
            print(f"{name}: {spent.format(**record(into / name))}", flush=True)
        elif failed.exists():
            outcomes[paths[name]] = NotebookError(failed.read_text("utf-8"))
            failed.unlink()
        else:
            outcomes[paths[name]] = NotebookError(f"{name} did not run: {problem}")
    return {path: outcomes[path] for path in paths.values()}


def _attempt(notebook: Path, into: Path = EXECUTED, **options: Any) -> None:
    """Execute one notebook in a worker, which hands on one line: a failure has more, in a file."""
    failed = (into / notebook.name).with_suffix(FAILED)
    failed.unlink(missing_ok=True)
    try:
        execute(notebook, into=into, **options)
    except NotebookError as error:
        into.mkdir(parents=True, exist_ok=True)
        failed.write_text(str(error), "utf-8")
        raise


def notebooks(root: Path = ROOT) -> list[Path]:
    """The book's notebooks, in order."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def html(root: Path = ROOT) -> None:
    """Build the book from nothing (a second look at old doctrees would hide their warnings)."""
    shutil.rmtree(root / "book" / "_build" / ".doctrees", ignore_errors=True)
    shutil.rmtree(root / "book" / "_build" / "html", ignore_errors=True)
    where = ["--toc", "book/_toc.yml", "--path-output", "book"]
    strict = ["-W", "-n", "--keep-going", "-q"]
    # not its script, whose first line names the place where the environment was made
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", "."]
    subprocess.run([*command, *where, *strict], cwd=root, check=True)


def main() -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Execute the notebooks and build the book.")
    parser.add_argument("--profile", choices=list(CELL_TIMEOUT_S), default="ci")
    parser.add_argument("notebooks", nargs="*", type=Path, help="run these alone, build no book")
    arguments = parser.parse_args()
    chosen = [path.resolve() for path in arguments.notebooks]
    try:
        ground.library()
    except ground.GroundError as error:
        print(f"cannot build: {error}", file=sys.stderr)
        return 1
    if chosen:
        return _run_all(chosen, arguments.profile)
    BUILT.mkdir(parents=True, exist_ok=True)
    try:
        with ledger.lock(BUILT):  # two builds would take away one another's pages
            return _run_all(notebooks(), arguments.profile) or _write()
    except BlockingIOError as error:
        print(f"cannot build: {error}", file=sys.stderr)
        return 1


def _run_all(chosen: list[Path], profile: str) -> int:
    """Execute notebooks; say what failed, and return the exit code."""
    outcomes = execute_all(chosen, profile=profile)
    if errors := [str(error) for error in outcomes.values() if error]:
        print(*errors, sep="\n\n", file=sys.stderr)
        return 1
    return 0


def _write() -> int:
    """Build the pages, and return the exit code."""
    try:
        html()
    except subprocess.CalledProcessError as error:
        return error.returncode
    print("the book: book/_build/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())

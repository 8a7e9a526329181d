"""One notebook alone, as a hosted notebook service runs it: it has to bring what it needs.

The notebook is the only file. Its virtual environment sees torch and its like but not this library,
which the notebook's second cell has to install; the address in that cell leads to a copy of the
working tree.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

import address
import nbformat
from build import ROOT
from install_cell import reads_results
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

CELL_TIMEOUT_S = 900

COME_BACK = {
    True: "from infcop_lite import evidence\n\nassert evidence.tables()",
    False: "import infcop_lite",
}
LIST = """\
import importlib.metadata, json
found = [*importlib.metadata.distributions()]
found.reverse()  # of two versions the first on the path is the one that is imported
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in found}))
"""


class NotAlone(Exception):
    """A notebook that does not run alone; its text says how."""


def overlay(site_packages: Path, folder: Path) -> Path:
    """Make a virtual environment on top of the packages of another; return its interpreter."""
    venv.create(folder)
    own = next(folder.glob("lib/python*/site-packages"))
    (own / "below.pth").write_text(f"{site_packages}\n", "utf-8")
    return folder / "bin" / "python"


def repository(into: Path, *wanted: str, root: Path = ROOT) -> Path:
    """Copy files of the working tree, what an install cell needs unless named, into a new git."""
    wanted = wanted or (
        "infcop_lite",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "experiments/error_rate.csv",
        "experiments/one_layer.csv",
        "experiments/results",
    )
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    found = subprocess.run([*listing, *wanted], cwd=root, check=True, capture_output=True)
    for name in filter(None, found.stdout.decode().split("\0")):
        if (root / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, into / name)
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "-q"], ["add", "--all"], [*author, "commit", "-q", "-m", "a copy"]):
        subprocess.run(["git", *words], cwd=into, check=True)
    return into


def variables(folder: Path, source: Path, slug: str, offline: bool) -> dict[str, str]:
    """A stranger's environment variables: no data; git finds `source` at our address alone."""
    (folder / "gitconfig").write_text(
        f'[url "file://{source}"]\n\tinsteadOf = https://github.com/{slug}\n'
        "[safe]\n\tdirectory = *\n"
        '[protocol]\n\tallow = never\n[protocol "file"]\n\tallow = always\n',
        "utf-8",
    )
    ours = re.compile("INFCOP_.*|PYTHON.*|MPLBACKEND|VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    env |= {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "OMP_NUM_THREADS": "1"}
    env |= {"IPYTHONDIR": str(folder / "ipython"), "INFCOP_DATA_DIR": str(folder / "data")}
    if offline:  # to pip, 0 is "no build isolation": what builds has to be there already
        env |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    return env


def run(notebook: nbformat.NotebookNode, python: Path, folder: Path, env: dict[str, str]) -> None:
    """Run all cells, also those that the book leaves out, in a new kernel."""
    argv = [str(python), "-m", "ipykernel_launcher", "--log-level=40", "-f", "{connection_file}"]
    spec = folder / "kernels" / "alone" / "kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    specs = KernelSpecManager(kernel_dirs=[str(spec.parent.parent)], ensure_native_kernel=False)
    kernel = AsyncKernelManager(kernel_name="alone", kernel_spec_manager=specs)
    options = {"timeout": CELL_TIMEOUT_S, "startup_timeout": 120, "skip_cells_with_tag": ""}
    try:
        client = NotebookClient(notebook, km=kernel, **options)
        client.execute(cwd=str(folder / "content"), env=env, cleanup_kc=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        outputs = [output.get("text", "") for output in notebook.cells[1].get("outputs", [])]
        raise NotAlone(f"{error}\nIts install cell said: {''.join(outputs) or 'nothing'}") from None


def installed(python: Path, env: dict[str, str]) -> dict[str, str]:
    """The versions of all packages that an interpreter sees, by name."""
    found = subprocess.run([python, "-I", "-c", LIST], env=env, check=True, capture_output=True)
    return dict(json.loads(found.stdout))


def files(python: Path) -> dict[Path, int]:
    """When each file of a virtual environment was last written, but for bytecode."""
    everything = python.parent.parent.rglob("*")
    kept = [path for path in everything if path.is_file() and path.suffix != ".pyc"]
    return {path: path.stat().st_mtime_ns for path in kept}


def check(path: Path, site_packages: Path, source: Path, *, offline: bool = False) -> None:
    """Do with a notebook what its reader does: run it, and come back later to a new kernel.

    Raises:
        NotAlone: a cell fails, the install cell changes any package but this library, or it
            installs again what is there.
    """
    notebook = nbformat.read(path, as_version=4)
    later = copy.deepcopy(notebook)
    later.cells[2:] = [new_code_cell(COME_BACK[reads_results(notebook)])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "content").mkdir()
        env = variables(folder, source, address.configured()[0], offline)
        python = overlay(site_packages, folder / "venv")
        before = installed(python, env)
        run(notebook, python, folder, env)
        after = installed(python, env)
        if set(after) != {"infcop-lite", *before} or not before.items() <= after.items():
            changed = sorted(name for name, _ in before.items() ^ after.items())
            raise NotAlone(f"its install cell changed {', '.join(changed) or 'nothing'}")
        written = files(python)
        run(later, python, folder, env)
        if files(python) != written:
            raise NotAlone("its install cell installed again what was there")

"""Open every notebook alone, with the oldest packages and with the newest: `make colab-check`.

    python tools/colab.py                every notebook, with both
    python tools/colab.py oldest 03 11   these two, with the oldest that pyproject.toml allows

What passed is run again only when it, the library or the results have changed.
"""

import argparse
import hashlib
import platform
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

import alone
from build import ROOT, notebooks
from install_cell import EXTRAS

WORK = ROOT / "book" / "_build" / "colab"
ENVIRONMENTS = ("oldest", "newest")


def packages(which: str, root: Path = ROOT) -> list[str]:
    """What there is before a notebook runs: dependencies, old or new, extras, and a kernel."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    ranges = [*project["dependencies"], *extras["widgets"]]
    ranges += [line for name in EXTRAS for line in extras.get(name, [])]
    return [*(r.replace(">=", "==") if which == "oldest" else r for r in ranges), "ipykernel"]


def environment(which: str) -> Path:
    """Make, once, the environment that the service brings; return its site-packages."""
    folder, wanted = WORK / which / "venv", packages(which)
    stamp, made_of = folder / "installed.txt", [platform.python_version(), *wanted]
    if not stamp.exists() or stamp.read_text("utf-8").splitlines() != made_of:
        print(f"{which}: installing {', '.join(wanted)}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", *wanted], check=True)
        stamp.write_text("\n".join(made_of), "utf-8")
    return next(folder.glob("lib/python*/site-packages"))


def key(notebook: Path, source: Path) -> str:
    """Hash what the outcome depends on, but for the packages."""
    used = [
        path for path in sorted(source.rglob("*")) if path.is_file() and ".git" not in path.parts
    ]
    digest = hashlib.sha256()
    for path in [notebook, Path(alone.__file__), *used]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def main(words: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Open every notebook alone.")
    parser.add_argument(
        "chosen", nargs="*", metavar="oldest|newest|NN", help="all of them, unless given"
    )
    chosen = parser.parse_args(words).chosen
    names = {path.name[:2]: path for path in notebooks()}
    if unknown := sorted({*chosen} - {*ENVIRONMENTS, *names}):
        parser.error(f"no {unknown[0]!r}, only {', '.join([*ENVIRONMENTS, *names])}")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        source = alone.repository(Path(scratch))
        for which in [w for w in ENVIRONMENTS if w in chosen] or ENVIRONMENTS:
            site_packages = environment(which)
            for path in [p for name, p in names.items() if name in chosen] or names.values():
                failed += not report(which, path, site_packages, source)
    return int(failed > 0)


def report(which: str, path: Path, site_packages: Path, source: Path) -> bool:
    """Check a notebook unless it passed before; print one line, and why it failed."""
    passed, now = WORK / which / f"{path.stem}.passed", key(path, source)
    if passed.exists() and passed.read_text("utf-8") == now:
        print(f"{which} {path.stem}: passed before", flush=True)
        return True
    started = time.perf_counter()
    try:
        alone.check(path, site_packages, source)
    except alone.NotAlone as error:
        print(f"{which} {path.stem}: FAILED\n{error}", flush=True)
        return False
    passed.write_text(now, "utf-8")
    print(f"{which} {path.stem}: passed, {time.perf_counter() - started:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())

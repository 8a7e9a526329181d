"""The ground that a build stands on, seen before minutes of work are spent: one line for a failure.

.venv/bin/python tools/ground.py    environment, library, data, disk, a kernel that starts; seconds
"""

import argparse
import importlib.metadata
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parent.parent
NEEDED_MB = 1000  # what book, executed copies and slides take, twice
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container


class GroundError(Exception):
    """Why nothing can be built here, in one line that also says what to do."""


def environment() -> None:
    """See that what is installed is what requirements.txt pins."""
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        pin = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([^\s;+]+)", line)
        if pin is None:
            continue
        try:
            found = importlib.metadata.version(pin[1]).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != pin[2]:
            raise GroundError(
                f"{pin[1]} is {found}, not {pin[2]}: make in this clone installs it"
                " (rm .venv/.installed first)"
            )


def library() -> None:
    """See that the library which would be imported is the one of this clone."""
    spec = importlib.util.find_spec("infcop_lite")  # an import would run the wrong one
    if spec is None or not spec.origin or not Path(spec.origin).resolve().is_relative_to(ROOT):
        found = spec and spec.origin and Path(spec.origin).parent
        raise GroundError(
            f"the library would be {found or 'none'}, not that of {ROOT}: call make in this clone"
        )


def data() -> None:
    """See that a folder of data that was named is there."""
    from infcop_lite.source import where  # after `library`

    if os.environ.get("INFCOP_DATA_DIR") and not where().is_dir():
        raise GroundError(f"INFCOP_DATA_DIR names {where()}, which is no folder: correct or unset")


def disk(needed_mb: int = NEEDED_MB) -> None:
    """See that there is room for what is built, and that it may be written."""
    if not os.access(ROOT / "book", os.W_OK):
        raise GroundError(f"{ROOT / 'book'} cannot be written to: build in a clone of your own")
    free = shutil.disk_usage(ROOT).free // 10**6
    if free < needed_mb:
        raise GroundError(f"{free} MB are free on the disk of {ROOT}, {needed_mb} are needed")


def kernel(timeout: float = 60) -> None:
    """See that a kernel starts; one that does not is tried once more, as they may share a port."""
    for attempt in (1, 2):
        manager = KernelManager(kernel_name="python3")
        try:
            manager.start_kernel(stderr=subprocess.DEVNULL)
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=timeout)
            client.stop_channels()
            return
        except RuntimeError as error:
            if attempt == 2:
                raise GroundError(f"no kernel starts: {' '.join(str(error).split())}") from None
        finally:
            manager.shutdown_kernel(now=True)


CHECKS: tuple[Callable[[], None], ...] = (environment, library, data, disk, kernel)


def check() -> None:
    """See all of it.

    Raises:
        GroundError: the first thing that is not as it should be.
    """
    for look in CHECKS:
        look()


def processors(quota: Path = QUOTA) -> int:
    """Return how many processors this process may use, not how many the machine has."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text("utf-8").split()
        return max(1, min(mine, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):  # no container, or "max": no quota
        return mine


def main() -> int:
    argparse.ArgumentParser(description="See that the book can be built here.").parse_args()
    try:
        check()
    except GroundError as error:
        print(f"cannot build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Node, without which these tests are skipped; where the browser must run, it must run as well."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import build
import pytest

ENGINE = build.ROOT / "book" / "_static" / "playground"


def node(script: str, *arguments: object, **given: object) -> str:
    """Return what a script of this folder prints when it reads these values as JSON."""
    program = shutil.which("node")
    if program is None:
        refuse = pytest.fail if os.environ.get("INFCOP_NEED_BROWSER") else pytest.skip
        refuse("no node: install the Debian package nodejs")
    command = [program, Path(__file__).parent / script, *arguments]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

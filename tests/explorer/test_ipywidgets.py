"""The knobs with the ipywidgets that Colab has, and with the newest; each installed in scratch."""

import os
import subprocess
import sys

import build
import pytest

WITH = {
    "7.7.1": ["ipywidgets==7.7.1", "widgetsnbextension~=3.6.0", "ipython_genutils"],
    "8": ["ipywidgets~=8.1", "widgetsnbextension~=4.0"],
}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", WITH)
def test_the_knobs_turn_with_that_version(version, tmp_path):
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path]
    installed = subprocess.run([*install, *WITH[version]], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"no ipywidgets {version} here: {installed.stderr.splitlines()[-1]}")
    folders = [str(tmp_path), str(build.ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    show = [sys.executable, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    found = subprocess.run(show, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(version)
    tests = [sys.executable, "-m", "pytest", "-q", "tests/explorer/test_knobs.py"]
    done = subprocess.run(tests, cwd=build.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

"""The notebooks are executed and the book is built once per session, by what `make book` calls."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import build
import pytest

Outcomes = Mapping[Path, build.NotebookError | None]


@pytest.fixture(scope="session")
def outcomes() -> Outcomes:
    """Each notebook of the book, run in the `ci` profile: None, or how it failed."""
    return build.execute_all(build.notebooks(), profile="ci")


@pytest.fixture(scope="session")
def site(outcomes: Outcomes) -> Path:
    """The folder of the built book."""
    if failed := [notebook.name for notebook, error in outcomes.items() if error]:
        pytest.fail(f"no book without {failed}", pytrace=False)
    try:
        build.html()
    except subprocess.CalledProcessError:
        pytest.fail(
            "the book does not build without warnings: `make book` shows them", pytrace=False
        )
    return build.ROOT / "book" / "_build" / "html"

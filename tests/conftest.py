"""The notebooks are executed and the book is built once per session, by what `make book` calls."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Before anything loads torch: on a busy machine threads that wait for one another shall sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import build
import pytest
from xdist.scheduler import LoadScopeScheduling

NEED_THE_BOOK = (
    "tests/browser/",
    *(f"tests/test_{name}.py" for name in ("book", "extensions", "notebooks")),
)
Outcomes = Mapping[Path, build.NotebookError | None]


class OneBook(LoadScopeScheduling):
    """Files side by side; all that need the executed notebooks in one process, which begins.

    Marks of xdist_group would say the same, but groups fall apart with pytest 9.2 and xdist 3.8.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "book" if file.startswith(NEED_THE_BOOK) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneBook:
    return OneBook(config, log)


@pytest.fixture(scope="session")
def need_the_book() -> tuple[str, ...]:
    """How the paths of the tests begin that `OneBook` keeps together."""
    return NEED_THE_BOOK


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

"""Grade one notebook with pytest: python -m pytest FOLDER --notebook FILE.ipynb

`make assignments` puts this file beside the tests, as their conftest.py. The notebook runs in a
process of its own, with limits; the tests, and the verdict, are here. An argument of a test is what
the notebook calls by that name.
"""

from pathlib import Path

import pytest
from submission import Limits, Running, not_needed, read


class Grading:
    """What hands the functions of a notebook to the tests, and keeps what came of them."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.seconds: dict[str, float] = {}
        self.verdicts: dict[str, str] = {}  # test -> why it failed, empty if it passed

    def pytest_configure(self, config: pytest.Config) -> None:
        """Tell pytest of the marker."""
        config.addinivalue_line("markers", "points(number): what a test is worth")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test what it asks for by name."""
        for name, function in self.running.functions(metafunc.fixturenames).items():
            metafunc.parametrize(name, [function], ids=[name])

    def pytest_runtest_makereport(self, item: pytest.Function, call: pytest.CallInfo[None]) -> None:
        """Keep why a test failed, and write its points into its report."""
        if call.when == "call":
            item.user_properties += [("points", m.args[0]) for m in item.iter_markers("points")]
            self.seconds[item.originalname] = call.duration
            why = call.excinfo.value if call.excinfo else None
            self.verdicts[item.originalname] = told(why) if why else ""


def told(failure: BaseException) -> str:
    """Return what a failure says, with its kind unless that is the usual one."""
    kind = "" if isinstance(failure, AssertionError) else f"{type(failure).__name__}: "
    return f"{kind}{failure}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --notebook."""
    parser.addoption("--notebook", type=Path, help="the notebook to grade")


def pytest_configure(config: pytest.Config) -> None:
    """Read the notebook, and make ready to run it."""
    path = config.getoption("--notebook")
    if path is None:
        raise pytest.UsageError("say what to grade: --notebook FILE.ipynb")
    try:
        notebook = read(path)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"cannot grade {path}: {error}") from None
    folder = Path(__file__).parent.parent
    running = Running(notebook, Limits(), closed=[folder], without=not_needed(folder))
    running.__enter__()
    config.add_cleanup(lambda: running.__exit__())
    config.pluginmanager.register(Grading(running))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up the points."""
    points = {
        outcome: sum(value for report in reports for _, value in report.user_properties)
        for outcome in ("passed", "failed")
        if (reports := terminalreporter.getreports(outcome)) is not None
    }
    possible = points["passed"] + points["failed"]
    terminalreporter.write_line(f"{points['passed']:.4g} of {possible:.4g} points")

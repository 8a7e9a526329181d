"""What is released: what `make dist` holds, that it installs and runs, and the papers with it."""

import csv
import datetime
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import alone
import build
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from test_colab import everything_but_us

ROOT = build.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
pytestmark = pytest.mark.xdist_group("release")  # one wheel for all
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


# --- wheel and sdist ---


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone of the working tree, whose environment counts as made."""
    root = alone.repository(tmp_path_factory.mktemp("clone"), ".")
    (root / ".venv").mkdir()
    (root / ".venv" / ".installed").touch()
    return root


@pytest.fixture(scope="module")
def dist(tree):
    """The wheel and the sdist that `make dist` leaves."""
    make = ["make", "dist", f"BIN={Path(sys.executable).parent}"]
    subprocess.run(make, cwd=tree, check=True, capture_output=True)
    (wheel,), (sdist,) = tree.glob("dist/*.whl"), tree.glob("dist/*.tar.gz")
    return wheel, sdist


def contents(wheel):
    """The files of a wheel with their hashes, from its own record."""
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
        rows = csv.reader(io.StringIO(archive.read(record).decode("utf-8")))
        return {name: digest for name, digest, _ in rows}


@pytest.mark.slow
def test_the_wheel_holds_every_module_the_subset_of_mnist_and_licences_and_nothing_else(dist):
    wheel, _ = dist
    assert wheel.name == f"infcop_lite-{VERSION}-py3-none-any.whl"
    library = ROOT / "infcop_lite"
    modules, data = library.rglob("*.py"), library.glob("mnist_subset.*")
    wanted = {str(path.relative_to(ROOT)) for path in (*modules, *data)}
    held = set(contents(wheel))
    ours = {name for name in held if not name.startswith(f"infcop_lite-{VERSION}.dist-info/")}
    assert ours == {*wanted, "infcop_lite/py.typed"}
    assert {f"infcop_lite/mnist_subset.{kind}" for kind in ("npz", "txt")} <= ours
    assert f"infcop_lite-{VERSION}.dist-info/licenses/LICENSE" in held


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_as_the_tree(dist, tree, tmp_path):
    wheel, sdist = dist  # `python -m build` made this wheel from that sdist
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff"):
        assert f"infcop_lite-{VERSION}/{name}" in names
    assert not [name for name in names if re.search(r"/(tests|book|notebooks)/", name)]
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([sys.executable, *words], cwd=tree, check=True, capture_output=True)
    (direct,) = tmp_path.glob("*.whl")
    assert contents(direct) == contents(wheel)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", [0, 1], ids=["wheel", "sdist"])
def test_what_is_released_installs_in_a_clean_environment_and_runs_there(dist, which, tmp_path):
    (tmp_path / "below").mkdir()
    python = alone.overlay(everything_but_us(tmp_path / "below"), tmp_path / "venv")
    ours = re.compile("INFCOP_.*|PYTHON.*")
    env = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    env |= {"INFCOP_DATA_DIR": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}

    def run(*words):
        done = subprocess.run(
            [python, *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    offline = ("--no-index", "--no-build-isolation", "--quiet")
    run("-m", "pip", "install", *offline, dist[which])
    where, version = run("-c", "import infcop_lite as i; print(i.__file__, i.__version__)").split()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert version == VERSION
    sizes = "--subset 200 --batch-size 20 --levels 2 --epochs 1 --warmup-epochs 1 --probe-size 50"
    said = run("-m", "infcop_lite", "run", *sizes.split(), "--out", "out")
    assert said.split()[:2] == ["level", "density"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["levels"] == 2


def test_dist_is_never_committed():
    ignored = ["git", "check-ignore", "--quiet", "dist/infcop_lite.whl"]
    if not (ROOT / ".git").exists():
        pytest.skip("no git here")
    assert subprocess.run(ignored, cwd=ROOT).returncode == 0


# --- version and change log ---


def test_the_change_log_begins_with_the_version_that_would_be_released():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"(?m)^## \[(\d\S*)\] - (\S+)$", text)
    assert releases[0][0] == VERSION
    versions = [Version(version) for version, _ in releases]
    assert versions == sorted(versions, reverse=True)
    for version, day in releases:
        datetime.date.fromisoformat(day)
        assert f"\n[{version}]: " in text, "each version links its release"
    kinds = set(re.findall(r"(?m)^### (.+)$", text))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_library_says_the_version_of_its_package():
    text = (ROOT / "infcop_lite" / "__init__.py").read_text("utf-8")
    assert re.search(r'__version__ = "(.+)"', text)[1] == VERSION


def test_the_citation_names_the_release_and_its_day():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{citation['version']}] - {citation['date-released']}" in log


def test_a_tag_that_is_not_the_version_is_not_released():
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML takes `on` for true
    job = workflow["jobs"]["dist"]
    assert workflow["jobs"]["release"]["needs"] == "dist"
    (compare,) = [step["run"] for step in job["steps"] if "version" in step.get("name", "")]
    for tag, code in ((f"v{VERSION}", 0), (f"v{VERSION}1", 1), ("v", 1)):
        env = os.environ | {"GITHUB_REF_NAME": tag}
        assert subprocess.run(["bash", "-ec", compare], cwd=ROOT, env=env).returncode == code
    assert "make dist" in [step.get("run") for step in job["steps"]]


def test_a_tag_is_published_on_pypi_without_a_token_after_what_pypi_would_refuse_was_checked():
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]
    runs = [step.get("run", "") for step in jobs["dist"]["steps"]]
    checks = [n for n, run in enumerate(runs) if "twine check --strict dist/*" in run]
    assert checks[0] > runs.index("make dist")
    publish = jobs["pypi"]
    assert (publish["needs"], publish["environment"]) == ("dist", "pypi")
    assert publish["permissions"] == {"id-token": "write"}
    (step,) = [s for s in publish["steps"] if "pypi-publish" in s["uses"]]
    assert "with" not in step, "a password or a token"


@pytest.mark.slow
def test_pypi_would_take_what_make_dist_leaves(dist):
    pytest.importorskip("twine")
    words = [sys.executable, "-m", "twine", "check", "--strict", *dist]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}


def steps_of(job):
    return [(step.get("uses", ""), step.get("run", "")) for step in job["steps"]]


def may_write(permissions):
    return any(level == "write" for level in (permissions or {}).values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit_and_nothing_may_write_that_installs_or_runs_ours(name):
    workflow = WORKFLOWS[name]
    assert not may_write(workflow["permissions"]), "a job asks for what it needs, no workflow does"
    for job in workflow["jobs"].values():
        for uses, run in steps_of(job):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}|", uses), uses
            if may_write(job.get("permissions")):
                assert not re.search(r"pip|make|python|\.ci/", run)
                assert "checkout" not in uses


def test_a_permission_to_write_is_found():
    assert may_write({"contents": "write"})
    assert not may_write({"contents": "read"})


# --- places to run it: Binder, a development container ---


def test_binder_installs_the_clone_itself_with_the_pinned_versions():
    lines = (ROOT / ".binder" / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert "-e .[widgets]" in wanted, "in place: chapters read the results beside the library"
    (pins,) = [line.split()[1] for line in wanted if line.startswith("-c")]
    assert (ROOT / ".binder" / pins).resolve() == ROOT / "requirements.txt"
    python = (ROOT / ".binder" / "runtime.txt").read_text("utf-8").strip()
    assert re.fullmatch(r"python-3\.\d+", python)
    assert (
        Version(python.removeprefix("python-"))
        in Requirement(f"python{PROJECT['requires-python']}").specifier
    )


def test_the_development_container_sets_itself_up_by_make():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    targets = re.findall(r"make (\S+)", settings["postCreateCommand"])
    rules = re.findall(r"(?m)^([\w./-]+):", (ROOT / "Makefile").read_text("utf-8"))
    assert targets
    assert set(targets) <= set(rules)
    interpreter = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${containerWorkspaceFolder}/.venv/bin/python"


# --- errata ---


def test_there_is_a_form_for_each_kind_of_error():
    assert [path.stem for path in FORMS] == ["error-in-code", "error-in-formula", "error-in-number"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_where_what_it_says_what_it_should_say_and_why(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    assert {"name", "description", "title", "labels", "body"} == set(form)
    fields = {field["id"]: field for field in form["body"] if field["type"] != "markdown"}
    assert list(fields)[:4] == ["page", "says", "should-say", "evidence"]
    for field in fields.values():
        assert field["type"] in {"input", "textarea", "dropdown"}
        assert field["attributes"]["label"]
    required = [name for name, field in fields.items() if field["validations"]["required"]]
    assert set(required) >= {"page", "says", "should-say", "evidence"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_the_files_that_a_form_names_exist(path):
    named = re.findall(
        r"`((?:book|notebooks|tests|infcop_lite)/[\w./-]+)`", path.read_text("utf-8")
    )
    assert named
    assert all((ROOT / name).exists() for name in named)

"""The repository's address is held in one place, and everything else agrees with it."""

import re
import shutil

import address
import pytest


@pytest.mark.parametrize(
    "path", address.holders(), ids=lambda path: str(path.relative_to(address.ROOT))
)
def test_a_file_names_no_other_address(path):
    text = path.read_text("utf-8")
    slug, branch = address.configured()
    owner, name = slug.split("/")
    for link in re.findall(r"colab\.research\.google\.com/github/(\S+?/blob/[^/\s]+)/", text):
        assert link == f"{slug}/blob/{branch}"
    for source in re.findall(r"git\+https://github\.com/([\w./-]+)", text):
        assert source == slug
    for ours in re.findall(r"github\.com/([\w.-]+/infcop[\w-]*)", text):
        assert ours == slug
    for pages in re.findall(r"[\w-]+\.github\.io/infcop[\w-]*", text):
        assert pages == f"{owner}.github.io/{name}"


def test_the_project_names_the_configured_address():
    assert address.written() == address.configured()[0]


def test_links_into_the_repository_lead_to_files():
    slug, branch = address.configured()
    for path in address.holders():
        pattern = rf"{re.escape(slug)}/(?:blob|tree)/{branch}/([\w./-]+)"
        for target in re.findall(pattern, path.read_text("utf-8")):
            assert (address.ROOT / target).exists(), f"{path.name} links to {target}"


def test_make_address_rewrites_every_file_and_leaves_other_repositories_alone(tmp_path, capsys):
    for path in [*address.holders(), address.ROOT / "_config.yml"]:
        copy = tmp_path / path.relative_to(address.ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "other.md").write_text("https://github.com/Sekeh-Lab/InfCoP and infcop_lite")
    old = address.configured()[0]
    settings = (tmp_path / "_config.yml").read_text("utf-8")
    settings = settings.replace(old, "someone/a-book").replace("branch: main", "branch: trunk")
    (tmp_path / "_config.yml").write_text(settings)
    address.main(tmp_path)
    assert "pyproject.toml" in capsys.readouterr().out
    texts = {path.name: path.read_text("utf-8") for path in address.holders(tmp_path)}
    assert texts.pop("other.md") == "https://github.com/Sekeh-Lab/InfCoP and infcop_lite"
    assert not [name for name, text in texts.items() if old in text]
    notebooks = [text for name, text in texts.items() if name.endswith(".ipynb")]
    assert notebooks
    assert all("/github/someone/a-book/blob/trunk/notebooks/" in text for text in notebooks)
    assert all("git+https://github.com/someone/a-book" in text for text in notebooks)
    assert "https://someone.github.io/a-book/" in texts["pyproject.toml"]

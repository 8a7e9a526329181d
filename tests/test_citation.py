"""What one is asked to cite is the same everywhere: CITATION.cff, README, the book's first page."""

import re
import tomllib

import build
import pytest
import yaml

CITATION = yaml.safe_load((build.ROOT / "CITATION.cff").read_text("utf-8"))
PAPER, BOOK = CITATION["references"]


def bibtex(path, key):
    """The fields of an entry in a text, without braces."""
    text = (build.ROOT / path).read_text("utf-8")
    entry = re.search(rf"@\w+\{{{key},(.*?)\n *\}}", text, re.DOTALL)[1]
    fields = re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", entry)
    return {name: re.sub(r"[{}]", "", value) for name, value in fields}


@pytest.mark.parametrize("path", ["README.md", "book/intro.md"])
def test_the_paper_is_cited_alike(path):
    entry = bibtex(path, "gharatappeh2025")
    names = [f"{author['family-names']}, {author['given-names']}" for author in PAPER["authors"]]
    assert entry["author"] == " and ".join(names)
    assert entry["title"] == PAPER["title"]
    assert entry["year"] == str(PAPER["year"])
    assert f"arXiv:{entry['eprint']}" == PAPER["identifiers"][0]["value"]


def test_the_book_is_cited_as_in_its_citation_file():
    entry = bibtex("book/intro.md", "infcop_lite")
    assert entry["author"] == CITATION["authors"][0]["name"]
    assert entry["title"] == CITATION["title"]
    assert entry["version"] == CITATION["version"]
    assert entry["url"] == CITATION["url"]
    config = yaml.safe_load((build.ROOT / "_config.yml").read_text("utf-8"))
    assert entry["year"] == config["copyright"] == str(BOOK["year"])
    assert (BOOK["title"], BOOK["url"]) == (config["title"], CITATION["url"])
    assert BOOK["authors"] == CITATION["authors"]


def test_the_cited_version_is_that_of_the_library():
    project = tomllib.loads((build.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert CITATION["version"] == project["version"]


def test_the_licences_are_said_alike_wherever_a_reader_looks():
    texts = {name: (build.ROOT / name).read_text("utf-8") for name in ("LICENSE", "LICENSE-text")}
    assert texts["LICENSE"].startswith("MIT License")
    assert texts["LICENSE-text"].startswith("Creative Commons Attribution 4.0 International")
    assert "Section 8" in texts["LICENSE-text"]
    config = yaml.safe_load((build.ROOT / "_config.yml").read_text("utf-8"))
    footer = config["sphinx"]["config"]["html_theme_options"]["extra_footer"]
    readme = (build.ROOT / "README.md").read_text("utf-8")
    assert "[LICENSE](LICENSE)" in readme
    assert "[LICENSE-text](LICENSE-text)" in readme
    for text in (footer, readme):
        assert "CC BY 4.0" in text
        assert re.search(r"Code: MIT\b", text)

"""The contents number the chapters: files, links and mentions follow one line that moves."""

import re
import subprocess

import pytest
import renumber

CONTENTS = """\
parts:
  - caption: The method
    chapters:
      - file: book/playground
      - file: notebooks/01-why
      - file: notebooks/03-mnist
      - file: notebooks/02-how
"""
BEFORE = {
    "book/_toc.yml": CONTENTS,
    "book/redirects.txt": "mnist notebooks/03-mnist\n",
    "book/intro.md": "[Chapter 2](../notebooks/02-how.ipynb#a), chapters 1, 2 and 3; chapter 12.\n",
    "notebooks/01-why.ipynb": '"next: chapters 1 to 3"\n',
    "notebooks/02-how.ipynb": '"after [chapter 1](01-why.ipynb)"\n',
    "notebooks/03-mnist.ipynb": '"see `03-mnist-small`, and chapter\\n", "3"\n',
    "course/02-how.wrong.md": "## chapter 2\n",
    "CHANGELOG.md": "## Unreleased\nChapter 3\n## [0.1.0]\nChapter 3\n",
    "experiments/protocol.md": "chapter 3\n",
}


def write(root, contents):
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.fixture
def house(tmp_path):
    write(tmp_path, BEFORE)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_files_links_and_mentions_follow_the_contents(house):
    assert renumber.main(house) == 0
    read = {name: (house / name).read_text("utf-8") for name in renumber.tracked(house)}
    chapters = ["01-why", "02-mnist", "03-how"]
    assert renumber.in_order(house) == chapters
    assert read["book/intro.md"] == (
        "[Chapter 3](../notebooks/03-how.ipynb#a), chapters 1, 2 and 3; chapter 12.\n"
    )
    assert read["notebooks/03-how.ipynb"] == BEFORE["notebooks/02-how.ipynb"]
    assert "`03-mnist-small`" in read["notebooks/02-mnist.ipynb"]
    assert read["course/03-how.wrong.md"] == "## chapter 3\n"
    assert read["CHANGELOG.md"] == "## Unreleased\nChapter 2\n## [0.1.0]\nChapter 3\n"
    assert read["experiments/protocol.md"] == "chapter 3\n"


def test_an_appendix_is_a_chapter_and_follows_too():
    """It kept its old number before an address that had the new one."""
    names = {"16-what": "17-what", "18-how": "19-how"}
    text = "[Appendix 16](16-what.ipynb) and appendices 16 and 18"
    assert renumber.follow(text, names) == "[Appendix 17](17-what.ipynb) and appendices 17 and 19"


def test_a_link_on_a_number_alone_follows_its_address():
    names = {"03-mnist": "02-mnist"}
    text = "| [3](../notebooks/03-mnist.ipynb#a) | [1](01-why.ipynb) | [3](other.md) |"
    now = "| [2](../notebooks/02-mnist.ipynb#a) | [1](01-why.ipynb) | [3](other.md) |"
    assert renumber.follow(text, names) == now


def test_the_chapters_of_the_book_have_the_numbers_of_the_contents():
    assert renumber.renamed(renumber.in_order()) == {}


def test_a_link_that_names_a_number_leads_to_the_chapter_of_that_number():
    """Two links on bare numbers said 10 and 15 and led to chapters 11 and 16."""
    names = r"\[(?:[Cc]hapter |[Aa]ppendix )?(\d+)\]\([^)\s]*?\b(\d\d)-[\w-]+\.ipynb[^)\s]*\)"
    links = [
        (name, *link)
        for name in renumber.tracked(renumber.ROOT)
        if name.startswith(("notebooks/", "book/", "course/", "README"))
        and name.endswith((".md", ".ipynb"))
        for link in re.findall(names, (renumber.ROOT / name).read_text("utf-8"))
    ]
    assert len(links) > 100
    assert [link for link in links if int(link[1]) != int(link[2])] == []


def test_old_addresses_lead_to_the_new_ones(house):
    renumber.main(house)
    assert (house / "book" / "redirects.txt").read_text("utf-8").splitlines() == [
        "mnist notebooks/02-mnist",
        "notebooks/03-mnist notebooks/02-mnist",
        "notebooks/02-how notebooks/03-how",
    ]


def test_a_second_time_nothing_is_left_to_do(house, capsys):
    renumber.main(house)
    before = {name: (house / name).read_bytes() for name in renumber.tracked(house)}
    assert renumber.main(house) == 0
    assert {name: (house / name).read_bytes() for name in renumber.tracked(house)} == before
    assert "0 chapters renumbered" in capsys.readouterr().out


def test_a_range_that_breaks_apart_is_for_a_person_and_nothing_is_touched(house, capsys):
    write(house, {"book/intro.md": "chapters 1 to 2\n"})
    assert renumber.main(house) == 2
    assert "book/intro.md: chapters 1 to 2: no longer neighbours" in capsys.readouterr().err
    assert renumber.tracked(house) == sorted(BEFORE)

"""The built book: complete, linked, legible without pictures, and free of litter."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import address
import api_sections
import build
import findings
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from keep_figures import KEPT
from sphinx.errors import ExtensionError

slow = [pytest.mark.slow, pytest.mark.timeout(900)]
TOC = yaml.safe_load((build.ROOT / "book" / "_toc.yml").read_text("utf-8"))
FILES = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [TOC["root"], *FILES]
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
each_page = pytest.mark.parametrize("page", PAGES)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


#: What Sphinx says of a page that leads to one that is not built.
ELSEWHERE = re.compile(
    r"(?i)xref_missing|\[ref\.|target not found|undefined label|unknown .*document|not in glossary"
    r"|label '[\w-]+' not found"
)


@functools.cache
def parse(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@functools.cache
def anchors(path):
    return {tag["id"] for tag in parse(path).find_all(id=True)}


def soup(site, page):
    return parse(site / f"{page}.html")


def is_shown(output):
    kinds = output.get("data", {"text/plain": ""})
    return any(not kind.startswith("application/papermill.record") for kind in kinds)


def shown_with_outputs(chapter):
    """The executed cells that a page shows with what they printed or drew.

    What a cell glues into the prose stands there, and not below the cell.
    """
    hiding = {"remove-cell", "remove-output"}
    cells = nbformat.read(build.EXECUTED.parent / f"{chapter}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    return [
        cell
        for cell in code
        if any(map(is_shown, cell.outputs)) and not hiding & set(cell.metadata.get("tags", []))
    ]


def test_all_tests_that_need_the_book_run_in_one_process(request, need_the_book):
    needs = [
        item for item in request.session.items if "outcomes" in getattr(item, "fixturenames", ())
    ]
    assert all(item.nodeid.startswith(need_the_book) for item in needs)


def test_the_contents_list_every_notebook_once():
    """In an order of their own: names of files never change, a later chapter may come early."""
    assert [f"notebooks/{path.stem}" for path in build.notebooks()] == sorted(CHAPTERS)


def test_the_api_pages_have_a_section_for_every_module():
    package = build.ROOT / "infcop_lite"
    rooms = {path.stem for path in package.glob("[!_]*") if path.suffix in ("", ".py")}
    modules = {path.relative_to(package).with_suffix("") for path in package.rglob("[!_]*.py")}
    names = {".".join(module.parts) for module in modules}
    table = api_sections.TABLE.read_text("utf-8")
    assert set(api_sections.rooms(table)) == rooms
    pages = (build.ROOT / "book").glob("api-*.md")
    expand = api_sections.expand
    text = "\n".join(expand(path.read_text("utf-8"), path.stem, table) for path in pages)
    assert sorted(re.findall(r"automodule:: infcop_lite\.([\w.]+)", text)) == sorted(names)
    assert set(re.findall(r"(?m)^##+ ([\w.]+)$", text)) == names


class TestSite:
    pytestmark = slow

    def test_the_first_page_leads_into_the_book(self, site):
        assert "book/intro.html" in (site / "index.html").read_text("utf-8")

    @pytest.mark.parametrize("width", ["wide", "narrow"])
    def test_its_map_leads_to_every_chapter_in_order_by_its_title(self, site, width):
        links = soup(site, "book/intro").select(f".chapter-map .{width} a")
        titles = {link["href"]: " ".join(link.stripped_strings) for link in links}
        chapters = [href for href in titles if "notebooks/" in href]
        assert chapters == [f"../{chapter}.html" for chapter in CHAPTERS]
        for chapter in CHAPTERS:
            title = soup(site, chapter).select_one("article h1").get_text().rstrip("#")
            assert titles[f"../{chapter}.html"] == title

    def test_the_findings_of_the_first_page_are_those_of_the_chapters(self, site):
        """Else run `python tools/findings.py`, and say in README what has changed."""
        assert json.loads(findings.FILE.read_text("utf-8")) == findings.computed()

    @each_page
    def test_every_page_of_the_contents_is_there(self, site, page):
        headings = soup(site, page).select("article h1")
        assert len(headings) == 1

    @each_page
    def test_internal_links_and_anchors_lead_somewhere(self, site, page):
        here = site / f"{page}.html"
        for tag in soup(site, page).find_all(["a", "img", "link", "script"]):
            url = urlsplit(tag.get("href") or tag.get("src") or "")
            if url.scheme or url.netloc or (not url.path and url.fragment in {"", "top"}):
                continue
            target = (here.parent / unquote(url.path)).resolve() if url.path else here
            assert target.is_file(), f"{tag} leads nowhere"
            if url.fragment and target.suffix == ".html":
                assert unquote(url.fragment) in anchors(target), f"{tag} leads nowhere"

    @each_page
    def test_every_image_has_alt_text(self, site, page):
        for image in soup(site, page).find_all("img"):
            alt = image.get("alt", "").strip()
            assert alt, f"{image['src']} says nothing to who cannot see it"
            assert not alt.endswith((".png", ".svg")), f"{alt} is a file name"

    @each_page
    def test_what_folds_has_a_title_to_unfold_it_by_and_ids_are_unique(self, site, page):
        """One folded box without a title stops the script that folds, for the whole page."""
        html = soup(site, page)
        for box in html.select(".admonition.dropdown, .proof.dropdown, .exercise.dropdown"):
            titles = box.find_all(class_="admonition-title", recursive=False)
            assert len(titles) == 1, str(box)[:200]
        ids = [tag["id"] for tag in html.find_all(id=True)]
        assert len(ids) == len(set(ids)), {i for i in ids if ids.count(i) > 1}

    @each_chapter
    def test_a_chapter_shows_what_its_cells_gave(self, site, chapter):
        cells = shown_with_outputs(chapter)
        assert cells
        assert len(soup(site, chapter).select("div.cell_output")) == len(cells)

    @each_chapter
    def test_no_litter_stands_in_a_chapter(self, site, chapter):
        page = soup(site, chapter)
        raised = [
            cell
            for cell in shown_with_outputs(chapter)
            if "raises-exception" in cell.metadata.get("tags", [])
        ]
        assert not page.select(".output.stderr")
        assert len(page.select(".output.traceback")) == len(raised)
        text = "\n".join(output.get_text() for output in page.select("div.cell_output"))
        litter = re.search(
            r"Warning\b|it/s|s/it|\d%\|| object at 0x|<Axes|<Figure|\[<matplotlib", text
        )
        assert not litter, f"{litter.group()!r} in an output"
        assert "injected-parameters" not in str(page)
        assert not re.search(r"(?<![\w/])/(?:home|root|tmp|work|Users)/", text), "a machine's path"

    @each_chapter
    def test_the_download_is_the_clean_notebook_and_colab_opens_it(self, site, chapter):
        source = build.ROOT / f"{chapter}.ipynb"
        page = soup(site, chapter)
        (download,) = {link["href"] for link in page.select("a[href$='.ipynb'][href*='_sources']")}
        assert (site / chapter).parent.joinpath(download).read_bytes() == source.read_bytes()
        slug, branch = address.configured()
        colab = {link["href"] for link in page.select("a[href*='colab.research.google.com']")}
        assert colab == {
            f"https://colab.research.google.com/github/{slug}/blob/{branch}/{chapter}.ipynb"
        }

    def test_published_addresses_follow_from_the_repository(self, site):
        owner, name = address.configured()[0].split("/")
        sitemap = (site / "sitemap.xml").read_text("utf-8")
        for page in PAGES:
            assert f"<loc>https://{owner}.github.io/{name}/{page}.html</loc>" in sitemap
        assert f'href="/{name}/book/intro.html"' in (site / "404.html").read_text("utf-8")

    @pytest.mark.parametrize("name", ["masks.density", "flows.information_flow", "config.Config"])
    def test_the_library_is_documented(self, site, name):
        page = api_sections.rooms(api_sections.TABLE.read_text("utf-8"))[name.split(".")[0]]
        assert soup(site, f"book/{page}").find(id=f"infcop_lite.{name}")

    def test_signatures_are_parsed_and_their_types_linked(self, site):
        """A signature that Sphinx cannot parse is shown raw, with a ~ before each type."""
        pages = [page for page in PAGES if page.startswith("book/api-")]
        signatures = [dt for page in pages for dt in soup(site, page).select("dt.sig")]
        assert len(signatures) > 100
        assert not [dt.get_text() for dt in signatures if "~" in dt.get_text()]

    def test_plain_sphinx_builds_the_book_too(self, outcomes, tmp_path):
        """Some pages of it, so that all it may complain of is what leads to the others."""
        ignore = shutil.ignore_patterns("html", ".doctrees", "__pycache__", "jupyter_execute")
        for folder in ("book", "notebooks", "benchmarks"):
            shutil.copytree(build.ROOT / folder, tmp_path / folder, ignore=ignore)
        shutil.copy(build.ROOT / "_config.yml", tmp_path)
        scripts = Path(sys.executable).parent
        some = [
            {"file": page} for page in (CHAPTERS[0], "book/api-integrations", "book/bibliography")
        ]
        part = {"caption": "Some", "chapters": some}
        (tmp_path / "book" / "_toc.yml").write_text(yaml.dump(TOC | {"parts": [part]}), "utf-8")
        toc = ["--toc", str(tmp_path / "book" / "_toc.yml")]
        (tmp_path / "book" / "redirects.txt").write_text("")
        subprocess.run(
            [scripts / "jupyter-book", "config", "sphinx", str(tmp_path), *toc],
            check=True,
            capture_output=True,
        )
        found = os.pathsep.join([str(build.ROOT), str(tmp_path / "book" / "_ext")])
        result = subprocess.run(
            [scripts / "sphinx-build", "-q", "-b", "html", tmp_path, tmp_path / "out"],
            env={**os.environ, "PYTHONPATH": found},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        said = re.findall(r"(?m)^.*(?:WARNING|ERROR).*$", result.stderr)
        complaints = [line for line in said if not ELSEWHERE.search(line)]
        assert not complaints, "\n".join(complaints)
        for page in (TOC["root"], *(entry["file"] for entry in some)):
            assert (tmp_path / "out" / f"{page}.html").exists()
        cells = shown_with_outputs(CHAPTERS[0])
        assert len(soup(tmp_path / "out", CHAPTERS[0]).select("div.cell_output")) == len(cells)


@pytest.fixture
def show_executed_copy(monkeypatch):
    monkeypatch.syspath_prepend(build.ROOT / "book" / "_ext")
    import executed_notebooks

    return executed_notebooks.show_executed_copy


def application(folder, suffix):
    noted: list[str] = []
    env = SimpleNamespace(
        doc2path=lambda docname: f"{docname}{suffix}", note_dependency=noted.append
    )
    return SimpleNamespace(srcdir=folder, env=env), noted


def test_a_page_without_an_executed_copy_is_an_error(show_executed_copy, tmp_path):
    app, _ = application(tmp_path, ".ipynb")
    with pytest.raises(ExtensionError, match="run `make book`"):
        show_executed_copy(app, "notebooks/01-x", ["clean"])


def test_a_page_shows_the_executed_copy_and_follows_its_changes(show_executed_copy, tmp_path):
    executed = tmp_path / "book" / "_build" / "executed" / "notebooks" / "01-x.ipynb"
    executed.parent.mkdir(parents=True)
    data = {"image/png": "a picture", KEPT: "the figure, for slides"}
    executed.write_text(json.dumps({"cells": [{"outputs": [{"data": data}]}, {}]}))
    (app, noted), source = application(tmp_path, ".ipynb"), ["clean"]
    show_executed_copy(app, "notebooks/01-x", source)
    assert source == ['{"cells": [{"outputs": [{"data": {"image/png": "a picture"}}]}, {}]}']
    assert noted == [str(executed)]


def test_pages_of_prose_are_left_alone(show_executed_copy, tmp_path):
    (app, _), source = application(tmp_path, ".md"), ["prose"]
    show_executed_copy(app, "book/intro", source)
    assert source == ["prose"]

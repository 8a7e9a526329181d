"""The book's own extensions: vendored scripts, the box of a chapter, mended markup."""

import base64
import hashlib
import io
import stat
import sys
import tarfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import accessible
import chapter_box
import chapter_times
import nbformat
import offline
import pytest
import vendor
from test_book import PAGES, each_chapter, parse, slow

SMALL = vendor.Package("@some/small", "1.0.0", "", ("dist/a.js",))


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that delivers one small archive: the package, and a file that grows with each call."""
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("dist/a.js", "dist/unwanted.js"):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport shutil\n"
        f"shutil.copy({str(archive)!r}, 'small-1.0.0.tgz')\nopen({str(calls)!r}, 'a').write('x')\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(script.parent))
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return replace(SMALL, integrity=f"sha512-{digest}"), calls


def test_only_the_named_files_of_a_package_are_kept_and_fetched_once(npm, tmp_path):
    package, calls = npm
    folder = vendor.fetch(package, tmp_path / "vendor")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files == [Path("small/dist/a.js")]
    assert vendor.fetch(package, tmp_path / "vendor") == folder
    assert calls.read_text() == "x"


def test_a_package_with_another_hash_is_an_error_and_leaves_nothing_behind(npm, tmp_path):
    package, _ = npm
    with pytest.raises(vendor.VendorError, match="is recorded"):
        vendor.fetch(replace(package, integrity="sha512-other"), tmp_path / "vendor")
    assert not list((tmp_path / "vendor").iterdir())


def test_a_package_that_lacks_a_file_is_an_error(npm, tmp_path):
    package, _ = npm
    with pytest.raises(vendor.VendorError, match=r"has no file dist/b\.js"):
        vendor.fetch(replace(package, files=("dist/b.js",)), tmp_path / "vendor")


def test_without_npm_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert vendor.fetch(vendor.MATHJAX, tmp_path) is None


def test_without_a_network_nothing_is_fetched(npm, tmp_path):
    package, _ = npm
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\nexit 1\n")
    assert vendor.fetch(package, tmp_path / "vendor") is None


def config():
    return SimpleNamespace(html_static_path=[], html_theme_options={})


def test_a_book_built_without_npm_loads_from_a_cdn_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    settings = config()
    settings.html_theme_options["extra_footer"] = "<p>CC BY 4.0</p>"
    offline.use_local_copies(SimpleNamespace(srcdir=tmp_path), settings)
    assert settings.html_static_path == []
    assert settings.mathjax_path == (
        "https://cdn.jsdelivr.net/npm/mathjax@3.2.2/es5/tex-svg-full.js"
    )
    footer = f"<p>CC BY 4.0</p><p>{offline.CDN_NOTE}</p>"
    assert settings.html_theme_options["extra_footer"] == footer
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_book_built_with_npm_loads_its_own_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(vendor, "fetch", lambda package, into: into / package.folder)
    settings = config()
    offline.use_local_copies(SimpleNamespace(srcdir=tmp_path), settings)
    assert settings.html_static_path == [str(tmp_path / "book" / "_build" / "vendor" / "mathjax")]
    assert settings.mathjax_path == "mathjax/es5/tex-svg-full.js"
    assert settings.html_theme_options == {}
    assert not capsys.readouterr().out


def executed(printed):
    outputs = [nbformat.v4.new_output("stream", text=text) for text in printed]
    run = {"seconds": 12.4, "peak_memory_mb": 1536, "parameters": {"profile": "laptop"}}
    cells = [nbformat.v4.new_code_cell(outputs=outputs)]
    return nbformat.v4.new_notebook(cells=cells, metadata={"infcop_lite": run})


def test_the_data_of_a_chapter_are_those_it_printed():
    assert chapter_box.data_sets(executed(["fashion-mnist: 10 images"])) == ["Fashion-MNIST"]
    assert chapter_box.data_sets(executed(["cifar10,", "then mnist"])) == ["MNIST", "CIFAR-10"]


def test_the_box_says_what_the_run_took(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    took = chapter_times.Took("01-one", "laptop", 12.4, 30.0, 1.5, "one core")
    monkeypatch.setattr(chapter_box, "recorded", lambda: {("01-one", "laptop"): took})
    facts = chapter_box.facts("01-one", executed([]))
    said = "12 s of processor, 30 s by the clock, 1.5 GB at most, in profile laptop"
    assert facts["Measured"] == said
    assert chapter_box.facts("02-two", executed([]))["Measured"] == "not yet, in profile laptop"
    assert facts["Trained here on"] == "none"
    assert facts["Last built"] == "1970-01-01"


def test_mended_markup_changes_nothing_else():
    context = {"body": '<summary aria-label="Toggle hidden content">Show</summary> aria-label="x"'}
    accessible.mend(None, "page", "page.html", context, None)
    assert context["body"] == '<summary>Show</summary> aria-label="x"'


class TestSite:
    pytestmark = slow

    @each_chapter
    def test_a_chapter_begins_with_one_box_from_its_own_run(self, site, chapter):
        (box,) = parse(site / f"{chapter}.html").select("article h1 + .made")
        took = chapter_times.recorded()[chapter.partition("/")[2], "ci"]
        assert took.in_words() in box.get_text()
        assert f"infcop_lite {version('infcop-lite')}" in box.get_text()
        assert "none" not in box.get_text(), "a chapter prints the data set that it used"

    def test_every_page_has_a_picture_of_its_own_to_be_shared_by(self, site):
        found = set()
        for page in PAGES:
            address = parse(site / f"{page}.html").select_one("meta[property='og:image']")[
                "content"
            ]
            _, _, name = address.partition("/_images/")
            assert (site / "_images" / name).is_file()
            assert name not in found
            found.add(name)

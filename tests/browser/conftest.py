"""A browser without a network, and the built book as its readers open it.

Fixtures for tests of pages and widgets:

- `open_page(path, over="file", scheme="light", size="desktop")` opens a page of the book, waits
  until its formulas are set, and returns Playwright's `Page`. `path` is as in _toc.yml
  ("notebooks/01-why-prune") or a whole address; `over` is "file" or "http" (a loopback server,
  below /name/ as on GitHub Pages); `scheme` is what the reader's system prefers, "light" or "dark";
  `size` is one of SIZES. Whatever the page raises, logs as an error or asks of a network is kept in
  `open_page.troubles`; a test that leaves troubles there fails at its end.
- `barriers(page, *rules)` lists what axe finds serious or critical, by all its rules or by some.
- `served` is the address of the loopback server.

Without Chromium or npm these tests are skipped and say so; with INFCOP_NEED_BROWSER set, as in
CI, they fail.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import address
import build
import playground_page
import pytest
import vendor
from playwright.sync_api import sync_playwright

SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (375, 812)}
# The test of contrast is slow, and looks at every token of every listing and every part of every
# formula. A colour needs it once in each kind of box; MathJax sets formulas in that of the text.
THIN_OUT = """() => {
  const seen = new Set();
  for (const span of document.querySelectorAll("pre span, dt.sig span")) {
    if (!span.isConnected) continue; // it stood in one that is gone
    const box = span.closest("div, dt");
    const places = [span, span.parentNode, box, box.parentNode];
    const key = places.map((place) => place.className).join();
    if (seen.has(key)) span.replaceWith(span.textContent);
    seen.add(key);
  }
  document.querySelectorAll("mjx-container").forEach((formula) => formula.replaceChildren());
  document.querySelectorAll("details").forEach((box) => (box.open = true));
  document.querySelectorAll(".toggle-button-hidden").forEach((button) => button.click());
}"""
# A moment after the page has changed, so that a test must wait for it: in all the theme cares for.
WHAT_SCROLLS_CAN_BE_REACHED = """() =>
  [
    ...document.querySelectorAll(
      "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container"
    ),
  ].every((box) => box.scrollWidth <= box.clientWidth || box.tabIndex === 0)"""


def missing(what: str) -> None:
    """Skip the test that needs what is missing, or fail it where it must run."""
    refuse = pytest.fail if os.environ.get("INFCOP_NEED_BROWSER") else pytest.skip
    refuse(what)


@pytest.fixture(scope="session")
def browser():
    """Chromium, for which nothing exists outside this machine."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        missing("no browser: install the Debian package chromium")
    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


class Handler(SimpleHTTPRequestHandler):
    """Files below /name/, and the book's own page for what is not there, as GitHub Pages has it."""

    prefix = f"/{address.configured()[0].split('/')[1]}/"

    def translate_path(self, path):
        return super().translate_path("/" + path.removeprefix(self.prefix))

    def send_error(self, code, message=None, explain=None):
        page = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def served(site):
    """The address of the book on a loopback server."""
    handler = partial(Handler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{Handler.prefix}"
        server.shutdown()
        thread.join()


class Opener:
    """Opens pages, notes their troubles; see the top of this file."""

    def __init__(self, browser, bases):
        self.browser, self.bases = browser, bases
        self.contexts, self.troubles = [], []

    def __call__(self, path, over="file", scheme="light", size="desktop"):
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        context = self.browser.new_context(viewport=viewport, color_scheme=scheme)
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(f"{path} raised {error}"))
        page.on("console", partial(self.hear, path))
        page.on("request", partial(self.see, path))
        page.goto(path if "://" in path else f"{self.bases[over]}{path}.html")
        page.evaluate("window.MathJax?.startup?.promise")
        # a colour on its way from one theme to the other is nobody's choice
        page.add_style_tag(content="* { transition: none !important; animation: none !important }")
        return page

    def hear(self, path, message):
        if message.type == "error":
            self.troubles.append(f"{path} logged {message.text}")

    def see(self, path, request):
        if not request.url.startswith((*self.bases.values(), "data:", "blob:")):
            self.troubles.append(f"{path} asked for {request.url}")

    def close(self):
        for context in self.contexts:
            context.close()


@pytest.fixture(scope="session")
def bases(site, served):
    """What addresses of the book begin with."""
    if not (site / "_static" / "mathjax").exists():
        missing("this book was built without npm and loads its formulas from a network")
    return {"file": f"{site.as_uri()}/", "http": served}


@pytest.fixture
def open_page(browser, bases):
    """Open pages of the book; see the top of this file."""
    opener = Opener(browser, bases)
    yield opener
    opener.close()
    assert not opener.troubles


STATIC = build.ROOT / "book" / "_static"
ALONE = """<!doctype html><html lang="en" data-theme="{theme}"><title>A picture</title>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="../_static/book.css">
<style>html[data-theme="dark"] {{ background: #14181e; color: #ced6dd }}</style>
<main><h1>A picture</h1><p style="height: 1500px"></p>{markup}</main></html>"""


@pytest.fixture
def open_alone(browser, tmp_path):
    """Open markup in a page of its own, from a folder; at the end it may have no troubles."""
    shutil.copytree(STATIC, tmp_path / "_static")
    playground_page.write_scripts(tmp_path)
    opener = Opener(browser, {"file": f"{tmp_path.as_uri()}/"})

    def show(markup, setting="", theme="light", size="desktop"):
        page = tmp_path / "notebooks" / f"{theme}.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(ALONE.format(theme=theme, markup=markup), "utf-8")
        return opener(f"{page.as_uri()}{setting}", size=size, scheme=theme)

    yield show
    opener.close()
    assert not opener.troubles


@pytest.fixture(scope="session")
def barriers():
    """Ask axe what keeps readers out of a page; see the top of this file."""
    folder = vendor.fetch(vendor.AXE, build.ROOT / "book" / "_build" / "vendor")
    if folder is None:
        missing("no axe-core: install npm (the Debian packages nodejs and npm)")
    script = (folder / "axe-core" / "axe.min.js").read_text("utf-8")

    def find(page, *rules):
        page.evaluate(THIN_OUT)
        page.wait_for_function(WHAT_SCROLLS_CAN_BE_REACHED)
        page.evaluate(script)
        # without `preload`, which fetches style sheets, and a page from file:// may not
        options = {"preload": False, "resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = list(rules)
        violations = page.evaluate("options => axe.run(document, options)", options)["violations"]
        return [
            f"{violation['id']}: {node['html'][:200]}"
            for violation in violations
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]

    return find

"""How long a reader waits for the first widget of a page: milliseconds after DOMContentLoaded.

    .venv/bin/python benchmarks/widgets.py notebooks/16-when-to-stop notebooks/04-mnist

Opens built pages on a loopback server, some times each, in Debian's Chromium. Nothing is asserted.
"""

import argparse
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

SITE = Path(__file__).resolve().parent.parent / "book" / "_build" / "html"
# Before any script of the page: note when the document is there and when a widget has a size.
WATCH = """
addEventListener("DOMContentLoaded", () => {
  const started = performance.now();
  const look = () => {
    const widget = document.querySelector(".recorded .knobs");
    if (widget?.getBoundingClientRect().height) window.waited = performance.now() - started;
    else requestAnimationFrame(look);
  };
  look();
});
"""


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def wait(browser: Browser, url: str) -> float:
    """Open a page afresh; return the milliseconds to its first visible widget."""
    page = browser.new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function("window.waited")
    milliseconds = float(page.evaluate("window.waited"))
    page.close()
    return milliseconds


def main() -> None:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Milliseconds to the first widget of pages.")
    parser.add_argument("pages", nargs="+", help="as in _toc.yml: notebooks/04-mnist")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for page in arguments.pages:
            waits = [wait(browser, f"{address}/{page}.html") for _ in range(arguments.rounds)]
            shown = ", ".join(f"{milliseconds:.0f}" for milliseconds in waits)
            print(f"{page}: median {median(waits):.0f} ms to the first widget ({shown})")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()

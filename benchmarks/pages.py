"""What the pages of the book weigh, and what it takes to show their first widget.

    .venv/bin/python benchmarks/pages.py

Opens every built page on a loopback server in Debian's Chromium, one by one, and writes pages.md
beside this file: the pages above a goal, and the heaviest ones. Processor seconds are those of the
page's main thread and hardly grow with the load; to read them, the page is halted as its first
widget stands there. Nothing is asserted.
"""

import gzip
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
from playwright.sync_api import Browser, sync_playwright
from timing import machine

FOLDER = Path(__file__).resolve().parent
SITE = FOLDER.parent / "book" / "_build" / "html"
#: What a reader turns, whatever draws it.
WIDGET = ".recorded .knobs, #challenge .knobs, #solvable .knobs, #playground button"
#: Halts the page in the frame in which its first widget has a size, if it ever does.
HALT = """
addEventListener("DOMContentLoaded", () => {{
  const look = (now) => {{
    if (document.querySelector("{widget}")?.getBoundingClientRect().height) debugger;
    else if (now < 1e5) requestAnimationFrame(look);
  }};
  requestAnimationFrame(look);
}});
"""
GOALS = {"kB": 60, "elements": 25_000, "widget": 1.0}
SHOWN = {
    "page": "page",
    "kB": "HTML, gzipped (kB)",
    "elements": "elements once formulas are set",
    "all": "and with those in folds",
    "widget": "processor seconds to the first widget",
    "load": "and until all is set",
}
MOST = 8  # of the heaviest pages


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def look(browser: Browser, address: str, path: str) -> dict[str, Any]:
    """Return what a page weighs and takes; NaN for the widget of one that has none."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def taken() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    reached: list[float] = []

    def pause(_: object) -> None:
        reached.append(taken())
        devtools.send("Debugger.resume")

    devtools.send("Debugger.enable")
    devtools.on("Debugger.paused", pause)
    page.add_init_script(HALT.format(widget=WIDGET))
    before = taken()
    page.goto(f"{address}/{path}")
    page.evaluate("window.MathJax?.startup?.promise")
    found = {
        "page": path.removesuffix(".html"),
        "kB": len(gzip.compress((SITE / path).read_bytes())) / 1e3,
        "elements": page.evaluate("document.querySelectorAll('*').length"),
        "widget": reached[0] - before if reached else float("nan"),
        "load": taken() - before,
    }
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # which sets the formulas in folds
    found["all"] = page.evaluate("document.querySelectorAll('*').length")
    page.close()
    return found


def is_read(path: str) -> bool:
    """Return whether a page has something to read, and is no mere way to another."""
    return "bd-article" in (SITE / path).read_text("utf-8")


def above(pages: pd.DataFrame) -> pd.DataFrame:
    """Return the pages that miss a goal."""
    return pages[(pages[list(GOALS)] > pd.Series(GOALS)).any(axis=1)]


def written(pages: pd.DataFrame) -> list[str]:
    """Return a table of pages, the heaviest first."""
    rows = [
        f"| {row.page} | {row.kB:.0f} | {row.elements:,} | {row.all:,} | "
        f"{'–' if row.widget != row.widget else format(row.widget, '.1f')} | {row.load:.1f} |"
        for row in pages.sort_values("kB", ascending=False).itertuples()
    ]
    return ["| " + " | ".join(SHOWN.values()) + " |", "| --- |" + " --- |" * 5, *rows, ""]


def main() -> None:
    """The command line; see the top of this file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    paths = [path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")]
    inside = [path for path in sorted(paths) if not path.startswith("_static/") and is_read(path)]
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = pd.DataFrame([look(browser, address, path) for path in inside])
        about = {**machine(), "chromium": browser.version}
        browser.close()
    server.shutdown()
    missed = above(pages)
    lines = [
        "# What the pages weigh and take",
        "",
        f"The goals of every page: {GOALS['kB']} kB of HTML as a server sends it, "
        f"{GOALS['elements']:,} elements,",
        "and one processor second of the page's main thread until its first widget stands there.",
        "`python benchmarks/pages.py` writes this file.",
        "",
        "; ".join(f"{key}: {value}" for key, value in about.items()),
        "",
        f"## Above a goal: {len(missed)} of {len(pages)} pages",
        "",
        *(written(missed) if len(missed) else ["None.", ""]),
        "Formulas are most of the elements of chapters: each glyph is one, and each formula stands",
        "there a second time as MathML, for screen readers. They are set after the first widget,",
        "those in a fold when it is opened or the page is printed.",
        "",
        f"## The {MOST} heaviest",
        "",
        *written(pages.nlargest(MOST, "kB")),
    ]
    (FOLDER / "pages.md").write_text("\n".join(lines), "utf-8")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()

"""What the playground weighs and takes: kilobytes, frames, seconds of a run and of a sweep.

    .venv/bin/python benchmarks/playground.py

Writes playground.md beside this file. Needs node and Debian's Chromium. Nothing is asserted.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from timing import machine

FOLDER = Path(__file__).parent
sys.path.append(str(FOLDER.parent / "book" / "_ext"))

import playground_page  # noqa: E402 (it stands among the book's extensions)

PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><main>{root}</main></html>'
PRESS = """name => [...document.querySelectorAll("#playground button")]
  .find((button) => button.textContent.startsWith(name)).click()"""
COUNT = """seconds => new Promise((done) => {
  const started = performance.now();
  let frames = 0;
  const count = (now) => {
    frames += 1;
    if (now - started < 1000 * seconds) requestAnimationFrame(count);
    else done(1000 * frames / (now - started));
  };
  requestAnimationFrame(count);
})"""


def kilobytes() -> list[tuple[str, str]]:
    """Return what is loaded, as it lies in a folder and as a server sends it."""
    picture = (playground_page.SOURCES / "picture.svg").read_bytes()
    parts = {"script": playground_page.script().encode(), "picture": picture}
    found = [
        (name, f"{len(part) / 1e3:.1f} kB, {len(gzip.compress(part)) / 1e3:.1f} kB sent")
        for name, part in parts.items()
    ]
    sent = sum(len(gzip.compress(part)) for part in parts.values())
    return [*found, ("both, as a server sends them", f"{sent / 1e3:.1f} kB")]


def in_node() -> dict[str, Any]:
    """Return processor seconds and steps of the engine alone."""
    command = ["node", str(FOLDER / "playground.mjs"), str(playground_page.SOURCES)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def swept(found: dict[str, Any]) -> list[str]:
    """Return the table of the sweep: what each tolerance comes to, and its gain at equal cost."""
    lines = []
    for row in found["rows"]:
        points = (
            f"{100 * row[name]['mean']:.1f} ± {100 * row[name]['half']:.1f}"
            for name in ("accuracy", "gain", "alone")
        )
        lines.append(
            " | ".join((f"| {row['epsilon']}", f"{row['epochs']['mean']:.1f}", *points)) + " |"
        )
    return [
        "## The sweep at the first setting",
        "",
        f"Means over {found['many'][2]} seeds and their 95 % intervals; accuracy in percent,",
        "gains over a fixed number of epochs of the same cost and seed in points. The last",
        "column is the gain of the timetable alone, told by the other seeds.",
        "",
        f"**{found['verdict']}**",
        "",
        "| tolerance | epochs | test accuracy | gain | timetable alone |",
        "| --- | --- | --- | --- | --- |",
        *lines,
        "",
    ]


def processor(browser: Browser) -> float:
    """Return the processor seconds of all pages and their workers so far."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return sum(float(each["cpuTime"]) for each in found if each["type"] == "renderer")


def in_a_page(browser: Browser, folder: Path) -> list[tuple[str, str]]:
    """Return frames a second while it trains, what they cost, and seconds of whole runs."""
    playground_page.write_scripts(folder)
    root = playground_page.ROOT.format(up="", script=playground_page.SCRIPT)
    (folder / "index.html").write_text(PAGE.format(root=root), "utf-8")
    page = browser.new_page()
    page.set_default_timeout(900_000)
    page.goto(f"{(folder / 'index.html').as_uri()}#play&rule=full")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def taken() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    page.evaluate(PRESS, "Play")
    before = taken()
    frames = page.evaluate(COUNT, 5)
    busy = (taken() - before) / 5
    page.evaluate(PRESS, "Reset")
    seconds = []
    for name, setting, ends in (
        (
            "Full run",
            "#play&rule=full",
            "document.querySelector('#playground').dataset.state === 'done'",
        ),
        ("Sweep", "#play", "document.querySelector('#playground').innerText.includes('Over 20')"),
    ):
        page.evaluate("setting => (location.hash = setting)", setting)
        page.wait_for_timeout(300)
        started, before = time.perf_counter(), processor(browser)
        page.evaluate(PRESS, name)
        page.wait_for_function(ends, polling=100)
        wall, own = time.perf_counter() - started, processor(browser) - before
        seconds.append(f"{wall:.1f} s on the wall, {own:.1f} processor seconds")
    return [
        ("frames a second while it plays", f"{frames:.0f}"),
        ("processor of the page's thread meanwhile, its worker aside", f"{busy:.0%}"),
        ("a full run in the page, drawn", seconds[0]),
        ("a sweep in the page, two workers", seconds[1]),
    ]


def main() -> None:
    """The command line; see the top of this file."""
    rows = kilobytes()
    taken = in_node()
    tolerances, constants, seeds = taken["many"]
    for name, text in (("full", "the engine alone, a full run"), ("sweep", "and a whole sweep")):
        own = taken[name]
        cost = f"{own['seconds']:.1f} processor seconds"
        speed = f", {own['steps'] / own['seconds']:,.0f} steps a second"
        many = own["runs"] > 1  # whose steps are trained once for several of them
        rows.append((f"{text}, {own['runs']} runs" if many else text, cost + speed * (not many)))
    about = "; ".join(f"{key}: {value}" for key, value in machine().items())
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        rows += in_a_page(browser, Path(scratch))
        about += f"; chromium: {browser.version}"
        browser.close()
    lines = [
        "# What the playground weighs and takes",
        "",
        "At the setting that a reader meets first, whose full run is nine levels of ten epochs.",
        f"A sweep is {tolerances} tolerances, the timetable of each, and {constants} fixed numbers",
        f"of epochs, each with {seeds} seeds; what its runs share is trained once. Most of what is",
        "sent are the digits, deflated and then written as text, which a server packs again: so",
        "what is sent counts. Steps include what is measured at the checks. Seconds on the wall",
        "grow with the load; a full run shows every 24th check. Goals: 60 frames a second, 3 s,",
        "60 s, 80 kB.",
        "`python benchmarks/playground.py` writes this file.",
        "",
        "Frames are counted without a graphics card, where the processor draws every line. What",
        "bounds them are the frames after a check: the network is drawn in one, the charts in the",
        "next, and the worker trains meanwhile. Lines thinner than a pixel are drawn several times",
        "as fast as thicker ones, so thick edges are several thin ones. A frame is missed when",
        "others want the same cores: read the number beside the load.",
        "",
        about,
        "",
        "| what | how much |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        *swept(taken),
    ]
    (FOLDER / "playground.md").write_text("\n".join(lines), "utf-8")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()

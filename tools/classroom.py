"""One zip for a room without a network: `make classroom`, after which it lies in book/_build.

    infcop-lite-classroom/
        README.txt      what to do, in four lines
        notebooks/      the chapters, the wheel beside them, and the tables that they read
        book/           the book as pages
        slides/         the decks, as pages and as PDF
        quiz/           the quizzes, for Moodle and for Canvas

The data are the part of MNIST in the wheel. What has to be there already is Python with the
packages that the wheel asks for: those differ from machine to machine.
"""

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "book" / "_build"
TOP = "infcop-lite-classroom"
README = """\
A classroom without a network. On each machine, once, while there is a network:
    python -m pip install notebook {wheel}
Then open notebooks/ with Jupyter. A machine that has torch and its like, but not this library,
installs it from the wheel beside the notebooks. The book begins at book/book/intro.html.
"""


class ClassroomError(Exception):
    """Something that has to be built first; its text says what, in one line."""


def contents(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each file that goes in, and its name there.

    Raises:
        ClassroomError: wheel, book or decks are missing.
    """
    built = root / "book" / "_build"
    wheels = sorted((root / "dist").glob("*.whl"))
    if len(wheels) != 1:
        raise ClassroomError(f"there are {len(wheels)} wheels in dist: run `make dist`")
    for folder, target in (("html", "zip"), ("slides", "slides"), ("quiz", "quiz")):
        if not any((built / folder).glob("*")):
            raise ClassroomError(f"book/_build/{folder} is empty: run `make {target}`")
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        yield notebook, f"notebooks/{notebook.name}"
    yield wheels[0], f"notebooks/{wheels[0].name}"
    # where an install cell would have cloned them, so it does not try
    for table in files(root / "experiments" / "results"):
        yield table, f"notebooks/clone/{table.relative_to(root)}"
    for name in ("error_rate.csv", "one_layer.csv"):
        yield root / "experiments" / name, f"notebooks/clone/experiments/{name}"
    for folder, name in (("html", "book"), ("slides", "slides"), ("quiz", "quiz")):
        for file in files(built / folder):
            yield file, f"{name}/{file.relative_to(built / folder)}"


def files(folder: Path) -> list[Path]:
    """The files below a folder, but for those that are hidden."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts[-3:])
    ]


def print_decks(folder: Path) -> None:
    """Print each deck, a page for each slide.

    Raises:
        ClassroomError: there is no browser.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise ClassroomError("no browser prints the decks: install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for deck in sorted(folder.glob("*.html")):
            page = opened.new_page()
            page.goto(f"{deck.as_uri()}?print-pdf")
            page.wait_for_selector(".pdf-page")  # reveal.js has laid out every slide
            page.evaluate("MathJax.startup.promise.then(() => true)")
            page.pdf(path=deck.with_suffix(".pdf"), prefer_css_page_size=True)
        opened.close()


def write(target: Path, root: Path = ROOT) -> int:
    """Write the archive; how many files it holds."""
    held = list(contents(root))
    wheel = next(name for _, name in held if name.endswith(".whl"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{TOP}/README.txt", README.format(wheel=wheel))
        for file, name in held:
            archive.write(file, f"{TOP}/{name}")
    return len(held)


def main() -> int:
    """The command line; see the top of this file."""
    target = BUILT / f"{TOP}.zip"
    try:
        print_decks(BUILT / "slides")
        print(f"{target}: {write(target)} files")
    except ClassroomError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

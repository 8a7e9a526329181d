"""The playground on a page: one script out of its modules, and the element that it fills.

Modules cannot import one another from file://, and neither can a worker: so they are joined into
one plain script, a function that serves where there is no document. Its own text starts the worker.
The language in which a reader writes a rule is one of these modules; chapter 7 has it as a script.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

SOURCES = Path(__file__).parents[1] / "_static" / "playground"
SCRIPT = "_static/playground.js"
LANGUAGE = "_static/challenge/language.js"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.mjs";\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|const|class) (\w+))", re.M)
COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|//[^\n]*)\n", re.M | re.S)
INDENT = re.compile(r"^ +", re.M)
ROOT = """\
<div id="playground" data-state="idle" data-level="0" data-density="1" data-epochs="0"
 data-accuracy="0"><p>Here a network of 64, 24, 24 and 10 units learns to read digits, loses its
 smallest weights level by level, and is retrained in between, in your browser. It needs
 JavaScript.</p><img src="{up}_static/playground/picture.svg" width="760" height="340" alt="A
 network in four columns, from 64 pixels to ten classes: one weight in six is left."></div>
<script defer src="{up}{script}"></script>"""


def joined(folder: Path, *entries: str) -> str:
    """Return modules and all that they import as statements that fill an object ``modules``.

    Args:
        folder: of the modules; each imports by name from its neighbours alone.
        entries: the modules whose exports are wanted, without their suffix.

    Raises:
        ValueError: modules that import one another in a circle, or a name that is not there.
    """
    done: dict[str, str] = {}
    exports: dict[str, set[str]] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"modules import in a circle: {' > '.join([*above, name])}")
        if name in done:
            return
        text = (folder / f"{name}.mjs").read_text("utf-8")
        for names, other in IMPORT.findall(text):
            add(other, (*above, name))
            if lacks := set(re.findall(r"\w+", names)) - exports[other]:
                raise ValueError(f"{name} imports {min(lacks)}, which {other} does not export")
        exports[name] = set(EXPORT.findall(text))
        given = ", ".join(sorted(exports[name]))
        text = EXPORT.sub("", IMPORT.sub(r"const {\1} = modules.\2;\n", COMMENT.sub("", text)))
        done[name] = f"modules.{name} = (() => {{\n{text}return {{ {given} }};\n}})();\n"

    for entry in entries:
        add(entry, ())
    return "const modules = {};\n" + "".join(done.values())


def script(folder: Path = SOURCES) -> str:
    """Return the whole playground as one plain script."""
    return (
        f'(function program() {{\n"use strict";\n{INDENT.sub("", joined(folder, "page", "worker"))}'
        'if (typeof document === "undefined") return modules.worker.serve(self);\n'
        'const root = document.getElementById("playground");\n'
        "if (root) modules.page.mount(root, `(${program})()`);\n})();\n"
    )


def language(folder: Path = SOURCES) -> str:
    """Return the language of rules as a plain script, in a constant ``Language``."""
    text = joined(folder, "language")
    return f'const Language = (() => {{\n"use strict";\n{text}return modules.language;\n}})();\n'


def write_scripts(folder: Path) -> None:
    """Write what pages load beside the sources, below the folder of a book."""
    for path, text in ((SCRIPT, script()), (LANGUAGE, language())):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


class Playground(Directive):
    """Stands where the playground stands; a page has one at most."""

    def run(self) -> list[nodes.Node]:
        """Return its root element and its script."""
        name = self.state.document.settings.env.docname
        up = "../" * name.count("/")
        return [nodes.raw("", ROOT.format(up=up, script=SCRIPT), format="html")]


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write the scripts beside the pages, once they are there."""
    if error is None and app.builder.format == "html":
        write_scripts(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("playground", Playground)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

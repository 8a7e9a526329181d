"""Icons: of the theme's fonts, 274 kB on every page, the glyphs that some page uses, 5 kB.

`book.css` names these small fonts after the theme's, so that a browser asks them first; a glyph
that they lack still comes from the large ones.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx

FONTS = Path("_static", "vendor", "fontawesome", "webfonts")
STYLES = Path("_static", "styles")
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}')


def glyphs(pages: Iterable[str], css: str) -> set[int]:
    r"""The icons that pages name, and those that a style sheet draws by itself.

    >>> css = r'.fa-bars:before,.fa-navicon:before{content:"\f0c9"}.fa-cat:before{content:"\f6be"}'
    >>> [hex(code) for code in glyphs(['<i class="fas fa-bars">'], css)]
    ['0xf0c9']
    """
    names = {name for page in pages for name in re.findall(r"\bfa-[\w-]+", page)}
    found = {int(code, 16) for rules, code in RULE.findall(css) if names & _names(rules)}
    return found | {ord(sign) for sign in re.findall("[\ue000-\uf8ff]", css)}


def _names(rules: str) -> set[str]:
    return set(re.findall(r"fa-[\w-]+", rules))


def write(app: Sphinx, failure: Exception | None) -> None:
    """Write the small fonts beside the large ones."""
    root = Path(app.outdir)
    if failure is not None or not (root / FONTS).is_dir():
        return
    css = "".join(path.read_text("utf-8") for path in (root / STYLES).glob("*.css"))
    used = glyphs((path.read_text("utf-8") for path in root.rglob("*.html")), css)
    for font in (root / FONTS).glob("*.ttf"):
        options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
        loaded = subset.load_font(str(font), options)
        reducer = subset.Subsetter(options)
        reducer.populate(unicodes=used)
        reducer.subset(loaded)
        subset.save_font(loaded, str(root / "_static" / f"{font.stem}.woff"), options)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, after the pages are written."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

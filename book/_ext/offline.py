"""The built book needs no network: formulas come with it, and nothing else is loaded."""

from pathlib import Path
from typing import Any

import vendor
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

CDN_NOTE = "This copy of the book loads its formulas from a network."


def use_local_copies(app: Sphinx, config: Config) -> None:
    """Point MathJax to its vendored file; without npm, to the same one on a CDN."""
    folder = vendor.fetch(vendor.MATHJAX, Path(app.srcdir, "book", "_build", "vendor"))
    if folder:
        # Only now: Jupyter Book puts every script below the static paths of _config.yml on every
        # page, also where there is no formula.
        config.html_static_path += [str(folder)]
    else:
        print("no npm or no network: the book's formulas will come from a CDN")
        options = config.html_theme_options
        options["extra_footer"] = f"{options.get('extra_footer', '')}<p>{CDN_NOTE}</p>"
    where = vendor.MATHJAX.folder if folder else vendor.MATHJAX.cdn
    config.mathjax_path = f"{where}/es5/tex-svg-full.js"


def leave_out_formulas(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop MathJax, the heaviest script there is, from a page without a formula.

    Sphinx asks whether there is one before citations are resolved, and then takes too many.
    """
    if 'class="math' not in context.get("body", ""):
        scripts = context.get("script_files", [])
        context["script_files"] = [s for s in scripts if "mathjax" not in str(s).lower()]


def drop_thebe(app: Sphinx, config: Config) -> None:
    """Unload sphinx-thebe, which Jupyter Book always loads and which names a CDN on every page."""
    for event in app.events.listeners.values():
        event[:] = [listener for listener in event if listener.handler.__module__ != "sphinx_thebe"]
    files = app.registry.css_files
    files[:] = [file for file in files if file[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", use_local_copies)
    app.connect("config-inited", drop_thebe)
    app.connect("html-page-context", leave_out_formulas, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

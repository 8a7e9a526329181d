"""The built book needs no network: maths and widgets come with it, and nothing else is loaded."""

from pathlib import Path
from typing import Any

import vendor
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

CDN_NOTE = "This copy of the book loads its formulas and widgets from a network."


def use_local_copies(app: Sphinx, config: Config) -> None:
    """Point MathJax and the widgets to vendored files; without npm, to the same ones on a CDN."""
    packages = (vendor.MATHJAX, vendor.WIDGETS)
    kept = Path(app.srcdir, "book", "_build", "vendor")
    folders = [vendor.fetch(package, kept) for package in packages]
    local = None not in folders
    if local:
        # Only now: Jupyter Book puts every script below the static paths of _config.yml on every
        # page, and a bundle of widgets that runs twice draws every widget twice.
        config.html_static_path += [str(folder) for folder in folders]
    else:
        print("no npm or no network: the book's formulas and widgets will come from a CDN")
        config.html_theme_options["extra_footer"] = f"<p>{CDN_NOTE}</p>"
    mathjax, widgets = (package.folder if local else package.cdn for package in packages)
    config.mathjax_path = f"{mathjax}/es5/tex-svg-full.js"
    # The bundle that needs no RequireJS, which MyST-NB would load from a CDN.
    config.nb_ipywidgets_js = {f"{widgets}/dist/embed.js": {"defer": "defer"}}


def leave_out_formulas(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Drop MathJax, the heaviest script there is, from a page without a formula.

    Sphinx asks whether there is one before citations are resolved, and then takes too many.
    """
    body = context.get("body", "")
    if 'class="math' not in body and "jupyter.widget-state" not in body:
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

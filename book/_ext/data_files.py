"""Data of a page in files of their own, so that its text stands there before them.

A page opened from a folder may not fetch JSON. So each file is a script that puts the data back in
its place; deferred scripts have run when the document is ready, which is when pictures begin.
"""

import json
import re
import zlib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

DATA = re.compile(r'<script type="application/json"(?: id="([\w-]+)")?>(.*?)</script>', re.DOTALL)
FOLDER = "_static/data"
LEAST = 10_000  # characters
SCRIPT = """(() => {{
const data = Object.assign(document.createElement("script"), {about});
document.currentScript.replaceWith(data);
}})();
"""


def moved(body: str, page: str, least: int = LEAST) -> tuple[str, dict[str, str]]:
    """Return the body of a page without its data, and what files hold them: path -> text.

    Args:
        body: HTML, with data as JSON in elements that are not shown.
        page: its name, as in _toc.yml.
        least: what is shorter, in characters, stays.
    """
    files: dict[str, str] = {}

    def move(match: re.Match[str]) -> str:
        name, text = match.groups()
        if len(text) < least:
            return match[0]
        path = f"{FOLDER}/{page.replace('/', '-')}-{len(files)}.js"
        about = {"type": "application/json", "textContent": text} | ({"id": name} if name else {})
        files[path] = SCRIPT.format(about=json.dumps(about, ensure_ascii=False))
        up, version = "../" * page.count("/"), zlib.crc32(text.encode())
        return f'<script defer src="{up}{path}?v={version:08x}"></script>'

    return DATA.sub(move, body), files


def write(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Move the data of a page out of it."""
    if app.builder.format != "html" or "body" not in context:
        return
    context["body"], files = moved(context["body"], page)
    for path, text in files.items():
        file = Path(app.outdir) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Signatures on the API page: a default that is no literal is shown as `...`, so that it parses."""

import re
from typing import Any

from sphinx.application import Sphinx


def hide_objects(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, result: str
) -> tuple[str, str] | None:
    """Replace `<factory>` and the like, no Python, which would leave the types unlinked and raw."""
    return (re.sub(r"= ?<.*?>(?=[,)])", "= ...", signature), result) if signature else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-signature", hide_objects)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

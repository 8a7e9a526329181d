"""Signatures on the API page: a dataclass's default factory, shown as `...` so that it parses."""

from typing import Any

from sphinx.application import Sphinx


def hide_factories(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, result: str
) -> tuple[str, str] | None:
    """Replace `<factory>`, which is no Python and would leave the types unlinked and raw."""
    return (signature.replace("<factory>", "..."), result) if signature else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-signature", hide_factories)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

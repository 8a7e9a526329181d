"""Text of a question -> HTML, as learning systems show it."""

import html
import re


def marked_up(text: str) -> str:
    """Formulas, code and emphasis as both systems show them.

    >>> marked_up("if $a < b$, *then* `c`")
    'if \\\\(a &lt; b\\\\), <em>then</em> <code>c</code>'
    """
    text = html.escape(text, quote=False)
    text = re.sub(r"\$(.+?)\$", r"\\(\1\\)", text)
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
    text = re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", text)
    return re.sub(r"\n\s*\n", "<br><br>", text).replace("\n", " ")

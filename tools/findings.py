"""Write book/findings.json: the numbers of *What we found* on the first page.

    .venv/bin/python tools/findings.py     after `make book`, when a table has changed

Chapters compute them from the recorded tables, assert what is said of them, and glue them. A test
holds the file against the chapters, and another README, which is never built, against the file.
"""

import json
import re
import sys
from pathlib import Path

import build
import nbformat

sys.path.append(str(build.ROOT / "book" / "_ext"))
import found

FILE = build.ROOT / "book" / "findings.json"
ROLE = re.compile(r"\{found\}`([\w-]+):([\w-]+)`")
Findings = dict[str, dict[str, str]]  # chapter -> name -> what stands there


def section() -> str:
    """What the first page says was found, without its numbers."""
    page = (build.ROOT / "book" / "intro.md").read_text("utf-8")
    return page.partition("\n## What we found\n")[2].partition("\n## ")[0]


def computed(executed: Path = build.EXECUTED) -> Findings:
    """The numbers of that section, as the executed chapters give them.

    Raises:
        KeyError: no chapter has found a number that the page asks for.
    """
    findings: Findings = {}
    for chapter, name in sorted(ROLE.findall(section())):
        glued = found.glued(nbformat.read(executed / f"{chapter}.ipynb", as_version=4))
        findings.setdefault(chapter, {})[name] = glued[name]
    return findings


def filled(text: str, findings: Findings) -> str:
    """Put the numbers where the roles stand.

    >>> filled("**{found}`04-mnist:most`** of all", {"04-mnist": {"most": "90 %"}})
    '**90 %** of all'
    """
    return ROLE.sub(lambda role: findings[role[1]][role[2]], text)


if __name__ == "__main__":
    FILE.write_text(json.dumps(computed(), indent=1, ensure_ascii=False) + "\n", "utf-8")

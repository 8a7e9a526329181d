"""Write the repository's address, `repository.url` in _config.yml, wherever the project names it.

Run as `make address`. The address in pyproject.toml tells which one stands there now; the
repositories of others are left alone.
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
HOLDERS = ("notebooks/*.ipynb", "*.md", "book/*.md", "CITATION.cff", "pyproject.toml")


def configured(root: Path = ROOT) -> tuple[str, str]:
    """The repository as ("owner/name", "branch"), from _config.yml."""
    repository = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    return _slug(repository["url"]), repository["branch"]


def written(root: Path = ROOT) -> str:
    """The "owner/name" that the project's files hold now, from pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return _slug(project["urls"]["Repository"])


def in_colab(notebook: str, root: Path = ROOT) -> str:
    """Where a notebook of the book, by its file name, opens in Colab."""
    slug, branch = configured(root)
    return f"https://colab.research.google.com/github/{slug}/blob/{branch}/notebooks/{notebook}"


def _slug(url: str) -> str:
    return "/".join(url.rstrip("/").removesuffix(".git").split("/")[-2:])


def rewrite(text: str, old: str, new: str, branch: str) -> str:
    """Replace the address `old` ("owner/name") by `new` in links, badges and install lines.

    >>> rewrite("git+https://github.com/a/b", "a/b", "c/d", "main")
    'git+https://github.com/c/d'
    >>> rewrite("https://a.github.io/b/ github.com/a/bc", "a/b", "c/d", "main")
    'https://c.github.io/d/ github.com/a/bc'
    """
    (old_owner, old_name), (owner, name) = old.split("/"), new.split("/")
    end = r"(?![\w-])"
    text = re.sub(rf"(github(?:\.com)?/){re.escape(old)}{end}", rf"\g<1>{new}", text)
    text = re.sub(rf"(/github/{re.escape(new)}/blob/)[^/\s]+/", rf"\g<1>{branch}/", text)
    pages = re.escape(f"{old_owner}.github.io/{old_name}")
    return re.sub(rf"\b{pages}{end}", f"{owner}.github.io/{name}", text)


def holders(root: Path = ROOT) -> list[Path]:
    """Every file that may hold the address."""
    return sorted(path for pattern in HOLDERS for path in root.glob(pattern))


def main(root: Path = ROOT) -> int:
    """Rewrite what differs and name it."""
    (new, branch), old = configured(root), written(root)
    for path in holders(root):
        before = path.read_text("utf-8")
        after = rewrite(before, old, new, branch)
        if after != before:
            path.write_text(after, "utf-8")
            print(f"{path.relative_to(root)}: now {new}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Number the chapters as book/_toc.yml orders them: names of files, and wherever a number stands.

Run as `make renumber`, after moving or adding a line in the contents. Chapters are renamed with
git; links, `chapter 9` in prose, courses and redirects follow. The record of what was done,
experiments/ and the CHANGELOG of releases, keeps its words.
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
#: "chapter 4", "Chapters 9, 10 and 12", "chapters 9 to 12", "[chapter 9]", "appendix 16"
NAMED = r"[Cc]hapters?|[Aa]ppendix|[Aa]ppendices"
MENTION = re.compile(rf"\b((?:{NAMED})[ \n])(\d+(?:(?:,? and |, | or | to |–)\d+)*)\b")
#: [9](../notebooks/09-mnist.ipynb), a link on a number alone
LINKED = re.compile(r"\[\d+(\]\([./]*(?:notebooks/)?(\d\d)-[\w-]+\.ipynb)")
#: Records, and the tool with its examples.
RECORDS = ("experiments/results/", "experiments/protocol.md", "tools/renumber", "tests/test_renum")
REDIRECTS = "book/redirects.txt"
#: In the CHANGELOG, what is below has the words of its time.
RELEASED = "\n## [0.1"
SUFFIXES = set(".md .ipynb .py .js .mjs .yml .toml .txt .csv .json".split())


def in_order(root: Path = ROOT) -> list[str]:
    """Return the file stems of the chapters, in the order of the contents."""
    parts = yaml.safe_load((root / "book" / "_toc.yml").read_text("utf-8"))["parts"]
    files = [Path(entry["file"]) for part in parts for entry in part["chapters"]]
    return [file.name for file in files if file.parent.name == "notebooks"]


def renamed(stems: list[str]) -> dict[str, str]:
    """Return old stem -> new stem, for those whose place is not their number.

    >>> renamed(["01-why", "09-mnist", "02-how"])
    {'09-mnist': '02-mnist', '02-how': '03-how'}
    """
    numbered = {stem: f"{number:02}-{stem[3:]}" for number, stem in enumerate(stems, 1)}
    return {old: new for old, new in numbered.items() if old != new}


def follow(text: str, names: dict[str, str]) -> str:
    """Return a text in which stems and mentions of chapters have their new numbers.

    Raises:
        ValueError: a range of chapters that are no longer neighbours.

    >>> names = {"09-mnist": "02-mnist", "02-how": "03-how"}
    >>> follow("[chapter 9](09-mnist.ipynb#a), chapters 1, 2 and 9", names)
    '[chapter 2](02-mnist.ipynb#a), chapters 1, 2 and 3'
    """
    numbers = {int(old[:2]): int(new[:2]) for old, new in names.items()}

    def mention(match: re.Match[str]) -> str:
        return match[1] + _renumbered(match[2], numbers)

    stems = "|".join(map(re.escape, names)) or "$^"
    text = re.sub(rf"\b(?:{stems})(?![\w-])", lambda match: names[match[0]], text)
    text = LINKED.sub(lambda match: f"[{int(match[2])}{match[1]}", text)
    return MENTION.sub(mention, text)


def _renumbered(mentioned: str, numbers: dict[int, int]) -> str:
    """Return "9, 10 and 12" or "9 to 12" with new numbers, in their order."""
    for first, last in re.findall(r"(\d+)(?: to |–)(\d+)", mentioned):
        now = sorted(numbers.get(n, n) for n in range(int(first), int(last) + 1))
        if now[-1] - now[0] != int(last) - int(first):
            raise ValueError(f"chapters {mentioned}: no longer neighbours; name them one by one")
    found = [numbers.get(int(n), int(n)) for n in re.findall(r"\d+", mentioned)]
    following = iter(found if re.search(" to |–", mentioned) else sorted(found))
    return re.sub(r"\d+", lambda _: str(next(following)), mentioned)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


def tracked(root: Path) -> list[str]:
    """Return the names of the files that git holds."""
    return [name for name in _git(root, "ls-files", "-z").split("\0") if name]


def texts(root: Path) -> list[Path]:
    """Return the files that may name a chapter."""
    names = [name for name in tracked(root) if not name.startswith(RECORDS)]
    return [root / name for name in names if Path(name).suffix in SUFFIXES]


def main(root: Path = ROOT) -> int:
    """Rename and rewrite; say what was moved, or what a person has to decide."""
    names = renamed(in_order(root))
    rewritten, faults = {}, []
    for path in texts(root):
        before = path.read_text("utf-8")
        text, *released = before.partition(RELEASED)
        try:
            after = "".join([follow(text, names), *released])
        except ValueError as fault:
            faults.append(f"{path.relative_to(root)}: {fault}")
            continue
        if after != before:
            rewritten[path] = after
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 2
    for path, text in rewritten.items():
        path.write_text(text, "utf-8")
    away = {}
    for path in map(Path, tracked(root)):
        stem, dot, rest = path.name.partition(".")
        if stem in names:
            away[path] = path.with_name(names[stem] + dot + rest)
    for old in away:  # in two steps, since a new name may be an old one of another file
        _git(root, "mv", str(old), f"{old}.moving")
    for old, new in away.items():
        _git(root, "mv", f"{old}.moving", str(new))
    lines = [f"notebooks/{old} notebooks/{new}\n" for old, new in names.items()]
    with (root / REDIRECTS).open("a", encoding="utf-8") as addresses:
        addresses.writelines(lines)
    print(f"{len(names)} chapters renumbered, {len(away)} files moved, {len(rewritten)} rewritten")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Thirty exam questions with other numbers for each seed: `make exam SEED=2027`.

The source, course/exam/questions.md, holds questions below `## name · points · chapter`, and below
`### Answer` what is expected and what each point is for. Code in a fence draws the numbers with
`rng` and computes the answer; `«expression:format»` shows it. What is made is for the teacher:
questions and, apart, answers, as Markdown and as pages to print.
"""

import argparse
import html
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import quiz
import slides
from nbconvert.filters import markdown2html

SOURCE = quiz.ROOT / "course" / "exam" / "questions.md"
BUILT = quiz.ROOT / "book" / "_build" / "exam"
HEAD = re.compile(r"^## ([\w-]+) · (\d+) points · chapter (\d+)$", re.MULTILINE)
WORTH = re.compile(r"^- (\d+) ", re.MULTILINE)
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 12pt/1.5 serif; max-width: 45em; margin: 2em auto }} h2 {{ font-size: 1.1em }}
section {{ break-inside: avoid }}</style>
<script>MathJax = {{ tex: {{ inlineMath: [["$", "$"]] }} }};</script>
<script src="{mathjax}"></script>
<h1>{title}</h1>
{body}
</html>
"""


@dataclass(frozen=True)
class Task:
    """One question of an exam, its answer, and what it is worth."""

    name: str
    points: int
    chapter: int
    asked: str
    answer: str


def read(source: str, seed: int) -> list[Task]:
    """The questions of a source, with the numbers of a seed.

    Raises:
        QuizError: code fails, there is no answer, or its points do not add up.

    >>> text = "## sum · 1 points · chapter 2\\n1 + 1?\\n### Answer\\n«1 + 1».\\n- 1 for it"
    >>> read(text, 0)[0].answer
    '2.\\n- 1 for it'
    """
    parts = HEAD.split(source)[1:]
    tasks = []
    for name, points, chapter, text in zip(*(parts[n::4] for n in range(4)), strict=True):
        known = quiz.run(name, text, {"rng": random.Random(f"{seed} {name}")})
        asked, _, answer = quiz.shown(name, text, known).partition("### Answer")
        if sum(map(int, WORTH.findall(answer))) != int(points):
            raise quiz.QuizError(f"{name}: what its points are for does not add up to {points}")
        tasks.append(Task(name, int(points), int(chapter), asked.strip(), answer.strip()))
    return tasks


def sheets(tasks: list[Task], seed: int) -> dict[str, str]:
    """Both papers as Markdown, by the name of their file."""
    total = sum(task.points for task in tasks)
    questions, answers = [f"# Exam, {total} points"], [f"# Exam, answers to seed {seed}"]
    for number, task in enumerate(tasks, 1):
        head = f"## {number}. ({task.points} points)"
        questions.append(f"{head}\n\n{task.asked}")
        answers.append(f"{head} chapter {task.chapter}, {task.name}\n\n{task.answer}")
    return {
        f"exam-{seed}": "\n\n".join(questions) + "\n",
        f"exam-{seed}-answers": "\n\n".join(answers) + "\n",
    }


def page(text: str, mathjax: str) -> str:
    """A paper as a page to print; no question is cut by the end of a sheet."""
    title, *parts = re.split(r"\n\n(?=## )", text.strip())
    body = "\n".join(f"<section>{markdown2html(part)}</section>" for part in parts)
    return PAGE.format(title=html.escape(title.removeprefix("# ")), mathjax=mathjax, body=body)


def main(words: list[str] | None = None, into: Path = BUILT) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Write an exam and its answers.")
    parser.add_argument("--seed", type=int, default=1, help="which numbers are drawn")
    seed = parser.parse_args(words).seed
    try:
        tasks = read(SOURCE.read_text("utf-8"), seed)
    except quiz.QuizError as error:
        print(f"{SOURCE.name}: {error}", file=sys.stderr)
        return 2
    into.mkdir(parents=True, exist_ok=True)
    mathjax = slides.assets()["mathjax"]
    for name, text in sheets(tasks, seed).items():
        (into / f"{name}.md").write_text(text, "utf-8")
        (into / f"{name}.html").write_text(page(text, mathjax), "utf-8")
    print(f"{len(tasks)} questions, {sum(task.points for task in tasks)} points: {into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Five questions a chapter, for Moodle (GIFT) and for Canvas (QTI 1.2): `make quiz`.

A source, course/quiz/NN-name.md, holds questions below `## name`. Python in a fence is run and not
shown; `«expression:format»` shows what it says. Then the answers, each with what to say about it
on the next line, after `>`:

    + the right one                     = expression ± tolerance     the right number
    - a wrong one                       ! expression                 a wrong number

So no number of an answer is typed that the library could compute.
"""

import math
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qti
import torch
from markup import marked_up

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "course" / "quiz"
BUILT = ROOT / "book" / "_build" / "quiz"
FENCE = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
ANSWER = re.compile(r"^([+\-=!]) (.+)\n> (.+)$", re.MULTILINE)
SHOWN = re.compile(r"«(.+?)(?::([^»:]+))?»")


class QuizError(Exception):
    """A question that makes no sense; its text says which, and why, in one line."""


@dataclass(frozen=True)
class Answer:
    """One answer, in words or as a number, and what to say to whoever gives it."""

    said: str
    right: bool
    feedback: str
    number: float | None = None


@dataclass(frozen=True)
class Question:
    """What is asked, and the answers; a number is right within its tolerance."""

    name: str
    text: str
    answers: tuple[Answer, ...]
    tolerance: float | None = None


def read(source: str, **given: Any) -> list[Question]:
    """The questions of a text, their code run.

    Raises:
        QuizError: code fails, or the answers do not make a question.

    >>> (q,) = read("## sum\\n\\nHow much?\\n\\n= 1 + 1 ± 0.1\\n> Yes.\\n! 11\\n> Add.\\n")
    >>> q.answers[0].number, q.answers[1].number, q.tolerance
    (2.0, 11.0, 0.1)
    """
    parts = re.split(r"^## ([\w-]+)$", source, flags=re.MULTILINE)[1:]
    return [_question(n, t, dict(given)) for n, t in zip(parts[::2], parts[1::2], strict=True)]


def run(name: str, text: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run the code of one question; what it has defined, for expressions to use."""
    known = {"math": math, "np": np, "torch": torch, **given}
    for code in FENCE.findall(text):
        try:
            exec(code, known)
        except Exception as error:
            raise QuizError(f"{name}: its code fails: {error!r}") from error
    return known


def shown(name: str, text: str, known: dict[str, Any]) -> str:
    """The text without its code, and with what expressions say."""

    def value(found: re.Match[str]) -> str:
        return format(evaluate(name, found[1], known), found[2] or "")

    return SHOWN.sub(value, FENCE.sub("", text)).strip()


def evaluate(name: str, expression: str, known: dict[str, Any]) -> Any:
    """What an expression of a question says."""
    try:
        return eval(expression, known)
    except Exception as error:
        raise QuizError(f"{name}: {expression} fails: {error!r}") from error


def _question(name: str, text: str, given: dict[str, Any]) -> Question:
    known, tolerance, answers = run(name, text, given), None, []
    for mark, said, feedback in ANSWER.findall(text):
        number = None
        if mark in "=!":
            said, _, within = said.partition(" ± ")
            number = float(evaluate(name, said, known))
            if mark == "=":
                tolerance = float(within)
            said = f"{number:.6g}"
        told = shown(name, feedback, known)
        answers.append(Answer(shown(name, said, known), mark in "+=", told, number))
    if tolerance is None:  # or the right one would always stand where its author put it
        random.Random(name).shuffle(answers)
    question = Question(name, shown(name, ANSWER.sub("", text), known), tuple(answers), tolerance)
    _check(question)
    return question


def _check(question: Question) -> None:
    right = [answer for answer in question.answers if answer.right]
    wrong = [answer for answer in question.answers if not answer.right]
    said = {answer.said for answer in question.answers}
    if len(right) != 1 or not wrong or len(said) < len(question.answers):
        raise QuizError(
            f"{question.name}: it needs one right answer, wrong ones, and all different"
        )
    numbers = [answer.number for answer in wrong if answer.number is not None]
    if any(
        abs(number - (right[0].number or 0.0)) <= (question.tolerance or 0.0) for number in numbers
    ):
        raise QuizError(f"{question.name}: a wrong number counts as the right one")


def gift(questions: list[Question], category: str) -> str:
    """Questions as Moodle imports them."""
    return f"$CATEGORY: {category}\n\n" + "\n\n".join(map(_gift, questions)) + "\n"


def _gift(question: Question) -> str:
    def plain(text: str) -> str:
        return re.sub(r"([\\~=#{}:])", r"\\\1", marked_up(text))

    lines = []
    for answer in question.answers:
        if question.tolerance is None:
            lines.append(f"{'=' if answer.right else '~'}{plain(answer.said)}")
        else:
            worth = "=" if answer.right else "=%0%"
            within = question.tolerance if answer.right else qti.ROUNDING
            lines.append(f"{worth}{answer.said}:{within:g}")
        lines[-1] += f"#{plain(answer.feedback)}"
    kind = "" if question.tolerance is None else "#"
    answers = "\n".join(f"  {line}" for line in lines)
    return f"::{question.name}::[html]{plain(question.text)}{{{kind}\n{answers}\n}}"


def main(into: Path = BUILT) -> int:
    """Write both forms of every source."""
    into.mkdir(parents=True, exist_ok=True)
    for source in sorted(SOURCES.glob("*.md")):
        try:
            questions = read(source.read_text("utf-8"))
        except QuizError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            return 2
        title = f"Chapter {int(source.stem[:2])}"
        text = gift(questions, f"infcop_lite/{title}")
        (into / f"{source.stem}.gift.txt").write_text(text, "utf-8")
        qti.write(into / f"{source.stem}.qti.zip", source.stem, title, questions)
        print(f"{source.stem}: {len(questions)} questions")
    print(f"for Moodle *.gift.txt, for Canvas *.qti.zip: {into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

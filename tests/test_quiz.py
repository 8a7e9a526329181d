"""The quiz: what its sources hold, that numbers are computed, and that both forms say the same."""

import re
import zipfile
from xml.etree import ElementTree

import build
import pytest
import quiz

SOURCES = {path.stem: path.read_text("utf-8") for path in sorted(quiz.SOURCES.glob("*.md"))}
each_source = pytest.mark.parametrize("name", SOURCES)
NUMBER = "## sum\n\nHow much is it?\n\n= 1 + 1 ± 0.1\n> Yes.\n! 11\n> Add them.\n"
CHOICE = "## set\n\nIs $a_{1} = b$: yes?\n\n+ Yes: {a}\n> Right ~ so.\n- No\n> Wrong # so.\n"


def test_every_chapter_has_a_quiz():
    assert list(SOURCES) == [path.stem for path in build.notebooks()]


@each_source
def test_a_quiz_has_five_questions_and_each_wrong_answer_says_what_is_wrong(name):
    questions = quiz.read(SOURCES[name])
    assert len(questions) == 5
    for question in questions:
        assert len(question.answers) >= 3
        for answer in question.answers:
            assert len(answer.feedback.split()) >= 3, answer
            assert "«" not in answer.said + answer.feedback + question.text


@each_source
def test_a_right_number_is_computed_and_not_typed(name):
    for said in re.findall(r"(?m)^= (.+) ± ", SOURCES[name]):
        assert re.search(r"[A-Za-z_]{3}", said), f"{said} is typed"
    with_numbers = SOURCES[name].count("\n= ")
    assert len(quiz.FENCE.findall(SOURCES[name])) >= with_numbers or "\n= " not in SOURCES[name]


def test_no_name_stands_twice():
    names = [q for text in SOURCES.values() for q in re.findall(r"(?m)^## (\S+)$", text)]
    assert len(names) == len(set(names)) == 5 * len(SOURCES)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (NUMBER.replace("= 1 + 1", "= 1 / 0"), "sum: 1 / 0 fails"),
        (NUMBER.replace("! 11", "! 2.05"), "a wrong number counts as the right one"),
        (CHOICE.replace("- No\n> Wrong # so.\n", ""), "one right answer, wrong ones"),
        (CHOICE.replace("- No", "+ No"), "one right answer"),
        (CHOICE.replace("- No", "- Yes: {a}"), "all different"),
        (CHOICE.replace("+ Yes", "```python\nassert False\n```\n+ Yes"), "its code fails"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_a_line(text, wrong):
    with pytest.raises(quiz.QuizError, match=re.escape(wrong)) as refusal:
        quiz.read(text)
    assert len(str(refusal.value).splitlines()) == 1


# --- GIFT ---


def unescaped(text):
    return re.sub(r"\\([\\~=#{}:])", r"\1", text)


def from_gift(text):
    """Name, kind and answers (mark, said, feedback) of each question, read by the rules of GIFT."""
    found = []
    for block in text.split("\n\n")[1:]:
        name, body = re.match(r"::(.+?)::\[html\](.*)", block, re.DOTALL).groups()
        _, answers = re.split(r"(?<!\\)\{", body)
        kind, *lines = answers.rstrip("}\n ").split("\n")
        parts = [re.split(r"(?<!\\)#", line.strip()) for line in lines]
        found.append((name, kind, [(said[0], unescaped(said[1:]), told) for said, told in parts]))
    return found


@each_source
def test_moodle_reads_every_question_with_one_right_answer_and_a_feedback_for_each(name):
    questions = quiz.read(SOURCES[name])
    found = from_gift(quiz.gift(questions, "a"))
    assert [n for n, _, _ in found] == [question.name for question in questions]
    for (_, kind, answers), question in zip(found, questions, strict=True):
        assert kind == ("" if question.tolerance is None else "#")
        full = [a for a in answers if a[0] == "=" and not a[1].startswith("%0%")]
        assert len(full) == 1
        assert all(told for _, _, told in answers)
        if question.tolerance is None:
            said = {text for _, text, _ in answers}
            assert said == {quiz.marked_up(answer.said) for answer in question.answers}


def test_signs_that_mean_something_to_moodle_are_escaped():
    text = quiz.gift(quiz.read(CHOICE), "a")
    assert r"Is \\(a_\{1\} \= b\\)\: yes?{" in text
    assert r"=Yes\: \{a\}#Right \~ so." in text
    assert r"~No#Wrong \# so." in text


# --- QTI ---


def worth(item, given):
    """The score and the feedback that an answer gets, by the rules of QTI 1.2."""
    score, told = 0, []
    for condition in item.findall(".//{*}respcondition"):
        held = []
        for test in condition.find("{*}conditionvar"):
            kind = test.tag.partition("}")[2]
            if kind == "varequal":
                held.append(test.text == given)
            else:
                sign = 1 if kind == "vargte" else -1
                held.append(sign * (float(given) - float(test.text)) >= 0)
        if all(held):
            score = int(condition.findtext("{*}setvar") or score)
            told += [shown.get("linkrefid") for shown in condition.findall(".//{*}displayfeedback")]
            if condition.get("continue") == "No":
                break
    return score, told


@each_source
def test_canvas_gives_the_right_answer_all_points_and_each_answer_its_feedback(name, tmp_path):
    questions = quiz.read(SOURCES[name])
    quiz.qti.write(tmp_path / "a.zip", name, "Chapter", questions)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        manifest = ElementTree.fromstring(archive.read("imsmanifest.xml"))
        (resource,) = manifest.findall(".//{*}resource")
        assert resource.get("type") == "imsqti_xmlv1p2"
        (file,) = resource
        root = ElementTree.fromstring(archive.read(file.get("href")))
    items = list(root.findall(".//{*}item"))
    assert len(items) == len(questions)
    for item, question in zip(items, questions, strict=True):
        boxes = {box.get("ident"): box for box in item.findall(".//{*}itemfeedback")}
        for number, answer in enumerate(question.answers):
            given = f"answer{number}" if answer.number is None else repr(answer.number)
            score, told = worth(item, given)
            assert score == 100 * answer.right
            assert told == [f"answer{number}_fb"]
            (text,) = boxes[told[0]].findall(".//{*}mattext")
            assert text.text == quiz.marked_up(answer.feedback)


def test_the_same_questions_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        quiz.qti.write(tmp_path / name, "x", "X", quiz.read(NUMBER + CHOICE))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

"""The exam: thirty questions, other numbers for another seed, points that add up."""

import exam
import pytest
import quiz

SOURCE = exam.SOURCE.read_text("utf-8")
SUM = "## sum · 2 points · chapter 1\nHow much?\n### Answer\n«1 + 1»\n- 1 for it\n- 1 for why\n"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thirty_questions_are_worth_a_hundred_points_with_any_seed(seed):
    tasks = exam.read(SOURCE, seed)
    assert len(tasks) == 30
    assert sum(task.points for task in tasks) == 100
    for task in tasks:
        assert "«" not in task.asked + task.answer
        assert "nan" not in (task.asked + task.answer).split()


def test_another_seed_asks_other_numbers_and_the_same_seed_the_same():
    one, again, other = (exam.read(SOURCE, seed) for seed in (1, 1, 2))
    assert one == again
    changed = [a.name for a, b in zip(one, other, strict=True) if a.asked != b.asked]
    assert len(changed) >= 8
    assert [task.name for task in one] == [task.name for task in other]


def test_the_paper_for_students_has_no_answers():
    tasks = exam.read(SOURCE, 1)
    papers = exam.sheets(tasks, 1)
    questions, answers = papers["exam-1"], papers["exam-1-answers"]
    for task in tasks:
        assert task.asked in questions
        assert task.answer in answers
        assert task.answer not in questions


def test_points_that_do_not_add_up_are_refused():
    with pytest.raises(quiz.QuizError, match="sum: what its points are for does not add up to 3"):
        exam.read(SUM.replace("2 points", "3 points"), 0)


def test_a_page_to_print_keeps_a_question_on_one_sheet():
    text = exam.sheets(exam.read(SUM, 0), 0)["exam-0-answers"]
    html = exam.page(text, "data:,")
    assert html.count("<section>") == 1
    assert "break-inside: avoid" in html
    assert "<li>1 for it</li>" in html.replace("<p>", "").replace("</p>", "")

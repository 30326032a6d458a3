import asyncio
import json
from dataclasses import replace
from functools import cache

import pytest
from saved_answers import NOT_ACCEPTED, RLLA, answers_to, right_texts
from template_spelling import CONTRADICTIONS, SPELLINGS
from tiers import in_full

from rest_verl.eval.questions import Question, apibank_questions, bfcl_questions
from rest_verl.eval.score import Scored, outcomes_of, score_answers
from rest_verl.formats import get_format

RIGHT = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {"x": 1}}\n</tool_call>'


bfcl = cache(bfcl_questions)  # seconds


def score(questions, answers, on_progress=lambda done, total: None):
    return asyncio.run(score_answers(questions, answers, RLLA, on_progress))


@pytest.fixture
def questions(tmp_path):
    """Two questions of API-Bank, each answered by the call f(x=1)."""
    rows = [{"system": "s", "user": user, "answer": {"name": "f", "parameters": {"x": 1}}} for user in ("a", "b")]
    path = tmp_path / "level1.json"
    path.write_text(json.dumps(rows))
    return apibank_questions([path])


def test_the_ground_truths_of_bfcl_score_100_percent_but_for_those_that_bfcl_itself_never_accepts():
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data")
    pytest.importorskip("mpmath", reason="BFCL's MathAPI needs it")
    questions = bfcl()
    scored = score(questions, [one for question in questions for one in answers_to(question, right_texts(question))])
    assert len(scored) == 4441
    assert sorted(one.id for one in scored if one.numbers["acc"] != 1) == sorted(NOT_ACCEPTED)


def in_format(text, format):
    """A right turn, which is in the format rlla, in another one."""
    calls = RLLA.read_calls(text.encode(), RLLA.parse(text.encode()))
    if not calls:
        return "It is done."
    _, write, spell = SPELLINGS[format]
    if format == "pythonic":
        return "[" + ", ".join(write(call, spell)[1:-1] for call in calls) + "]"
    return "\n".join(write(call, spell) for call in calls)


@pytest.mark.parametrize("format", ["hermes", "qwen3_coder", "glm", "minimax", "seed", "pythonic"])
def test_ground_truths_score_the_same_in_every_format(format):
    """As in hermes, but for the rows whose answer contradicts its tool's types where the format writes none."""
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data")
    pytest.importorskip("mpmath", reason="BFCL's MathAPI needs it")
    questions = bfcl()[:: in_full(40, 1)]
    answers = [
        one
        for question in questions
        for one in answers_to(question, [in_format(text, format) for text in right_texts(question)])
    ]
    scored = asyncio.run(score_answers(questions, answers, get_format(format), lambda done, total: None))
    wrong = {one.id for one in scored if one.numbers["acc"] != 1}
    excused = set(NOT_ACCEPTED) | (set() if format in ("hermes", "pythonic") else CONTRADICTIONS)
    assert wrong == {question.id for question in questions} & excused


def test_verdicts_come_by_question_and_seed_whatever_the_order_of_answers(questions):
    first, second = questions
    answers = [
        *answers_to(second, ["no call"], seed=1),
        *answers_to(first, [RIGHT], seed=1),
        *answers_to(first, [RIGHT], seed=0),
        *answers_to(second, [RIGHT], seed=0),
    ]
    scored = score(questions, answers)
    assert [(one.id, one.seed, one.numbers["acc"]) for one in scored] == [
        ("apibank_level1_0", 0, 1),
        ("apibank_level1_0", 1, 1),
        ("apibank_level1_1", 0, 1),
        ("apibank_level1_1", 1, 0),
    ]
    outcomes = outcomes_of(scored)["apibank_level1"]
    assert outcomes.ids == ("apibank_level1_0", "apibank_level1_1")
    assert outcomes.accuracy.tolist() == [[1, 1], [1, 0]]


def test_a_refused_request_is_a_wrong_answer(questions):
    refused = replace(answers_to(questions[0], [""])[0], error="longer than the context")
    scored = score(questions, [refused, *answers_to(questions[1], [RIGHT])])
    assert [one.numbers["acc"] for one in scored] == [0, 1]


def test_a_run_that_is_not_whole_is_not_scored(questions):
    with pytest.raises(ValueError, match=r"1 of 2 conversations.*apibank_level1_1, seed 0; rerun the command"):
        score(questions, answers_to(questions[0], [RIGHT]))
    with pytest.raises(ValueError, match="no answers to score"):
        score(questions, [])


def test_answers_to_other_questions_are_refused(questions):
    stranger = Question("apibank_level3", "apibank_level3_7", 7, questions[0].row)
    with pytest.raises(ValueError, match="'apibank_level3_7', which is not among the 2 questions"):
        score(questions, answers_to(stranger, [RIGHT]))


def test_progress_counts_conversations(questions):
    seen = []
    answers = [one for question in questions for seed in (0, 1) for one in answers_to(question, [RIGHT], seed)]
    score(questions, answers, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_number_is_taken_from_the_data_sources_that_have_it():
    scored = [Scored("a", "a0", 0, {"acc": 1.0, "share": 0.5}), Scored("b", "b0", 0, {"acc": 0.0})]
    assert outcomes_of(scored, "share").keys() == {"a"}
    assert outcomes_of(scored)["b"].accuracy.tolist() == [[0.0]]

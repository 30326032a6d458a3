"""The file of answers: nothing lost, nothing twice, the same bytes however a run went. Its scores."""

import asyncio
import json
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_answers import NOT_ACCEPTED, RLLA, answers_to, right_texts
from template_spelling import CONTRADICTIONS, SPELLINGS
from tiers import examples, in_full

from rest_verl.eval.answers import Answer, load_answers, open_log, save_answers
from rest_verl.eval.questions import Question, apibank_questions, bfcl_questions
from rest_verl.eval.score import Scored, outcomes_of, score_answers
from rest_verl.formats import get_format

ANSWER = Answer("bfcl_multiple", "multiple_0", 0, 0, "text", "stop", 10, 2)
HOSTILE = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    ["\ud800", "a\nb\r\u2028\x85\x00", '"}{"', "\U0001f600"]
)


def add_all(path, answers):
    with open_log(path) as log:
        for answer in answers:
            log.add(answer)


@examples(60)
@given(texts=st.lists(HOSTILE, min_size=1, max_size=4))
def test_whatever_a_model_writes_comes_back_as_it_was(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "answers.jsonl"
    answers = [replace(ANSWER, step=step, text=text, id=f"q{text}") for step, text in enumerate(texts)]
    add_all(path, answers)
    assert load_answers(path) == answers
    assert path.read_bytes().isascii() and path.read_bytes().count(b"\n") == len(answers)


def test_a_file_cut_anywhere_goes_on_with_every_whole_answer_and_ends_with_the_same_bytes(tmp_path):
    answers = [replace(ANSWER, id=f"multiple_{number}", text=f"t{number}") for number in range(3)]
    whole = tmp_path / "whole.jsonl"
    add_all(whole, answers)
    lines = whole.read_bytes().splitlines(keepends=True)
    for length in range(len(whole.read_bytes()) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole.read_bytes()[:length])
        there = load_answers(path)
        # a last line that only lacks its line break is whole
        assert len(there) == sum(length >= len(b"".join(lines[: number + 1])) - 1 for number in range(3))
        assert there == answers[: len(there)]
        add_all(path, answers[len(there) :])
        assert path.read_bytes() == whole.read_bytes(), length


def test_the_order_at_the_end_is_that_of_questions_seeds_and_steps_whatever_came_first(tmp_path):
    questions = [("b", "2"), ("a", "10"), ("a", "9")]
    wanted = [
        replace(ANSWER, source=source, id=id, seed=seed, step=step)
        for source, id in questions
        for seed in (0, 1)
        for step in (0, 1)
    ]
    path = tmp_path / "answers.jsonl"
    with open_log(path) as log:
        for answer in reversed(wanted):
            log.add(answer)
        log.sort(questions)
    assert load_answers(path) == wanted


def test_an_answer_to_a_question_of_another_run_is_named(tmp_path):
    with open_log(tmp_path / "answers.jsonl") as log:
        log.add(ANSWER)
        with pytest.raises(ValueError, match=r"to no question of this run: source 'bfcl_multiple', id 'multiple_0'"):
            log.sort([("bfcl_multiple", "multiple_1")])
    assert load_answers(tmp_path / "answers.jsonl") == [ANSWER]


def test_a_second_answer_to_one_request_is_refused_when_written_and_when_read(tmp_path):
    path = tmp_path / "answers.jsonl"
    with open_log(path) as log:
        log.add(ANSWER)
        with pytest.raises(ValueError, match="two answers to one request"):
            log.add(replace(ANSWER, text="other"))
    assert load_answers(path) == [ANSWER]
    save_answers(path, [ANSWER, replace(ANSWER, text="other")])
    with pytest.raises(ValueError, match="line 2: answers the same request as line 1"):
        load_answers(path)


def test_a_second_process_cannot_write_to_the_same_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    with open_log(path), pytest.raises(ValueError, match="another process is writing"), open_log(path):
        pass
    add_all(path, [ANSWER])  # it is free again


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{]", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("3", "line 2: not an answer"),
        ('{"source": "a"}', "line 2: not an answer: id"),
        (json.dumps({"source": "a", "id": "b", "seed": "x", "step": 0, "text": ""}), "line 2: not an answer: seed"),
        (json.dumps({"source": "a", "id": "b", "seed": 0, "step": 0, "text": "", "txt": ""}), "not an answer: txt"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path, line, message):
    path = tmp_path / "answers.jsonl"
    add_all(path, [ANSWER])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_answers(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl: no such file"):
        load_answers(tmp_path / "absent.jsonl")


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

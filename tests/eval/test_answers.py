"""The file of answers: nothing lost, nothing twice, the same bytes however a run went."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples

from rest_verl.eval.answers import Answer, load_answers, open_log, save_answers

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

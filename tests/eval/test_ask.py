"""Asking over HTTP: nothing twice, in any order of arrival; what is retried, what counts as wrong, what ends a run."""

import asyncio
import json

import pytest
from scripted_endpoint import Refusal, ScriptedEndpoint, right_answer, single_question, sum_question

import rest_verl.eval.endpoint as endpoint_module
from rest_verl.eval.answers import load_answers, open_log
from rest_verl.eval.ask import ask_all
from rest_verl.eval.endpoint import Endpoint, Sampling, find_model
from rest_verl.eval.score import score_answers
from rest_verl.formats import get_format

RLLA = get_format("rlla")
QUESTIONS = [
    *(single_question(100 + number, number) for number in range(6)),
    *(sum_question(number, number + 1, index=6 + number) for number in range(4)),
]
REQUESTS = 6 + 4 * 4  # of one seed: a dialogue has a call and an answer in each of its two turns


@pytest.fixture
def no_retries(monkeypatch):
    monkeypatch.setattr(endpoint_module, "RETRIES", 0)


def answer(body):
    return right_answer(body["messages"])


def ask(server, path, questions=QUESTIONS, seeds=2, concurrency=4, sampling=None, model="tiny", on_progress=None):
    async def run():
        name = await find_model(server.url, model) if model is None else model
        async with Endpoint(server.url, name, sampling or Sampling()) as endpoint:
            with open_log(path) as log:
                await ask_all(
                    questions, seeds, RLLA, endpoint, log, concurrency, on_progress or (lambda done, total: None)
                )

    asyncio.run(run())


def requests(bodies):
    """What tells the requests of a run apart."""
    return [json.dumps([body["messages"], body["seed"]]) for body in bodies]


def test_every_conversation_is_held_with_every_seed_and_each_request_is_sent_once(tmp_path):
    seen = []
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "a.jsonl", on_progress=lambda *counts: seen.append(counts))
    sent = requests(server.answered)
    assert len(sent) == len(set(sent)) == 2 * REQUESTS
    assert seen[-1] == (20, 20) and len(seen) == 20
    answers = load_answers(tmp_path / "a.jsonl")
    assert all(one.finish_reason == "stop" and one.prompt_tokens for one in answers)
    scored = asyncio.run(score_answers(QUESTIONS, answers, RLLA))
    assert [one.numbers["acc"] for one in scored] == [1] * 20


@pytest.mark.parametrize("stop_after", [1, 7, 20, 43])
def test_a_run_that_was_broken_off_goes_on_in_the_middle_of_dialogues_and_ends_with_the_same_bytes(
    tmp_path, no_retries, stop_after
):
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "whole.jsonl", concurrency=1)

    def fail_later(body):
        return answer(body) if len(server.answered) < stop_after else Refusal(500, "out of memory")

    failure = pytest.raises(ConnectionError, match=r"out of memory.*rerun the same command to resume")
    with ScriptedEndpoint(fail_later) as server, failure:
        ask(server, tmp_path / "parts.jsonl")
    first = requests(server.answered)
    kept = len(load_answers(tmp_path / "parts.jsonl"))
    assert 0 < kept <= stop_after
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "parts.jsonl", concurrency=3)
    second = requests(server.answered)
    # what is asked again are answers that were on their way when the run ended
    assert len(second) == 2 * REQUESTS - kept and len(set(first) & set(second)) == stop_after - kept
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_whole_run_asks_nothing_more(tmp_path):
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "a.jsonl")
    assert server.answered == [] and (tmp_path / "a.jsonl").read_bytes() == before


def test_with_concurrency_1_conversations_come_one_after_the_other(tmp_path):
    openings = []

    def script(body):
        if len(body["messages"]) == 2:
            openings.append(body["messages"][-1]["content"])
        return answer(body)

    dialogues = [question for question in QUESTIONS if question.source == "sum"]
    with ScriptedEndpoint(script) as server:
        ask(server, tmp_path / "a.jsonl", dialogues, seeds=1, concurrency=1)
    lengths = [len(body["messages"]) for body in server.answered]
    assert lengths == [2, 4, 6, 8] * 4  # one after the other
    assert openings == ["Add 0.", "Add 1.", "Add 2.", "Add 3."]


def test_a_request_holds_all_settings_and_extra_keys_go_over_them(tmp_path):
    extra = {"top_k": 20, "max_tokens": None, "skip_special_tokens": None, "chat_template_kwargs": {"a": True}}
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=["</end>"], extra_body=extra)
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "a.jsonl", QUESTIONS[:1], seeds=1, sampling=sampling)
        ask(server, tmp_path / "b.jsonl", QUESTIONS[:1], seeds=1)
    full, default = ({key: body[key] for key in body if key != "messages"} for body in server.answered)
    assert full == {
        "model": "tiny",
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["</end>"],
        "seed": 0,
        "spaces_between_special_tokens": False,
        "top_k": 20,
        "chat_template_kwargs": {"a": True},
    }
    assert default["skip_special_tokens"] is False and default["max_tokens"] == 4096 and "stop" not in default


def test_busy_and_failing_endpoints_are_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    failures = [Refusal(503, "loading"), Refusal(429, "busy"), Refusal(500, "oops")]

    def script(body):
        return failures.pop() if failures else answer(body)

    with ScriptedEndpoint(script) as server:
        ask(server, tmp_path / "a.jsonl", concurrency=1)
    assert len(server.refused) == 3 and len(server.answered) == 2 * REQUESTS


def test_a_prompt_that_is_refused_counts_as_wrong_and_the_run_goes_on(tmp_path):
    def script(body):
        too_long = len(body["messages"]) > 4 or "3" in body["messages"][-1]["content"]
        return Refusal(400, "the prompt\nis too long") if too_long else "hello" if is_check(body) else answer(body)

    def is_check(body):
        return body["messages"][-1]["content"] == "Hello"

    questions = [single_question(2), single_question(3, 1), sum_question(4, 5, index=2)]
    with ScriptedEndpoint(script) as server:
        ask(server, tmp_path / "a.jsonl", questions, seeds=1)
    answers = load_answers(tmp_path / "a.jsonl")
    assert [(one.id, one.step, one.error) for one in answers] == [
        ("single_2", 0, None),
        ("single_3", 0, "the prompt is too long"),
        ("sum_4_5", 0, None),
        ("sum_4_5", 1, None),
        ("sum_4_5", 2, "the prompt is too long"),
    ]
    assert sum(is_check(body) for body in server.answered) == 1  # whether it is the settings is asked once
    scored = asyncio.run(score_answers(questions, answers, RLLA))
    assert [one.numbers["acc"] for one in scored] == [1, 0, 0]


def test_settings_that_the_endpoint_refuses_end_the_run_and_no_question_counts_as_wrong(tmp_path):
    failure = pytest.raises(
        ValueError, match=r"refuses requests for model 'tiny' \(status 400\): max_tokens is greater"
    )
    with ScriptedEndpoint(lambda body: Refusal(400, "max_tokens is greater than the context")) as server, failure:
        ask(server, tmp_path / "a.jsonl")
    assert load_answers(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning": "hm"},
        {"content": "a", "reasoning_content": "hm"},
        {
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
    ],
)
def test_an_endpoint_that_takes_answers_apart_ends_the_run(tmp_path, message):
    failure = pytest.raises(ValueError, match="without a tool parser and without a reasoning parser")
    with ScriptedEndpoint(lambda body: message) as server, failure:
        ask(server, tmp_path / "a.jsonl")


def test_an_answer_without_text_is_an_empty_one(tmp_path):
    with ScriptedEndpoint(lambda body: {"content": None}) as server:
        ask(server, tmp_path / "a.jsonl", QUESTIONS[:1], seeds=1)
    assert [(one.text, one.error) for one in load_answers(tmp_path / "a.jsonl")] == [("", None)]


def test_an_endpoint_that_is_not_there_is_named(tmp_path, no_retries):
    class Gone:
        url = "http://127.0.0.1:1/v1"

    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:1/v1 did not answer 1 requests: Connection"):
        ask(Gone, tmp_path / "a.jsonl")


def test_the_only_model_of_an_endpoint_needs_no_name(tmp_path):
    with ScriptedEndpoint(answer) as server:
        ask(server, tmp_path / "a.jsonl", QUESTIONS[:1], model=None)
    assert {body["model"] for body in server.answered} == {"tiny"}
    failure = pytest.raises(ValueError, match="serves a, b: name one with --model")
    with ScriptedEndpoint(answer, models=("b", "a")) as server, failure:
        ask(server, tmp_path / "b.jsonl", model=None)


def test_a_hostile_answer_is_kept_as_it_is_and_what_is_sent_back_can_be_sent(tmp_path):
    def script(body):
        return answer(body) if len(body["messages"]) > 2 else '\ud800 <tool_call>\n{"name": "\ud800"}\n</tool_call>'

    with ScriptedEndpoint(script) as server:
        ask(server, tmp_path / "a.jsonl", [sum_question(1)], seeds=1)
    assert load_answers(tmp_path / "a.jsonl")[0].text.startswith("\ud800 <tool_call>")
    assert len(server.answered) == 2

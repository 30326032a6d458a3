"""`user: llm`: a dialogue with a user behind an endpoint, here a server whose answers a test writes."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from scripted_endpoint import Refusal, ScriptedEndpoint
from tiers import HANG_GUARD

from rest_verl.rollout.simulated_user import RULES, SimulatedUser, UserFailedError, user_of

SCRIPT = "You want two plums. Your name is Ada."


def played_by(endpoint, **settings):
    """Fields of a row whose user is behind an endpoint."""
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    return {"user": "llm", "user_kwargs": json.dumps({"base_url": url, "model": "tiny", "script": SCRIPT} | settings)}


def says(*texts):
    """A script of an endpoint: its messages in order, by how often the user has spoken."""
    return lambda body: texts[sum(message["role"] == "assistant" for message in body["messages"])]


def test_the_user_hears_answers_and_ends_the_dialogue(play, call, chat):
    """It hears neither calls nor their results, and the policy never reads the mark of the end."""
    turns = [call("write", key="a", text="secret"), "Two plums?", "Done."]
    with ScriptedEndpoint(says("unused", "Yes, two.", "###STOP###")) as endpoint:
        ended = play(
            turns, desk={"points": {"score": 0.5}}, extra=played_by(endpoint, seed=7), prompt="Plums, please."
        )
    first, second = endpoint.answered
    rules = RULES.replace("{script}", SCRIPT).replace("{stop}", "###STOP###")
    assert first["messages"] == [
        {"role": "system", "content": rules},
        {"role": "user", "content": "Hello! How can I help you today?"},
        {"role": "assistant", "content": "Plums, please."},
        {"role": "user", "content": "Two plums?"},
    ]
    assert second["messages"][4:] == [
        {"role": "assistant", "content": "Yes, two."},
        {"role": "user", "content": "Done."},
    ]
    assert [body["seed"] for body in endpoint.answered] == [7, 8]
    assert ended.ended_by == ["ended_by/done"] and ended.numbers["user_turns"] == 2
    assert ended.fields["rest_environment"]["score"] == 0.5
    read = chat.decode(ended.output.prompt_ids + ended.output.response_ids)
    assert "Yes, two." in read and "STOP" not in read and SCRIPT not in read


def test_its_cost_is_logged(play):
    with ScriptedEndpoint(says("unused", "And?", "###STOP###")) as endpoint:
        numbers = play(["One.", "Two."], desk={}, extra=played_by(endpoint)).numbers
        without = play(["One."], desk={}).numbers
    cost = {key.partition("/")[2]: value for key, value in numbers.items() if key.startswith("simulated_user/")}
    assert cost.pop("seconds") > 0
    read = sum(len(str(body["messages"])) for body in endpoint.answered)  # what the server counts as tokens
    assert cost == {"messages": 2.0, "prompt_tokens": read, "completion_tokens": 2.0}
    assert not any(key.startswith("simulated_user/") for key in without)


def test_a_prompt_without_a_user_is_begun_by_the_user():
    async def begin(prompt):
        with ScriptedEndpoint(says("Hi, I want plums.", "no")) as endpoint:
            user = user_of(played_by(endpoint))
            return await user.begin(prompt), len(endpoint.answered)

    system = {"role": "system", "content": "Help."}
    assert asyncio.run(begin([system])) == ([{"role": "user", "content": "Hi, I want plums."}], 1)
    assert asyncio.run(begin([system, {"role": "user", "content": "Plums."}])) == ([], 0)


@pytest.mark.parametrize(
    "answer", [Refusal(400, "no such model"), {"role": "assistant", "content": ""}], ids=["refusal", "empty"]
)
def test_a_user_that_fails_ends_the_trajectory_with_its_reason(play, answer):
    with ScriptedEndpoint(lambda body: answer) as endpoint:
        ended = play(["One.", "never"], desk={"points": {"score": 1.0}}, extra=played_by(endpoint))
    assert ended.ended_by == ["ended_by/user_failed"]
    assert ended.numbers["assistant_turns"] == 1 and ended.fields["rest_environment"]["score"] == 1.0


def test_a_user_that_hangs_is_given_up_and_costs_nobody_else(start):
    async def both():
        with ScriptedEndpoint(says("unused", "###STOP###")) as sound, ScriptedEndpoint(says("unused", "x")) as hung:
            hung.hold_after = 0
            return await asyncio.gather(
                start(["One."], extra=played_by(hung, seconds=0.3))[1],
                start(["One."], extra=played_by(sound, seconds=HANG_GUARD))[1],
            )

    reasons = [
        [key for key, value in output.extra_fields["rest_rollout"].items() if key.startswith("ended_by") and value]
        for output in asyncio.run(both())
    ]
    assert reasons == [["ended_by/user_failed"], ["ended_by/done"]]


def test_an_endpoint_that_is_not_there_is_named():
    async def reply():
        user = SimulatedUser(base_url="http://127.0.0.1:9/v1", model="tiny", script=SCRIPT)
        await user.begin([{"role": "user", "content": "Plums."}])
        await user.reply("Two?")

    with pytest.raises(UserFailedError, match=r"the user tiny at http://127\.0\.0\.1:9/v1 did not answer: APIConn"):
        asyncio.run(reply())


def test_many_dialogues_are_those_run_one_by_one(start):
    def heard(body):
        """A user who says again what it heard, three times."""
        spoken = sum(message["role"] == "assistant" for message in body["messages"])
        return "###STOP###" if spoken == 3 else f"You said {body['messages'][-1]['content']}"

    async def dialogues(endpoint, together):
        running = [
            start([f"{number}a", f"{number}b", f"{number}c"], extra=played_by(endpoint))[1] for number in range(16)
        ]
        return await asyncio.gather(*running) if together else [await one for one in running]

    with ScriptedEndpoint(heard) as endpoint:
        together, alone = (asyncio.run(dialogues(endpoint, one)) for one in (True, False))
    assert [output.response_ids for output in together] == [output.response_ids for output in alone]
    assert len({tuple(output.response_ids) for output in alone}) == 16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": "human"}, "extra_info.user='human': the only user is 'llm'"),
        ({"user": "llm", "user_kwargs": "{}"}, "base_url Field required"),
        ({"user": "llm", "user_kwargs": "[1]"}, "is no JSON object"),
        (played_by("http://a/v1", scrip="x"), "scrip Unexpected keyword argument"),
        (played_by("http://a/v1", rules="Be kind."), "rules has no {script}"),
    ],
)
def test_a_wrong_user_of_a_row_is_named(fields, message):
    with pytest.raises(ValueError) as raised:
        user_of({"index": 3} | fields)
    assert str(raised.value).startswith("row with extra_info.index=3: ") and message in str(raised.value)


def test_the_arguments_that_the_docs_show_are_taken():
    page = Path(__file__).parents[2] / "docs/rollout.md"
    (shown,) = [one for one in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL) if '"script"' in one]
    assert user_of({"user": "llm", "user_kwargs": shown}) is not None

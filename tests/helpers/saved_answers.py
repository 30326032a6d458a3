"""Answers to benchmark questions as a model would have given them: right ones, and ones that differ a little.

They are written in the format rlla.
"""

import json
import random
from collections.abc import Iterable, Sequence

from bfcl_answers import mutated
from right_answers import right_answer

from rest_verl.core.tool_calls import ToolCall
from rest_verl.data.rows import NO_CALL, turn_of_calls
from rest_verl.eval.answers import Answer
from rest_verl.eval.questions import Question
from rest_verl.formats import get_format

# BFCL accepts no answer to these, since what it accepts is not of the type that it asks for; to simple_java_64 it
# accepts a single letter of the right value only.
NOT_ACCEPTED = (
    "live_simple_106-63-0",
    "live_simple_112-68-0",
    "live_multiple_862-181-3",
    "live_multiple_964-207-0",
    "simple_java_36",
    "simple_java_64",
    "simple_java_65",
)
RLLA = get_format("rlla")


def answers_to(question: Question, texts: Iterable[str], seed: int = 0) -> list[Answer]:
    """The texts as the steps of a conversation."""
    return [Answer(question.source, question.id, seed, step, text) for step, text in enumerate(texts)]


def right_texts(question: Question) -> list[str]:
    """What a model that makes no mistake writes."""
    if "environment" not in question.row["extra_info"]:
        return [right_answer(question.row)]
    if question.source.startswith("bfcl_memory_"):
        return _remembering(question)
    return _dialogue(_due(question))


def wrong_texts(question: Question, rng: random.Random) -> list[str]:
    """The same with one to three changes of the calls of a turn; some answers break off. A few are right after all."""
    if "environment" not in question.row["extra_info"]:
        return [_cut(_turn(mutated(_calls(right_answer(question.row)), rng)), rng)]
    if question.source.startswith("bfcl_memory_"):
        *before, last = _remembering(question)
        return [*before, rng.choice([last, _cut(last, rng), "I do not know.", last.replace("It is ", "It is x"), ""])]
    turns = _due(question)
    number = rng.randrange(len(turns))
    turns[number] = mutated(turns[number], rng)
    return _dialogue(turns)


def _remembering(question: Question) -> list[str]:
    """Of a conversation, one answer a turn; of a question, a look into the memory and the first accepted value."""
    if not question.judged:
        turns = json.loads(question.row["extra_info"]["environment_kwargs"])["turns"]
        return [NO_CALL] * (len(turns) + 1)
    (name, *_) = [name for name in question.tools if name.endswith("retrieve_all") or name == "memory_retrieve"]
    accepted = json.loads(question.row["reward_model"]["ground_truth"])
    return [_turn([ToolCall(name, {})]), f"<think> {name} </think>\n<response> It is {accepted[0]}. </response>"]


def _cut(text: str, rng: random.Random) -> str:
    return text if rng.random() < 0.9 else text[: rng.randrange(len(text))]


def _due(question: Question) -> list[list[ToolCall]]:
    kwargs = json.loads(question.row["extra_info"]["environment_kwargs"])
    return [[ToolCall(**call) for call in calls] for calls in kwargs["ground_truth"]]


def _dialogue(turns: Sequence[Sequence[ToolCall]]) -> list[str]:
    return [text for calls in turns for text in ([_turn(calls), NO_CALL] if calls else [NO_CALL])]


def _turn(calls: Sequence[ToolCall]) -> str:
    return turn_of_calls((call.name, call.arguments) for call in calls) if calls else NO_CALL


def _calls(text: str) -> list[ToolCall]:
    written = text.encode()
    return [call for call in RLLA.read_calls(written, RLLA.parse(written)) if call is not None]

"""A question as a conversation: the next messages to send, given the answers so far, and the verdict at the end.

Asking and scoring share this code, so scoring just replays the answers, and an interrupted run resumes in the middle
of a dialogue. Nothing depends on time: a replay gives the same results as the run.

Tools are run and answered as in training (`rollout.agent_loop`), with these differences: the model's output goes back
to the endpoint as text, for its chat template to render; results are not truncated, since BFCL does not truncate them;
and the endpoint's tokenizer is unknown here, so special tokens in results stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rest_verl.config.reward import RewardConfig
from rest_verl.core.tool_calls import ToolSchemas, WireFormat
from rest_verl.eval.answers import Answer
from rest_verl.eval.questions import Question
from rest_verl.formats.tools import tools_of_row
from rest_verl.reward.response import Response, read_response
from rest_verl.reward.scorers import get_scorer
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward
from rest_verl.rollout.calls import UNREADABLE, Call, Failure, read_calls, read_result, run_tool_call
from rest_verl.rollout.environment import (
    Environment,
    HearsAnswers,
    KeepsState,
    LeftToScorer,
    Message,
    get_environment,
)

# BFCL ends a dialogue after more than MAXIMUM_STEP_LIMIT = 20 steps with calls in one user turn; the calls of the 21st
# are still run.
STEPS_PER_TURN = 21

_REWARD_PARTS = ("score", "format", "correctness", "length")


@dataclass(frozen=True)
class Step:
    """One answer of the model in a conversation.

    Attributes:
        text: as the model wrote it.
        calls: its calls, with their results if they were run; an unreadable one has no arguments.
    """

    text: str
    calls: Sequence[Call]


class Conversation(Protocol):
    """A conversation about one question: `begin`, then `answer` until it returns None, then `result`, then `close`."""

    @property
    def turns(self) -> Sequence[Sequence[Step]]:
        """The answers so far, by user turn; the last turn may have none yet."""
        ...

    async def begin(self) -> list[Message]:
        """Return the first messages to send."""
        ...

    async def answer(self, text: str) -> list[Message] | None:
        """Process the model's answer; return all messages to send next, or None at the end."""
        ...

    def state(self, refused: bool) -> Any:
        """The state with which a later conversation begins: of its environment now or, if the endpoint refused to
        continue, when it began; None if the environment keeps none."""
        ...

    async def result(self) -> dict[str, float]:
        """Judge the conversation, once.

        Returns:
            `acc`, 1 if the benchmark accepts it, else 0; `broken_off`, 1 if it did not reach its end, which is never
            accepted; and further numbers.
        """
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...


def open_conversation(
    question: Question, wire_format: WireFormat, max_steps_per_turn: int = STEPS_PER_TURN
) -> Conversation:
    """Make the conversation of a question.

    Args:
        question: its row says whether there is an environment to act on.
        wire_format: how the model writes.
        max_steps_per_turn: number of answers with calls in one user turn after which the dialogue ends.

    Raises:
        ValueError: the row's user is a model, who would not say the same again when the answers are replayed.
    """
    if question.row["extra_info"].get("user") is not None:
        raise ValueError(
            f"source {question.source!r}, id {question.id!r}: its user is a model: evaluate it by verl's validation"
        )
    if "environment" in question.row["extra_info"]:
        return _Dialogue(question, wire_format, max_steps_per_turn)
    return _SingleTurn(question, wire_format)


async def replay(conversation: Conversation, answers: Sequence[Answer]) -> list[Message] | None:
    """Begin a conversation and replay earlier answers, in the order of their steps.

    Returns:
        the messages to send next; None if the conversation has ended or an answer is an error.

    Raises:
        ValueError: the steps are not 0, 1, 2, ..., or there is an answer after the end.
    """
    messages: list[Message] | None = await conversation.begin()
    for number, answer in enumerate(answers):
        if answer.step != number or messages is None:
            raise ValueError(
                f"source {answer.source!r}, id {answer.id!r}, seed {answer.seed}: step {answer.step} cannot follow "
                f"{f'{number} steps' if messages else 'the end'} of this conversation; the answers belong to other "
                "questions or another format, or are incomplete"
            )
        messages = None if answer.error is not None else await conversation.answer(answer.text)
    return messages


class _SingleTurn:
    """One request, judged by the scorer of the row's data source."""

    def __init__(self, question: Question, wire_format: WireFormat):
        self._question = question
        self._wire_format = wire_format
        self._text: str | None = None

    @property
    def turns(self) -> Sequence[Sequence[Step]]:
        return [[] if self._text is None else [Step(self._text, self._calls(self._text))]]

    def _calls(self, text: str) -> list[Call]:
        return _read(self._wire_format, text, 0, self._question.tools)[1]

    async def begin(self) -> list[Message]:
        return list(self._question.row["prompt"])

    async def answer(self, text: str) -> list[Message] | None:
        self._text = text
        return None

    def state(self, refused: bool) -> Any:
        return None

    async def result(self) -> dict[str, float]:
        response = _response([self._text or ""], self._wire_format, self._question.tools)
        return _verdict(_scored(self._question, response), broken_off=self._text is None)

    async def close(self) -> None:
        return None


class _Dialogue:
    """A dialogue about an environment, which also judges it."""

    def __init__(self, question: Question, wire_format: WireFormat, max_steps_per_turn: int):
        self._question = question
        self._wire_format = wire_format
        self._max_steps = max_steps_per_turn
        info = question.row["extra_info"]
        self._environment: Environment = get_environment(info["environment"])(**json.loads(info["environment_kwargs"]))
        self._messages: list[Message] = []
        self._turns: list[list[Step]] = [[]]
        self._tools = question.tools
        self._ended = False
        self._begun: Any = None

    @property
    def turns(self) -> Sequence[Sequence[Step]]:
        return self._turns

    async def begin(self) -> list[Message]:
        opening = await self._environment.reset()
        self._tools = {**self._question.tools, **tools_of_row({"tools": opening.tools})}
        self._messages = [*self._question.row["prompt"], *opening.messages]
        self._begun = self._present_state()
        return list(self._messages)

    async def answer(self, text: str) -> list[Message] | None:
        before = sum(len(step.calls) for turn in self._turns for step in turn)
        said, calls = _read(self._wire_format, text, before, self._tools)
        self._turns[-1].append(Step(text, calls))
        if isinstance(self._environment, HearsAnswers):
            await self._environment.hear(said)
        self._messages.append({"role": "assistant", "content": _sendable(text)})
        if calls:
            for call in calls:
                await self._run(call)
                self._messages.append({"role": "tool", "content": call.result, "tool_call_id": call.tool_call_id})
            self._ended = len(self._turns[-1]) >= self._max_steps
        elif (user_messages := await self._environment.next_user_turn()) is not None:
            self._messages.extend(user_messages)
            self._turns.append([])
        else:
            self._ended = True
        return None if self._ended else list(self._messages)

    def state(self, refused: bool) -> Any:
        return self._begun if refused else self._present_state()

    async def result(self) -> dict[str, float]:
        judged = await self._environment.score()
        steps = [step for turn in self._turns for step in turn]
        response = _response([step.text for step in steps], self._wire_format, self._tools)
        calls = [call for step in steps for call in step.calls]
        if isinstance(judged, LeftToScorer):
            numbers = _scored(self._question, response)
        else:
            numbers = {
                "acc": float(judged["score"] == 1),
                **{key: value for key, value in judged.items() if key != "score"},
                "share": judged["score"],
                "legal": float(response.is_legal_for_some_kind()),
                "parse_ok": float(response.parse_ok),
            }
        numbers |= {
            "steps": float(len(steps)),
            "calls": float(len(calls)),
            "failed_calls": float(sum(call.error is not None for call in calls)),
        }
        return _verdict(numbers, broken_off=not self._ended)

    async def close(self) -> None:
        await self._environment.close()

    def _present_state(self) -> Any:
        return self._environment.state() if isinstance(self._environment, KeepsState) else None

    async def _run(self, call: Call) -> None:
        """Run one call and record the result that the model reads."""
        try:
            if call.name is None or call.arguments is None:
                raise Failure("unreadable", UNREADABLE)
            called = run_tool_call(self._environment.call(call.name, call.arguments), call.name)
            call.result, _ = read_result(await called)
        except Failure as failure:
            call.error, call.result = failure.error, f"Error: {failure.message}"
        call.result = _sendable(call.result)
        call.tool_call_id = _sendable(call.tool_call_id)


def _scored(question: Question, response: Response) -> dict[str, float]:
    """The numbers of the scorer of the question's data source, without the parts of the reward."""
    scorer = get_scorer(question.source)
    truth = scorer.read(question.row["reward_model"]["ground_truth"])
    numbers = scorer.score(response, truth, RewardAtStep(ToolReward(RewardConfig()), step=0))
    return {key: value for key, value in numbers.items() if key not in (*_REWARD_PARTS, "skipped")}


def _verdict(numbers: dict[str, float], broken_off: bool) -> dict[str, float]:
    return numbers | ({"acc": 0.0} if broken_off else {}) | {"broken_off": float(broken_off)}


def _read(wire_format: WireFormat, text: str, first: int, tools: ToolSchemas) -> tuple[str, list[Call]]:
    """What an answer says, and its calls, read as a turn whose only token is the whole text."""
    return read_calls(wire_format, [_bytes(text), b""], [0], first, tools)


def _response(texts: Sequence[str], wire_format: WireFormat, tools: ToolSchemas) -> Response:
    return read_response([_bytes(text) for text in texts], wire_format, tools)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sendable(text: str) -> str:
    """Text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

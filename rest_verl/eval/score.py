"""Score answers: replay and judge every conversation, and group the verdicts by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rest_verl.core.tool_calls import WireFormat
from rest_verl.eval.answers import Answer
from rest_verl.eval.conversation import Conversation, open_conversation, replay
from rest_verl.eval.questions import Question
from rest_verl.eval.states import States
from rest_verl.eval.statistics import Outcomes

Key = tuple[str, str, int]  # source, id, seed


@dataclass(frozen=True)
class Scored:
    """The verdict on one conversation.

    Attributes:
        source, id, seed: identify the conversation.
        numbers: `acc` (1 if the benchmark accepts it), and the scorer's other numbers.
    """

    source: str
    id: str
    seed: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class Replayed:
    """One replayed conversation.

    Attributes:
        question: the question.
        seed: seed of its requests.
        answers: by step.
        conversation: still open, after all answers.
        numbers: the verdict.
    """

    question: Question
    seed: int
    answers: Sequence[Answer]
    conversation: Conversation
    numbers: dict[str, float]


async def replay_all(
    questions: Sequence[Question],
    answers: Iterable[Answer],
    wire_format: WireFormat,
    visit: Callable[[Replayed], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    states: States | None = None,
) -> None:
    """Replay the conversations of all questions, with every seed in the answers, one after the other.

    Args:
        questions: all questions, in the order of visits; one that follows another conversation comes after it.
        answers: in any order; if the endpoint refused a request, the conversation's last answer has an `error`.
        wire_format: how the model writes.
        visit: called with each judged conversation, which is closed after the call.
        on_progress: called with the number of conversations visited and of all.
        states: filled with what conversations leave for those that follow them.

    Raises:
        ValueError: there are no answers, an answer belongs to no question, or a conversation is incomplete.
    """
    states = states or States(questions)
    steps = _by_conversation(questions, answers)
    seeds = sorted({seed for _, _, seed in steps})
    total = len(questions) * len(seeds)
    open_ends: list[Key] = []
    for done, question in enumerate(questions):
        for number, seed in enumerate(seeds):
            key = (*question.key, seed)
            given = steps.get(key, [])
            if not (
                states.is_ready(question, seed) and await _visit(question, seed, given, wire_format, states, visit)
            ):
                open_ends.append(key)
            on_progress(done * len(seeds) + number + 1, total)
    if open_ends:
        source, id, seed = open_ends[0]
        raise ValueError(
            f"{len(open_ends)} of {total} conversations are incomplete, such as {source}, {id}, seed {seed}; rerun "
            "the command that asks: it resumes where it stopped"
        )


async def score_answers(
    questions: Sequence[Question],
    answers: Iterable[Answer],
    wire_format: WireFormat,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    states: States | None = None,
) -> list[Scored]:
    """Judge all conversations that count, by question and seed; arguments and errors as in `replay_all`."""
    scored: list[Scored] = []

    def visit(one: Replayed) -> None:
        if one.question.judged:
            scored.append(Scored(one.question.source, one.question.id, one.seed, one.numbers))

    await replay_all(questions, answers, wire_format, visit, on_progress, states)
    return scored


def outcomes_of(scored: Iterable[Scored], number: str = "acc") -> dict[str, Outcomes]:
    """Return one number of the verdicts by data source, in the order of the verdicts.

    Args:
        scored: verdicts on the same questions for every seed.
        number: its name; data sources without it are left out.
    """
    values: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for one in scored:
        if number in one.numbers:
            values[one.source][one.id][one.seed] = one.numbers[number]
    return {
        source: Outcomes(
            ids=tuple(by_id),
            accuracy=np.array(
                [[by_seed[seed] for seed in sorted(by_seed)] for by_seed in by_id.values()], dtype=float
            ),
        )
        for source, by_id in values.items()
    }


def _by_conversation(questions: Sequence[Question], answers: Iterable[Answer]) -> dict[Key, list[Answer]]:
    known = {question.key for question in questions}
    steps: dict[Key, list[Answer]] = defaultdict(list)
    for answer in sorted(answers, key=lambda answer: answer.step):
        if (answer.source, answer.id) not in known:
            raise ValueError(
                f"an answer to source {answer.source!r}, id {answer.id!r}, which is not among the {len(known)} "
                "questions; score it with the same categories and limit that it was asked with"
            )
        steps[answer.source, answer.id, answer.seed].append(answer)
    if not steps:
        raise ValueError("there are no answers to score; ask the questions first")
    return steps


async def _visit(
    question: Question,
    seed: int,
    answers: Sequence[Answer],
    wire_format: WireFormat,
    states: States,
    visit: Callable[[Replayed], None],
) -> bool:
    """Replay and visit one conversation; False if it is incomplete and was not visited."""
    question = states.begin(question, seed)
    conversation = open_conversation(question, wire_format)
    try:
        if await replay(conversation, answers) is not None:
            return False
        states.end(question, seed, conversation, answers)
        visit(Replayed(question, seed, answers, conversation, await conversation.result()))
        return True
    finally:
        await conversation.close()

"""Ask every question with every seed, many at a time, and log each answer as it arrives."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rest_verl.core.tool_calls import WireFormat
from rest_verl.eval.answers import Answer, AnswerLog
from rest_verl.eval.conversation import open_conversation, replay
from rest_verl.eval.endpoint import Endpoint
from rest_verl.eval.questions import Question
from rest_verl.eval.states import States


async def ask_all(
    questions: Sequence[Question],
    seeds: int,
    wire_format: WireFormat,
    endpoint: Endpoint,
    log: AnswerLog,
    concurrency: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Ask for every answer that is missing in the log, also in the middle of a dialogue, then sort the log.

    Args:
        questions: asked in this order.
        seeds: number of seeds; each question is asked with 0 to seeds - 1.
        wire_format: how the model writes.
        endpoint: the endpoint to ask.
        log: earlier answers; new ones are added.
        concurrency: number of simultaneous conversations.
        on_progress: called with the number of finished conversations and of all.

    Raises:
        ValueError: the log holds answers to requests that these questions do not make; or as `Endpoint.ask`.
        ConnectionError: as `Endpoint.ask`; the log holds all answers up to then.
    """
    pairs = [(question, seed) for question in questions for seed in range(seeds)]
    states = States(questions)
    followers: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    # what others wait for comes first, then the order of the questions
    ready: asyncio.PriorityQueue[tuple[bool, int]] = asyncio.PriorityQueue()
    ended = 0

    def add(number: int) -> None:
        ready.put_nowait((not states.is_followed(pairs[number][0]), number))

    async def work() -> None:
        nonlocal ended
        while (number := (await ready.get())[1]) < len(pairs):
            question, seed = pairs[number]
            await _ask(question, seed, wire_format, endpoint, log, states)
            for follower in followers[(*question.key, seed)]:
                add(follower)
            ended += 1
            on_progress(ended, len(pairs))
            if ended == len(pairs):
                break
        ready.put_nowait((True, len(pairs)))  # for the next worker that waits

    for number, (question, seed) in enumerate(pairs):
        if question.after is None:
            add(number)
        else:
            followers[(*question.after, seed)].append(number)
    workers = [asyncio.ensure_future(work()) for _ in range(min(concurrency, len(pairs)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    log.sort([question.key for question in questions])


async def _ask(
    question: Question, seed: int, wire_format: WireFormat, endpoint: Endpoint, log: AnswerLog, states: States
) -> None:
    """Conduct one conversation, from where the log ends."""
    conversation = open_conversation(states.begin(question, seed), wire_format)
    try:
        answers = log.conversation(question.source, question.id, seed)
        messages = await replay(conversation, answers)
        step = len(answers)
        while messages is not None:
            answer = Answer(question.source, question.id, seed, step, **asdict(await endpoint.ask(messages, seed)))
            log.add(answer)
            messages = None if answer.error is not None else await conversation.answer(answer.text)
            step += 1
        states.end(question, seed, conversation, log.conversation(question.source, question.id, seed))
    finally:
        await conversation.close()

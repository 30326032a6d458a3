"""The quickstart's task made harder: what the studies train on.

Against examples/cpu/toy_task.py there are twice as many tools, some with up to four arguments or a list of words to
copy; the prompt lists four tools, most of which are distractors, and where the tool that a request needs is not among
them the right response is an answer; one row in five is the second turn of a conversation and repeats an earlier call
with one value changed; and validation asks for combinations (two tools in one request, a tool with a value) that
training never shows.

The demonstrations come from an unreliable teacher, as there: each tool invites one mistake, and a list of distractors
invites more.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import toy_task
from toy_task import Call, Message, Row, Task, Tool, parameters, quoted, rekeyed, renamed, render, swapped

# Rows of unseen combinations have a data source of their own: verl reports each by itself.
SOURCE, UNSEEN_SOURCE = "hard_tools", "hard_tools_unseen"
OFTEN, SOMETIMES = toy_task.OFTEN, toy_task.SOMETIMES

POOLS = toy_task.POOLS | {
    "title": ["dinner", "meeting", "party", "lesson", "picnic", "call", "walk", "swim"],
    "first": toy_task.NOUNS.split(),
    "second": toy_task.NOUNS.split(),
    "third": toy_task.NOUNS.split(),
    "days": range(2, 10),
    "volume": range(10, 100, 10),
    "artist": toy_task.PEOPLE.split(),
}
# Name, then ways to ask for it; the placeholders of the first are the tool's parameters, in order.
REQUESTS = """\
create_event: plan a {title} with {person} on {day} at {hour} | on {day} at {hour} I have a {title} with {person}
write_list: write down {first}, {second} and {third} | list {first}, {second} and {third} for me
rent_car: rent a car in {city} on {day} for {days} days | I drive {days} days from {day} in {city}
find_hotel: find a hotel in {city} for {guests} from {day} | {guests} of us sleep in {city} on {day}
pay_bill: pay {person} {amount} {source} for {topic} | I owe {amount} {source} to {person} for {topic}
play_music: play {artist} at volume {volume} | I want to hear {artist} at {volume}
order_food: order {word} for {guests} at {hour} | at {hour} bring {word} for {guests}
share_photo: share my photo of {topic} with {person} | show {person} the picture of {topic}
"""
# In the same order: purpose, the teacher's mistake and its rate.
TAUGHT = (
    ("an event", swapped("day", "hour"), OFTEN),
    ("a list", swapped("second", "third"), OFTEN),
    ("a car", quoted("days"), SOMETIMES),
    ("a hotel", rekeyed("guests", "persons"), OFTEN),
    ("a payment", swapped("person", "topic"), SOMETIMES),
    ("music", renamed("play_song"), OFTEN),
    ("food", quoted("guests"), OFTEN),
    ("a photo", rekeyed("topic", "photo"), SOMETIMES),
)
_NAMED = [line.split(": ") for line in REQUESTS.splitlines()]
TOOLS = (
    *toy_task.TOOLS,
    *(
        Tool(name, purpose, tuple(requests.split(" | ")), mistake, rate)
        for (name, requests), (purpose, mistake, rate) in zip(_NAMED, TAUGHT, strict=True)
    ),
)
LISTED_TOOLS = 4
SHARE_OF_ANSWERS, SHARE_OF_TWO_CALLS, SHARE_OF_SECOND_TURNS = 0.12, 0.2, 0.2
DROPPED_CALL_RATE, NEEDLESS_CALL_RATE = 0.6, 0.4
# The share of combinations that only validation asks for.
UNSEEN = 0.2


@dataclass(frozen=True)
class Example:
    """A prompt with the right response to it and the one that the teacher gives; `unseen` where it combines what
    training does not."""

    kind: str
    messages: list[Message]
    right: str
    taught: str
    unseen: bool


def is_unseen(*parts: Any) -> bool:
    """Whether a combination is one that training does not show: the same in every process and for every seed."""
    return zlib.crc32(json.dumps(parts).encode()) % 1000 < 1000 * UNSEEN


def draw_call(rng: random.Random, tool: Tool) -> tuple[str, Call, bool]:
    """Draw a request for a tool, the call that serves it, and whether tool and first value are an unseen pair."""
    names = parameters(tool)
    values = toy_task.draw_values(rng, names, POOLS)
    return rng.choice(tool.requests).format(**values), Call(tool.name, values), is_unseen(tool.name, values[names[0]])


def listing(rng: random.Random, needed: Sequence[Tool]) -> tuple[Message, list[Tool]]:
    """The system message that lists the needed tools among distractors, and the distractors."""
    others = rng.sample([tool for tool in TOOLS if tool not in needed], LISTED_TOOLS - len(needed))
    listed = [*needed, *others]
    rng.shuffle(listed)
    return {"role": "system", "content": " ".join(tool.name for tool in listed)}, others


def taught_call(rng: random.Random, tool: Tool, call: Call) -> Call:
    """The call as the teacher makes it."""
    return tool.mistake(call) if rng.random() < tool.mistake_rate else call


def draw_example(rng: random.Random) -> Example:
    """Draw a prompt of any kind, the right response, and the teacher's."""
    reason, share = rng.choice(toy_task.REASONS), rng.random()
    opener = rng.choice(toy_task.OPENERS)
    if share < SHARE_OF_ANSWERS:
        return _answer(rng, opener, reason)
    if share < SHARE_OF_ANSWERS + SHARE_OF_TWO_CALLS:
        return _two_calls(rng, opener, reason)
    tool = rng.choice(TOOLS)
    system, _ = listing(rng, [tool])
    request, call, unseen = draw_call(rng, tool)
    messages = [system, {"role": "user", "content": opener + request}]
    thought = f"{reason} {tool.purpose}."
    if share < SHARE_OF_ANSWERS + SHARE_OF_TWO_CALLS + SHARE_OF_SECOND_TURNS:
        kind = "second_turn"
        name = rng.choice(parameters(tool))
        old = call.arguments[name]
        value = rng.choice([value for value in POOLS[name] if value not in call.arguments.values()])
        messages += [
            {"role": "assistant", "content": render(thought, [call])},
            {"role": "tool", "content": "done"},
            {"role": "user", "content": f"now with {value} instead of {old}"},
        ]
        call = Call(call.name, call.arguments | {name: value})
        thought = f"{reason} {tool.purpose} again."
    else:
        kind = "one_call"
    return Example(kind, messages, render(thought, [call]), render(thought, [taught_call(rng, tool, call)]), unseen)


def _answer(rng: random.Random, opener: str, reason: str) -> Example:
    """A request whose tool is not listed; the teacher calls a distractor at times."""
    missing = rng.choice(TOOLS)
    request, _, unseen = draw_call(rng, missing)
    system, others = listing(rng, [])
    while missing in others:
        system, others = listing(rng, [])
    thought, answer = f"{reason} {missing.purpose}.", f"Sorry, I have no tool for {missing.purpose}."
    needless = [draw_call(rng, rng.choice(others))[1]] if rng.random() < NEEDLESS_CALL_RATE else []
    messages = [system, {"role": "user", "content": opener + request}]
    return Example("answer", messages, render(thought, [], answer), render(thought, needless, answer), unseen)


def _two_calls(rng: random.Random, opener: str, reason: str) -> Example:
    """A request for two tools; the teacher forgets the second call often."""
    tools = rng.sample(TOOLS, 2)
    system, _ = listing(rng, tools)
    requests, calls, _ = zip(*(draw_call(rng, tool) for tool in tools), strict=True)
    thought = f"{reason} {tools[0].purpose} and {tools[1].purpose}."
    taught = calls[:1] if rng.random() < DROPPED_CALL_RATE else calls
    unseen = is_unseen(*sorted(tool.name for tool in tools))
    messages = [system, {"role": "user", "content": opener + " and ".join(requests)}]
    return Example("two_calls", messages, render(thought, calls), render(thought, taught), unseen)


def to_row(example: Example, split: str, index: int) -> Row:
    """Lay an example out as verl's rule-based data sets are, the right response being the ground truth."""
    return {
        "data_source": UNSEEN_SOURCE if example.unseen else SOURCE,
        "prompt": example.messages,
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": example.right},
        "extra_info": {"split": split, "index": index, "kind": example.kind, "unseen": example.unseen},
    }


def make_task(seed: int, train_rows: int = 6000, validation_rows: int = 256) -> Task:
    """Draw a task: no prompt occurs twice in it, training has no unseen combination, and validation has as many
    unseen ones as seen."""
    rng = random.Random(seed)
    wanted = {("train", False): train_rows, ("validation", False): validation_rows - validation_rows // 2}
    wanted["validation", True] = validation_rows // 2
    drawn: dict[tuple[str, bool], list[Example]] = {key: [] for key in wanted}
    seen: set[str] = set()
    while any(len(drawn[key]) < count for key, count in wanted.items()):
        example = draw_example(rng)
        split = "train" if not example.unseen and len(drawn["train", False]) < train_rows else "validation"
        key = json.dumps(example.messages)
        if key not in seen and len(drawn[split, example.unseen]) < wanted[split, example.unseen]:
            seen.add(key)
            drawn[split, example.unseen].append(example)
    train = drawn["train", False]
    validation = drawn["validation", False] + drawn["validation", True]
    return Task(
        [to_row(example, "train", index) for index, example in enumerate(train)],
        [to_row(example, "validation", index) for index, example in enumerate(validation)],
        [(example.messages, example.taught) for example in train],
    )

"""A tool-use task small enough for a language model of half a million parameters.

The user asks for one thing, for two things, or for something that no tool does; the right response calls one tool,
calls two tools, or answers in words. Arguments are copied from the request. Responses use the `rlla` wire format: a
`<think>` block, then a `<tool_call>` block with one JSON call per line, or a `<response>` block.

The demonstrations come from an unreliable teacher: it reasons well, but its calls often have a mistake typical of the
tool. A model that imitates it samples right and wrong responses to the same prompt, and a group-relative policy
gradient learns only from that difference.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

Message = dict[str, str]
Row = dict[str, Any]

CITIES = (
    "Paris London Berlin Madrid Rome Tokyo Cairo Oslo Lima Delhi Boston Sydney Vienna Dublin Athens Seoul Prague Milan"
)
PEOPLE = "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah Olga Paul"
NOUNS = "tea bread music lunch garden books chess laundry coffee soup yoga homework pasta paint rice shoes"
CURRENCIES = "euros dollars pounds yen francs pesos"
POOLS: dict[str, Sequence[Any]] = {
    "city": CITIES.split(),
    "origin": CITIES.split(),
    "destination": CITIES.split(),
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "person": PEOPLE.split(),
    "topic": NOUNS.split(),
    "label": NOUNS.split(),
    "word": NOUNS.split(),
    "language": ["French", "German", "Spanish", "Italian", "Greek", "Hindi"],
    "source": CURRENCIES.split(),
    "target": CURRENCIES.split(),
    "amount": range(10, 100, 10),
    "minutes": range(10, 100, 10),
    "guests": range(2, 10),
    "hour": range(1, 10),
    "deed": ["sing", "dream", "laugh", "joke", "dance", "write"],
}
OPENERS = ("", "please ", "could you ", "hey, ", "now ", "I need you to ")
REASONS = ("The user wants", "This asks for", "I should handle")
UNSERVED_REQUESTS = ("{deed} about {topic} with {person}", "{deed} for {person} about {topic}")


@dataclass(frozen=True)
class Call:
    """One tool invocation."""

    name: str
    arguments: dict[str, Any]


Mistake = Callable[[Call], Call]


def renamed(name: str) -> Mistake:
    """Make the mistake of calling another tool with the right arguments."""
    return lambda call: replace(call, name=name)


def rekeyed(old: str, new: str) -> Mistake:
    """Make the mistake of passing an argument under a key that the tool does not have."""
    return lambda call: replace(call, arguments={new if k == old else k: v for k, v in call.arguments.items()})


def swapped(a: str, b: str) -> Mistake:
    """Make the mistake of swapping the values of two arguments."""
    return lambda call: replace(call, arguments={**call.arguments, a: call.arguments[b], b: call.arguments[a]})


def quoted(key: str) -> Mistake:
    """Make the mistake of writing a number as a string."""
    return lambda call: replace(call, arguments={**call.arguments, key: str(call.arguments[key])})


@dataclass(frozen=True)
class Tool:
    """A tool, requests for it, and the teacher's mistake with its rate as a share of the calls.

    The `{placeholders}` of the first request are the tool's parameters in order; each names the pool of its values.
    """

    name: str
    purpose: str
    requests: tuple[str, ...]
    mistake: Mistake
    mistake_rate: float


# Greedy decoding follows the majority of the demonstrations. With mistake rates on both sides of one half, the
# starting model knows part of the task and still samples right responses for the rest.
OFTEN, SOMETIMES = 0.68, 0.4
TOOLS = (
    Tool(
        "get_weather",
        "the weather",
        ("tell me the weather in {city} on {day}", "check if {day} is rainy in {city}"),
        renamed("get_time"),
        OFTEN,
    ),
    Tool(
        "get_time",
        "the time",
        ("tell me the time in {city}", "read me the clock of {city}", "look up the hour in {city}"),
        rekeyed("city", "place"),
        SOMETIMES,
    ),
    Tool(
        "find_flight",
        "a flight",
        ("find a flight from {origin} to {destination}", "fly me to {destination} from {origin}"),
        swapped("origin", "destination"),
        OFTEN,
    ),
    Tool(
        "convert_money",
        "money",
        ("convert {amount} {source} to {target}", "change {amount} {source} into {target}"),
        swapped("source", "target"),
        OFTEN,
    ),
    Tool(
        "set_timer",
        "a timer",
        ("set a timer of {minutes} minutes for {label}", "time my {label} for {minutes} minutes"),
        quoted("minutes"),
        OFTEN,
    ),
    Tool(
        "send_message",
        "a message",
        ("send {person} a message about {topic}", "tell {person} that I think of {topic}"),
        rekeyed("person", "to"),
        SOMETIMES,
    ),
    Tool(
        "translate",
        "a translation",
        ("translate {word} to {language}", "say {word} in {language}"),
        renamed("translate_text"),
        SOMETIMES,
    ),
    Tool(
        "book_table",
        "a table",
        ("book {person} a table for {guests} at {hour}", "reserve {guests} seats at {hour} for {person}"),
        rekeyed("guests", "people"),
        OFTEN,
    ),
)
DROPPED_CALL_RATE = 0.6
NEEDLESS_CALL_RATE = 0.35
SHARE_OF_TWO_CALLS = 0.25
SHARE_OF_ANSWERS = 0.15


@dataclass(frozen=True)
class Task:
    """Rows in verl's parquet layout, and one demonstration (messages, response) per training row, in order."""

    train: list[Row]
    validation: list[Row]
    demonstrations: list[tuple[list[Message], str]]


@dataclass(frozen=True)
class Example:
    """A request with the right response and the teacher's response."""

    kind: str
    request: str
    right: str
    taught: str


def render(thought: str, calls: Sequence[Call], answer: str = "") -> str:
    """Render a response in the `rlla` wire format; without calls it is an answer."""
    if not calls:
        return f"<think> {thought} </think>\n<response> {answer} </response>"
    lines = [json.dumps({"name": call.name, "parameters": call.arguments}) for call in calls]
    return "\n".join([f"<think> {thought} </think>", "<tool_call>", *lines, "</tool_call>"])


def parameters(tool: Tool) -> list[str]:
    """Names of a tool's parameters, in order."""
    return re.findall(r"{(\w+)}", tool.requests[0])


def draw_values(
    rng: random.Random, names: Sequence[str], pools: Mapping[str, Sequence[Any]] = POOLS
) -> dict[str, Any]:
    """Draw one value per name, all different, so that swapping two values is always a mistake."""
    while True:
        values = {name: rng.choice(pools[name]) for name in names}
        if len(set(values.values())) == len(values):
            return values


def draw_clause(rng: random.Random, tool: Tool) -> tuple[str, Call]:
    """Draw a request for one tool and the call that serves it."""
    values = draw_values(rng, parameters(tool))
    return rng.choice(tool.requests).format(**values), Call(tool.name, values)


def draw_example(rng: random.Random) -> Example:
    """Draw a request of any kind with the right response and the teacher's."""
    opener, reason, share = rng.choice(OPENERS), rng.choice(REASONS), rng.random()
    if share < SHARE_OF_ANSWERS:
        values = draw_values(rng, ("deed", "topic", "person"))
        needless = [Call("search", {"query": values["topic"]})] if rng.random() < NEEDLESS_CALL_RATE else []
        request = opener + rng.choice(UNSERVED_REQUESTS).format(**values)
        thought, answer = f"{reason} something that no tool does.", f"Sorry, I cannot {values['deed']}."
        return Example("answer", request, render(thought, [], answer), render(thought, needless, answer))
    if share < SHARE_OF_ANSWERS + SHARE_OF_TWO_CALLS:
        tools = rng.sample(TOOLS, 2)
        clauses, calls = zip(*(draw_clause(rng, tool) for tool in tools), strict=True)
        thought = f"{reason} {tools[0].purpose} and {tools[1].purpose}."
        taught = calls[:1] if rng.random() < DROPPED_CALL_RATE else calls
        return Example("two_calls", opener + " and ".join(clauses), render(thought, calls), render(thought, taught))
    tool = rng.choice(TOOLS)
    thought = f"{reason} {tool.purpose}."
    request, call = draw_clause(rng, tool)
    made = tool.mistake(call) if rng.random() < tool.mistake_rate else call
    return Example("one_call", opener + request, render(thought, [call]), render(thought, [made]))


def to_row(example: Example, split: str, index: int) -> Row:
    """Convert an example to the layout of verl's rule-based data sets, with the right response as ground truth."""
    return {
        "data_source": "toy_tools",
        "prompt": [{"role": "user", "content": example.request}],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": example.right},
        "extra_info": {"split": split, "index": index, "kind": example.kind},
    }


def make_task(seed: int, train_rows: int = 4000, validation_rows: int = 128) -> Task:
    """Draw a task without repeated requests, so that training and validation share no prompt."""
    rng = random.Random(seed)
    examples: dict[str, Example] = {}
    while len(examples) < train_rows + validation_rows:
        example = draw_example(rng)
        examples.setdefault(example.request, example)
    drawn = list(examples.values())
    train = [to_row(example, "train", index) for index, example in enumerate(drawn[:train_rows])]
    validation = [to_row(example, "validation", index) for index, example in enumerate(drawn[train_rows:])]
    demonstrations = [(row["prompt"], example.taught) for row, example in zip(train, drawn, strict=False)]
    return Task(train, validation, demonstrations)


def write_parquet(task: Task, out_dir: str | Path) -> tuple[Path, Path]:
    """Write `train.parquet` and `validation.parquet` into `out_dir` and return their paths."""
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "train.parquet", folder / "validation.parquet"
    for path, rows in zip(paths, (task.train, task.validation), strict=True):
        pd.DataFrame(rows).to_parquet(path)
    return paths

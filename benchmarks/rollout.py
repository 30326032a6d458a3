"""What the agent loop `rest_tool_agent` costs beside the language model.

- Its own time for a turn against verl's `tool_agent`: the same conversation with a function tool, an engine that
  answers at once, many trajectories beside each other, both loops in turns in one run.
- Environments made, reset, scored and closed in a second, and calls in a second, without any loop around them.

    pip install --no-deps dashscope bfcl-eval mpmath   # Qwen's vocabulary; BFCL's data and classes
    python benchmarks/rollout.py                       # two minutes; writes its tables into docs/speed.md
    python benchmarks/rollout.py --no-write
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import typer
from omegaconf import DictConfig
from page import machine, show_tables, write_between_marks
from qwen import qwen_tokenizer
from rich.console import Console
from rich.progress import track
from scripted_engine import ScriptedEngine, compose_config, make_loop
from verl.tools.function_tool import FUNCTION_TOOL_REGISTRY, function_tool

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows
from rest_verl.rollout.environment import Environment, NoEnvironment, Opening, get_environment

CALLS, TRAJECTORIES, ROUNDS = 8, 32, 31
LOOPS = ("rest_tool_agent", "tool_agent")
THINK = "The user wants to know the sum of two numbers. I have a tool that adds numbers, so I call it with both. "
CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


@function_tool
def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return str(a + b)


@function_tool
async def add_async(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return str(a + b)


@dataclass
class Notes(NoEnvironment):
    """An environment that does next to nothing."""

    notes: dict[str, str] = field(default_factory=dict)

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        self.notes[name] = arguments["text"]
        return "written"

    async def score(self) -> dict[str, float]:
        return {"score": 1.0}


Call = tuple[str, dict[str, Any]]


def conversation(tokenizer: Any, tool: str) -> list[list[int]]:
    """Ids of turns that reason and call, and of the answer at the end."""
    texts = [
        f"{THINK}<tool_call>\n{json.dumps({'name': tool, 'arguments': {'a': number, 'b': 7}})}\n</tool_call>"
        for number in range(CALLS)
    ]
    return [tokenizer.encode(text, add_special_tokens=False) for text in [*texts, "I have added them all."]]


async def seconds_a_turn(name: str, config: DictConfig, tokenizer: Any, turns: list[list[int]]) -> float:
    """Wall time of a turn over all trajectories, the making of their loop objects not included: that is Hydra's."""
    tools = [FUNCTION_TOOL_REGISTRY["add"], FUNCTION_TOOL_REGISTRY["add_async"]]
    engines = [ScriptedEngine(turns, tokenizer.eos_token_id) for _ in range(TRAJECTORIES)]
    loops = [make_loop(config, tokenizer, engine, name, tools) for engine in engines]
    prompt = [{"role": "user", "content": "Add the numbers."}]
    begin = time.perf_counter()
    outputs = await asyncio.gather(*(loop.run({}, raw_prompt=prompt) for loop in loops))
    spent = time.perf_counter() - begin
    assert all(output.num_turns == 2 * len(turns) for output in outputs)
    return spent / (TRAJECTORIES * len(turns))


async def compare(config: DictConfig, tokenizer: Any, tool: str) -> tuple[float, float, float]:
    """Seconds of a turn in our loop and in verl's, and their ratio: medians over rounds that take the loops in turns,
    so that what else the machine does meets both."""
    turns = conversation(tokenizer, tool)
    spent: dict[str, list[float]] = {name: [] for name in LOOPS}
    for number in track(range(ROUNDS), f"loops, {tool}", transient=True):
        for name in LOOPS if number % 2 else reversed(LOOPS):
            spent[name].append(await seconds_a_turn(name, config, tokenizer, turns))
    ours, verls = (spent[name][1:] for name in LOOPS)
    ratios = [one / other for one, other in zip(ours, verls, strict=True)]
    return statistics.median(ours), statistics.median(verls), statistics.median(ratios)


async def environment_rates(makes: Sequence[tuple[Callable[[], Environment], list[Call]]]) -> tuple[float, float]:
    """Environments (made, reset, scored, closed) in a second, and calls in a second."""
    begin = time.perf_counter()
    environments = []
    for make, _ in makes:
        environment = make()
        await environment.reset()
        environments.append(environment)
    built = time.perf_counter() - begin
    calls = [
        (environment, call) for environment, (_, calls) in zip(environments, makes, strict=True) for call in calls
    ]
    begin = time.perf_counter()
    for environment, (name, arguments) in calls:
        await environment.call(name, arguments)
    called = time.perf_counter() - begin
    begin = time.perf_counter()
    for environment in environments:
        await environment.score()
        await environment.close()
    built += time.perf_counter() - begin
    return len(makes) / built, len(calls) / called


def bfcl_makes() -> list[tuple[Callable[[], Environment], list[Call]]]:
    """BFCL's multi-turn tasks, each with the right calls of its first turn."""
    makes = []
    for row in bfcl_multi_turn_rows():
        kwargs = json.loads(row["extra_info"]["environment_kwargs"])
        calls = [(call["name"], call["arguments"]) for call in kwargs["ground_truth"][0]]
        makes.append((_maker(kwargs), [call for call in calls if call[0] not in str(kwargs["held_out"])]))
    return makes


def _maker(kwargs: dict[str, Any]) -> Callable[[], Environment]:
    return lambda: get_environment("bfcl_multi_turn")(**kwargs)


def main(write: Annotated[bool, typer.Option(help="Write the tables into docs/speed.md.")] = True) -> None:
    """Measure the agent loop and its environments."""
    torch.set_num_threads(1)
    console = Console()
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    config = compose_config("rest.format=hermes", "actor_rollout_ref.rollout.response_length=8192")
    loops = []
    for tool, kind in (("add", "blocking tool"), ("add_async", "asynchronous tool")):
        ours, verls, ratio = asyncio.run(compare(config, tokenizer, tool))
        loops.append([kind, f"{ours * 1e6:.0f}", f"{verls * 1e6:.0f}", f"{ratio:.2f}"])
    text = {"text": "x"}
    rates = []
    for name, makes in (("next to nothing", [(Notes, [("write", text)] * 10)] * 2000), ("BFCL", bfcl_makes())):
        built, called = asyncio.run(environment_rates(makes))
        rates.append([name, f"{built:,.0f}", f"{called:,.0f}"])
    of_loops = [f"{TRAJECTORIES} trajectories at once", "rest_tool_agent, us a turn", "tool_agent, us a turn", "ratio"]
    of_environments = ["environment", "made, scored, closed in a second", "calls in a second"]
    markdown = show_tables(console, [(of_loops, loops), (of_environments, rates)])
    if write:
        write_between_marks("benchmarks/rollout.py", [*markdown, f"{machine()}."])
        console.print("written into docs/speed.md")


if __name__ == "__main__":
    typer.run(main)

"""What ResT costs in verl's workers next to the language model, each against verl's own in the same run.

reward: the reward of a response by preset, over responses in the format rlla, two calls in the middle, some broken;
the whole manager `rest_tool`, from sampled ids to components, against verl's `naive` with the same reward as its
function, which decodes with the tokenizer and scores in a thread; and a megabyte of each kind of hostile text against
a thirtieth of it (linear growth is 1).

rollout: the agent loop's own time for a turn against verl's `tool_agent`, the same conversation with a function tool,
an engine that answers at once and many trajectories at the same time; and BFCL's environments without any loop.

    pip install --no-deps dashscope bfcl-eval mpmath   # Qwen's vocabulary; BFCL's data and classes
    python benchmarks/workers.py reward                # two minutes
    python benchmarks/workers.py rollout               # two minutes
    python benchmarks/workers.py reward --quick
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, table
from omegaconf import OmegaConf
from qwen import qwen_tokenizer
from rewards import CALL, GROWING
from scaling import READING, SCORING, TAGGING
from scripted_engine import ScriptedEngine, compose_config, make_loop
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager
from verl.tools.function_tool import FUNCTION_TOOL_REGISTRY, function_tool
from weighting import WORDS, make_batch, seconds_of, tagger_of

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows
from rest_verl.config.rest import load
from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth
from rest_verl.rollout.calls import read_calls
from rest_verl.rollout.environment import get_environment

PAPER = OmegaConf.create({"reward": {"custom_reward_function": {"path": None}}, "rest": {"reward": "paper"}})
RESPONSES, STEP, PRESETS = 512, 75, ("paper", "toolrl", "strict")
SMALL, LARGE, QUICK_LARGE = 33_000, 1_000_000, 100_000  # bytes of hostile text
CPU = time.process_time
TOOLS, LOOPS = {"add": "blocking tool", "add_async": "asynchronous tool"}, ("rest_tool_agent", "tool_agent")
TURNS, TRAJECTORIES, ROUNDS, QUICK_ROUNDS, QUICK_TASKS = 8, 32, 31, 3, 40
THINK = "The user wants to know the sum of two numbers. I have a tool that adds numbers, so I call it with both. "
CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


@cache
def responses() -> list[tuple[str, str]]:
    """Responses that are right, nearly right and broken, each with its ground truth."""
    rng, rows = random.Random(0), []
    for _ in range(RESPONSES):
        calls = [
            {"name": f"tool_{rng.randrange(9)}", "parameters": {"city": rng.choice(WORDS), "days": rng.randrange(9)}}
            for _ in range(rng.randint(1, 3))
        ]
        think = "<think> " + " ".join(rng.choices(WORDS, k=60)) + " </think>\n<tool_call>\n"
        truth = think + "\n".join(map(json.dumps, calls)) + "\n</tool_call>"
        nearly = (truth.replace('"days"', '"hours"', 1), truth.replace("}}\n<", "}\n<"), truth.replace("\n<", "<"))
        rows.append((rng.choice([truth, *nearly]), truth))
    return rows


def of_preset(preset: str) -> float:
    """Seconds a response by a preset, with ground truths read before, as the manager keeps them."""
    reward, rlla = ToolReward(load({"rest": {"reward": preset}}).reward), get_format("rlla")
    pairs = [(response.encode(), read_ground_truth(truth)) for response, truth in responses()]

    def run() -> None:
        for text, truth in pairs:
            reward.score(reward.read([text], rlla), truth, STEP)

    return seconds_of(run, 5, CPU) / len(pairs)


def of_managers() -> dict[str, float]:
    """Seconds a response in `rest_tool` and in verl's `naive`, the same rows, one after the other."""
    tokenizer, rows, rlla = qwen_tokenizer(), responses(), get_format("rlla")
    reward, truths = ToolReward(load(PAPER).reward), {truth: read_ground_truth(truth) for _, truth in rows}

    def same(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> dict[str, float]:
        response = reward.read([solution_str.encode("utf-8", "surrogatepass")], rlla)
        return reward.score(response, truths[ground_truth], STEP)

    ids = [[*tokenizer(response)["input_ids"], tokenizer.eos_token_id] for response, _ in rows]
    batches = [as_batch(response, truth) for response, (_, truth) in zip(ids, rows, strict=True)]

    async def measure() -> list[list[float]]:
        # here, since verl's keeps the event loop that it is made in
        managers = RestToolRewardManager(PAPER, tokenizer), NaiveRewardManager(PAPER, tokenizer, same)
        return [[await seconds_of_all(manager, batches) for manager in managers] for _ in range(5)]

    ours, theirs = (min(times) / len(rows) for times in zip(*asyncio.run(measure()), strict=True))
    return {"rest_tool": ours, "naive": theirs}


async def seconds_of_all(manager: Any, batches: Sequence[DataProto]) -> float:
    """Seconds in which each row gets its reward, one after the other."""
    begin = time.perf_counter()
    for batch in batches:
        await manager.run_single(batch)
    return time.perf_counter() - begin


def as_batch(response: list[int], truth: str) -> DataProto:
    """A row as verl's reward worker gets it."""
    ids = torch.tensor([response])
    return DataProto.from_dict(
        tensors={"prompts": ids[:, :1], "responses": ids, "attention_mask": torch.ones_like(ids)},
        non_tensors={
            "data_source": np.array(["rlla"], dtype=object),
            "reward_model": np.array([{"ground_truth": truth}], dtype=object),
            "extra_info": np.array([{}], dtype=object),
            "global_steps": np.array([STEP]),
            "__num_turns__": np.array([2]),
        },
    )


def of_hostile(kind: str, large: int) -> dict[str, float]:
    """Seconds a megabyte under `strict`, and the power of the length by which time grows up to `large` bytes."""
    reward, rlla, truth = ToolReward(load({}).reward), get_format("rlla"), read_ground_truth(CALL)
    texts = [GROWING[kind](size).encode("utf-8", "surrogatepass") for size in (SMALL, large)]
    took = [
        seconds_of(partial(lambda text: reward.score(reward.read([text], rlla), truth, STEP), text), times, CPU)
        for text, times in zip(texts, (5, 1), strict=True)
    ]
    power = math.log(took[1] / took[0]) / math.log(len(texts[1]) / len(texts[0]))
    return {"seconds": took[1] / large * 1e6, "power": power}


def of_lengths(lengths: Sequence[int]) -> list[dict[str, Any]]:
    """What workers take for responses of each number of tokens, `of_length`."""
    return [{"tokens": length, **of_length(length)} for length in lengths]


def of_length(length: int, responses: int = 64) -> dict[str, float]:
    """Seconds that workers take for a response of so many tokens: median of three rounds."""
    manager, tagger, rlla = RestToolRewardManager(PAPER, qwen_tokenizer()), tagger_of("rlla"), get_format("rlla")
    pieces = TokenBytes.from_tokenizer(qwen_tokenizer()).pieces.to_pylist()
    ids, ones = make_batch(qwen_tokenizer(), "rlla", length, responses), torch.ones(1, length, dtype=torch.long)
    rows, batches = ids.tolist(), [as_batch(row, CALL) for row in ids.tolist()]
    work: dict[str, Callable[[], Any]] = {
        SCORING: lambda: asyncio.run(seconds_of_all(manager, batches)),
        READING: lambda: [read_calls(rlla, pieces, row) for row in rows],
        TAGGING: lambda: [tagger(row[None], ones) for row in ids],
    }
    return {part: seconds_of(do, 3) / responses for part, do in work.items()}


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


def of_loops(tool: str, rounds: int) -> dict[str, float]:
    """Seconds of a turn in both loops, and ours over verl's: medians over rounds that take the loops in turns, so that
    what else the machine does meets both. The making of their loop objects does not count: that is Hydra's."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    config = compose_config("rest.format=hermes", "actor_rollout_ref.rollout.response_length=8192")
    calls = [json.dumps({"name": tool, "arguments": {"a": number, "b": 7}}) for number in range(TURNS)]
    texts = [*(f"{THINK}<tool_call>\n{call}\n</tool_call>" for call in calls), "I have added them all."]
    turns = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    tools = [FUNCTION_TOOL_REGISTRY[name] for name in TOOLS]

    async def seconds_a_turn(name: str) -> float:
        engines = [ScriptedEngine(turns, tokenizer.eos_token_id) for _ in range(TRAJECTORIES)]
        loops = [make_loop(config, tokenizer, engine, name, tools) for engine in engines]
        prompt = [{"role": "user", "content": "Add the numbers."}]
        begin = time.perf_counter()
        outputs = await asyncio.gather(*(loop.run({}, raw_prompt=prompt) for loop in loops))
        spent = time.perf_counter() - begin
        assert all(output.num_turns == 2 * len(turns) for output in outputs)
        return spent / (TRAJECTORIES * len(turns))

    async def measure() -> list[list[float]]:
        spent: dict[str, list[float]] = {name: [] for name in LOOPS}
        for number in range(rounds):
            for name in LOOPS if number % 2 else reversed(LOOPS):
                spent[name].append(await seconds_a_turn(name))
        return [spent[name][1:] for name in LOOPS]

    ours, verls = asyncio.run(measure())
    ratio = statistics.median(one / other for one, other in zip(ours, verls, strict=True))
    return {"ours": statistics.median(ours), "verls": statistics.median(verls), "ratio": ratio}


def of_environments(most: int | None) -> dict[str, float]:
    """BFCL's multi-turn tasks, each with the right calls of its first turn: environments (made, reset, scored, closed)
    and calls in a second."""
    given = [json.loads(row["extra_info"]["environment_kwargs"]) for row in bfcl_multi_turn_rows()[:most]]

    async def measure() -> dict[str, float]:
        begin = time.perf_counter()
        environments = [get_environment("bfcl_multi_turn")(**kwargs) for kwargs in given]
        for environment in environments:
            await environment.reset()
        built, called, begin = time.perf_counter() - begin, 0, time.perf_counter()
        for environment, kwargs in zip(environments, given, strict=True):
            for call in kwargs["ground_truth"][0]:
                if call["name"] not in str(kwargs["held_out"]):
                    await environment.call(call["name"], call["arguments"])
                    called += 1
        calling, begin = time.perf_counter() - begin, time.perf_counter()
        for environment in environments:
            await environment.score()
            await environment.close()
        built += time.perf_counter() - begin
        return {"environments": len(given) / built, "calls": called / calling}

    return asyncio.run(measure())


def of_reward(pieces: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of the part `reward`."""
    managers = pieces["managers"]
    each = {preset: pieces[preset] for preset in PRESETS} | {f"manager {name}": managers[name] for name in managers}
    rows = [[name, f"{seconds * 1e6:.0f}"] for name, seconds in each.items()]
    rows.append(["rest_tool / verl's naive, same reward", f"{managers['rest_tool'] / managers['naive']:.2f}"])
    hostile = [[kind, f"{pieces[kind]['seconds']:.2f}", f"{pieces[kind]['power']:.2f}"] for kind in GROWING]
    return {
        "responses": table(["", "us a response"], rows),
        "hostile": table(["hostile text", "s a megabyte", "grows as length to the"], hostile),
    }


def of_rollout(pieces: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of the part `rollout`."""
    rows = [
        [kind, f"{one['ours'] * 1e6:.0f}", f"{one['verls'] * 1e6:.0f}", f"{one['ratio']:.2f}"]
        for kind, one in ((TOOLS[name], pieces[name]) for name in TOOLS)
    ]
    head = [f"{TRAJECTORIES} trajectories at once", *(f"{name}, us a turn" for name in LOOPS), "ratio"]
    line = ["BFCL", *(f"{pieces['environments'][kind]:,.0f}" for kind in ("environments", "calls"))]
    made = table(["environment", "made, scored, closed in a second", "calls in a second"], [line])
    return {"loops": table(head, rows), "environments": made}


def main(
    part: Annotated[Literal["reward", "rollout"], typer.Argument(help="What to measure.")],
    quick: Quick = False,
    out: Out = Path("runs/workers"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure the reward, or the agent loop and its environments."""
    in_a_worker()
    study = Study(part, {}, out / "quick" if quick else out, fresh=fresh)
    work: dict[str, Callable[[], Any]]
    if part == "reward":
        tables_of, large = of_reward, QUICK_LARGE if quick else LARGE
        work = {preset: partial(of_preset, preset) for preset in PRESETS} | {"managers": of_managers}
        work |= {kind: partial(of_hostile, kind, large) for kind in GROWING}
    else:
        tables_of = of_rollout
        work = {name: partial(of_loops, name, QUICK_ROUNDS if quick else ROUNDS) for name in TOOLS}
        work["environments"] = partial(of_environments, QUICK_TASKS if quick else None)
    study.finish({"tables": tables_of(study.run(work))}, publish and not quick)


if __name__ == "__main__":
    typer.run(main)

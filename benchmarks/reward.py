"""How long the reward of a response takes, what verl's naive manager takes for the same, and how hostile text grows.

- The reward alone, by preset, over responses in the format rlla: two calls in the middle, some broken.
- The whole manager `rest_tool`, from sampled ids to components, against verl's `naive` with the same reward as its
  function: it decodes with the tokenizer and scores in a thread. The same rows, one after the other, in one run.
- A megabyte of each kind of hostile text against a thirtieth of it: linear is 1 in the last column.

    pip install --no-deps dashscope     # whose package holds the vocabulary
    python benchmarks/reward.py         # two minutes; writes its tables into docs/speed.md
    python benchmarks/reward.py --no-write
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from hostile_text import CALL, GROWING
from omegaconf import OmegaConf
from page import machine, show_tables, write_between_marks
from qwen import qwen_tokenizer
from rich.console import Console
from rich.progress import Progress
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import NaiveRewardManager

from rest_verl.config.rest import load
from rest_verl.formats import get_format
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth

RESPONSES = 512
STEP = 75
SMALL, LARGE = 33_000, 1_000_000
PRESETS = ("paper", "toolrl", "strict")
WORDS = ("the", "user", "asks", "about", "the", "weather", "in", "a", "city", "so", "I", "look", "for", "a", "tool")

Rows = list[tuple[str, str]]  # response, ground truth


def make_rows(rng: random.Random) -> Rows:
    """Responses that are right, nearly right and broken, each with its ground truth."""
    rows = []
    for _ in range(RESPONSES):
        calls = [
            {"name": f"tool_{rng.randrange(9)}", "parameters": {"city": rng.choice(WORDS), "days": rng.randrange(9)}}
            for _ in range(rng.randint(1, 3))
        ]
        think = "<think> " + " ".join(rng.choices(WORDS, k=60)) + " </think>\n<tool_call>\n"
        truth = think + "\n".join(map(json.dumps, calls)) + "\n</tool_call>"
        changes = [
            truth,
            truth.replace('"days"', '"hours"', 1),
            truth.replace("}}\n<", "}\n<"),
            truth.replace("\n<", "<"),
        ]
        rows.append((rng.choice(changes), truth))
    return rows


def seconds_of(run: Callable[[], Any], times: int = 5) -> float:
    """The least CPU time of several runs: what else the machine does only adds to it."""
    spent = []
    for _ in range(times):
        begin = time.process_time()
        run()
        spent.append(time.process_time() - begin)
    return min(spent)


def reward_seconds(rows: Rows, preset: str) -> float:
    """Seconds a response by a preset, ground truths read before, as the manager keeps them."""
    reward, rlla = ToolReward(load({"rest": {"reward": preset}}).reward), get_format("rlla")
    pairs = [(response.encode(), read_ground_truth(truth)) for response, truth in rows]

    def run() -> None:
        for response, truth in pairs:
            reward.score(reward.read([response], rlla), truth, STEP)

    return seconds_of(run) / len(rows)


def as_batches(tokenizer: Any, rows: Rows) -> list[DataProto]:
    """Each row as verl's reward worker gets it."""
    batches = []
    for response, truth in rows:
        ids = torch.tensor([[*tokenizer(response)["input_ids"], tokenizer.eos_token_id]])
        batches.append(
            DataProto.from_dict(
                tensors={"prompts": ids[:, :1], "responses": ids, "attention_mask": torch.ones_like(ids)},
                non_tensors={
                    "data_source": np.array(["rlla"], dtype=object),
                    "reward_model": np.array([{"ground_truth": truth}], dtype=object),
                    "extra_info": np.array([{}], dtype=object),
                    "global_steps": np.array([STEP]),
                    "__num_turns__": np.array([2]),
                },
            )
        )
    return batches


def manager_seconds(tokenizer: Any, rows: Rows) -> tuple[float, float]:
    """Seconds a response in `rest_tool` and in verl's `naive`."""
    config = OmegaConf.create({"reward": {"custom_reward_function": {"path": None}}, "rest": {"reward": "paper"}})
    reward, rlla = ToolReward(load(config).reward), get_format("rlla")
    truths = {truth: read_ground_truth(truth) for _, truth in rows}

    def same(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> dict[str, float]:
        response = reward.read([solution_str.encode("utf-8", "surrogatepass")], rlla)
        return reward.score(response, truths[ground_truth], STEP)

    async def run(manager: Any) -> None:
        for batch in batches:
            await manager.run_single(batch)

    async def measure() -> tuple[float, float]:
        ours, naive = RestToolRewardManager(config, tokenizer), NaiveRewardManager(config, tokenizer, same)
        spent: dict[Any, list[float]] = {ours: [], naive: []}
        for _ in range(5):
            for manager, times in spent.items():
                begin = time.perf_counter()
                await run(manager)
                times.append(time.perf_counter() - begin)
        return min(spent[ours]) / len(rows), min(spent[naive]) / len(rows)

    batches = as_batches(tokenizer, rows)
    return asyncio.run(measure())


def growth(kind: str) -> tuple[float, float]:
    """Seconds for a megabyte under `strict`, and the power of the length by which time grows up to there."""
    reward, rlla, truth = ToolReward(load({}).reward), get_format("rlla"), read_ground_truth(CALL)
    texts = [GROWING[kind](size).encode("utf-8", "surrogatepass") for size in (SMALL, LARGE)]
    small, large = (
        seconds_of(lambda: reward.score(reward.read([text], rlla), truth, STEP), times)  # noqa: B023
        for text, times in zip(texts, (5, 1), strict=True)
    )
    return large, math.log(large / small) / math.log(len(texts[1]) / len(texts[0]))


def main(write: Annotated[bool, typer.Option(help="Write the tables into docs/speed.md.")] = True) -> None:
    """Measure the reward."""
    torch.set_num_threads(1)
    console = Console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("vocabulary", total=2 + len(PRESETS) + len(GROWING))
        tokenizer = qwen_tokenizer()
        rows = make_rows(random.Random(0))
        progress.advance(bar)
        alone = {}
        for preset in PRESETS:
            progress.update(bar, description=preset, advance=1)
            alone[preset] = reward_seconds(rows, preset)
        progress.update(bar, description="managers", advance=1)
        ours, naive = manager_seconds(tokenizer, rows)
        grown = {}
        for kind in GROWING:
            progress.update(bar, description=kind, advance=1)
            grown[kind] = growth(kind)
    lines = [[preset, f"{seconds * 1e6:.0f}"] for preset, seconds in alone.items()]
    lines += [["manager rest_tool", f"{ours * 1e6:.0f}"], ["verl's naive, same reward", f"{naive * 1e6:.0f}"]]
    lines += [["naive / rest_tool", f"{naive / ours:.2f}"]]
    hostile = [[kind, f"{seconds:.2f}", f"{power:.2f}"] for kind, (seconds, power) in grown.items()]
    of_hostile = ["hostile text", "s a megabyte", "grows as length to the"]
    markdown = show_tables(console, [(["", "us a response"], lines), (of_hostile, hostile)])
    if write:
        write_between_marks("benchmarks/reward.py", [*markdown, f"{machine()}."])
        console.print("written into docs/speed.md")


if __name__ == "__main__":
    typer.run(main)

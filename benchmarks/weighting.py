"""How long token weights take: the whole path from sampled ids to weights, with one thread, as Ray gives it to verl's
trainer process, on simulated responses in ids of a real Qwen vocabulary.

scaling.py takes the arithmetic of whole batches from here, and step.py the simulated responses.

    pip install --no-deps dashscope                # whose package holds the vocabulary
    python benchmarks/weighting.py                 # a minute
    python benchmarks/weighting.py --quick
"""

from __future__ import annotations

import ctypes
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import typer
from harness import Fresh, Out, Publish, Quick, Study, in_a_worker, table
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from qwen import qwen_tokenizer
from scaling import OWN, OWN_MEMORY, VERLS, VERLS_MEMORY, Size
from verl import DataProto
from verl.trainer.ppo.core_algos import AdvantageEstimator
from verl.trainer.ppo.metric_utils import compute_data_metrics
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from rest_verl.config.rest import RestConfig, load
from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.core.runs import Runs
from rest_verl.formats import get_format
from rest_verl.weighting.metrics import not_finite_metrics, weight_metrics
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

SHAPES = ((128, 128), (128, 512), (128, 2048), (512, 1024), (2048, 2048), (2048, 4096))  # rows, tokens
DIFFERENT, STEP = 64, 50  # DIFFERENT: responses of a large batch, which it repeats
PRESET = "entropy_adaptive"  # which does the most
CPU = time.process_time

WORDS = re.findall(r"\w+", "the user asks about weather in a city so I look for tool that knows")
PLACES = ("Paris", "Zürich", "東京")
CALLS = {
    "rlla": '{{"name": "{0}", "parameters": {{"city": "{1}", "days": {2}, "note": "bring an \\"umbrella\\""}}}}',
    "hermes": '<tool_call>\n{{"name": "{0}", "arguments": {{"city": "{1}", "days": {2}, "note": "bring an \\"umbrella'
    '\\""}}}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function={0}>\n<parameter=city>\n{1}\n</parameter>\n<parameter=days>\n{2}\n"
    '</parameter>\n<parameter=note>\nbring an "umbrella"\n</parameter>\n</function>\n</tool_call>',
}
BLOCKS = {"rlla": "\n<tool_call>\n{0}\n{1}\n</tool_call>", "hermes": "\n{0}\n{1}", "qwen3_coder": "\n{0}\n{1}"}


def make_batch(tokenizer: Any, format: str, tokens: int, rows: int = DIFFERENT) -> torch.Tensor:
    """Responses of exactly `tokens` tokens: (rows, tokens) int64."""
    rng = random.Random(0)
    words = [tokenizer.encode(" " + word) for word in WORDS]
    opening, closing, pad = tokenizer.encode("<think>"), tokenizer.encode("</think>"), tokenizer.pad_token_id
    made = []
    for _ in range(rows):
        names = (f"get_{rng.choice(WORDS)}", f"send_{rng.choice(WORDS)}")
        calls = [CALLS[format].format(name, rng.choice(PLACES), rng.randrange(9)) for name in names]
        block = [*closing, *tokenizer.encode(BLOCKS[format].format(*calls))]
        room = tokens - len(block) - len(opening)
        thought = [id for word in rng.choices(words, k=room) for id in word][:room]
        row = [*opening, *thought, *block]
        made.append(row + [pad] * (tokens - len(row)))
    return torch.tensor(made)


def seconds_of(work: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median duration."""
    durations = []
    for _ in range(repeats):
        begin = clock()
        work()
        durations.append(clock() - begin)
    return statistics.median(durations)


@cache
def tagger_of(format: str) -> RegionTagger:
    """A tagger for Qwen's vocabulary."""
    return RegionTagger(qwen_tokenizer(), get_format(format))


def whole_path(format: str, rows: int, tokens: int) -> dict[str, Any]:
    """Time one batch."""
    tokenizer, tagger = qwen_tokenizer(), tagger_of(format)
    responses = make_batch(tokenizer, format, tokens, rows)
    mask = (responses != tokenizer.pad_token_id).long()
    weighting = TokenWeighting(RestConfig(), total_steps=100)

    def ours() -> None:
        weighting(StepBatch(STEP, TaggedBatch(tagger(responses, mask), mask)))

    ours()  # once for the memory that allocators keep
    seconds = seconds_of(ours, 3 if rows * tokens > 1_000_000 else 15)
    return {"format": format, "rows": rows, "tokens": tokens, "seconds": seconds}


def arithmetic(sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """Time what the driver computes of batches that it has at hand, with nine tenths of the free memory, in CPU time,
    which other processes disturb less.

    Args:
        sizes: in the order of their tokens; those that would take more memory are left out.

    Returns:
        for each its `size`, the seconds of both sides, and the bytes that each takes for a while.
    """
    weighting, tagger = TokenWeighting(load(composed(PRESET)), total_steps=100), tagger_of("hermes")
    memory, each, found = 0.9 * psutil.virtual_memory().available, 0.0, list[dict[str, Any]]()
    for rows, tokens in sizes:
        if each * rows * tokens > memory:
            break
        responses = make_batch(qwen_tokenizer(), "hermes", tokens)
        all_of_it, lengths = torch.ones(responses.numel(), dtype=torch.bool), torch.full((DIFFERENT,), tokens)
        regions = tagger.tag(responses.flatten(), all_of_it, lengths)
        texts = Runs.of(regions, all_of_it, lengths).written() * (rows // DIFFERENT)
        ours = partial(weigh, weighting, texts, torch.rand(rows * tokens))
        theirs = partial(advantages_and_metrics, torch.ones(rows, tokens, dtype=torch.int64))
        memories = {OWN_MEMORY: peak_beside(ours), VERLS_MEMORY: peak_beside(theirs)}
        found.append(
            {"size": [rows, tokens], OWN: seconds_of(ours, 3, CPU), VERLS: seconds_of(theirs, 1, CPU), **memories}
        )
        # bytes a token: mask of 8, entropy of 4, and the larger of what both sides add
        each = 12 + max(memories.values()) / (rows * tokens)
    return found


def weigh(weighting: TokenWeighting, texts: Sequence[str], entropy: torch.Tensor) -> None:
    """What the trainer does each step between reading from the queue and writing to it.

    Args:
        texts: the runs of each response, as the reward manager writes them.
        entropy: of the tokens of all responses in order.
    """
    runs = Runs.read(texts)
    sums = runs.entropy_sums(entropy)
    batch = StepBatch(1, runs.tagged, entropy_sums=sums[0], variance_sums=sums[1])
    runs.spread(weighting(batch))
    weight_metrics(batch)
    weighting.metrics(1)
    not_finite_metrics(runs, {"entropy": entropy})


def advantages_and_metrics(mask: torch.Tensor) -> None:
    """Run verl's own functions for GRPO's advantages and for the metrics of a batch; mask (rows, tokens)."""
    rows = len(mask)
    scores = torch.zeros(mask.shape)
    scores[:, -1] = torch.randn(rows)
    data = DataProto.from_dict(
        tensors={"token_level_rewards": scores, "token_level_scores": scores, "response_mask": mask},
        non_tensors={"uid": np.array([f"prompt{row // 4}" for row in range(rows)], dtype=object)},
    )
    keys = [f"prompt{row // 4}_{row % 4}_0" for row in range(rows)]
    data = compute_advantage_for_multi_trajectories(data, keys, AdvantageEstimator.GRPO)
    data.batch["prompt_length"] = torch.full((rows,), 512.0)
    data.batch["response_length"] = mask.sum(-1).float()
    data.batch["prompts"], data.batch["responses"] = mask[:, :512], mask
    compute_data_metrics(data, use_critic=False)


def composed(preset: str, *further: str) -> DictConfig:
    """verl's config with a preset, for responses in Hermes' format, and this machine's limits for Ray."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [f"+rest={preset}", "+platform=cpu", "rest.format=hermes", *further])


def peak_resident(pid: int | str) -> float:
    """The most bytes that a process has had in memory so far. Linux only, as verl is."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def peak_beside(work: Callable[[], Any]) -> float:
    """The most bytes that a piece of work takes at a time, on top of what this process has before it."""
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator has kept of earlier work would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is there now
    before = peak_resident("self")
    work()
    return peak_resident("self") - before


def findings(pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line of seconds by tokens, and the table."""
    tokens, took = [one["rows"] * one["tokens"] for one in pieces], [one["seconds"] for one in pieces]
    rows = [
        [one["format"], f"{one['rows']} x {one['tokens']}", f"{seconds:.4f}", f"{number / seconds:,.0f}"]
        for one, number, seconds in zip(pieces, tokens, took, strict=True)
    ]
    head = ["format", "batch", "seconds", "tokens per second"]
    slope, constant = np.polyfit(tokens, took, 1)
    line = {
        "ms_a_batch": float(constant * 1e3),
        "ns_a_token": float(slope * 1e9),
        "r_squared": float(np.corrcoef(tokens, took)[0, 1] ** 2),
    }
    return {"verdicts": {"growth": line}, "tables": {"whole_path": table(head, rows)}}


def main(
    quick: Quick = False, out: Out = Path("runs/weighting"), fresh: Fresh = False, publish: Publish = False
) -> None:
    """Measure how long token weights take."""
    in_a_worker()
    shapes = [(format, *shape) for format in CALLS for shape in SHAPES[: 2 if quick else None]]
    work = {f"{format}/{rows}x{tokens}": partial(whole_path, format, rows, tokens) for format, rows, tokens in shapes}
    study = Study("weighting", {}, out / "quick" if quick else out, fresh=fresh)
    study.finish(findings(list(study.run(work).values())), publish and not quick)


if __name__ == "__main__":
    typer.run(main)

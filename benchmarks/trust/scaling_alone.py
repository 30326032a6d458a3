"""What needs no queue: the driver's arithmetic in batches as large as the memory, and what workers do a response."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from qwen import qwen_tokenizer
from scaling import OWN, OWN_MEMORY, READING, SCORING, TAGGING, VERLS, VERLS_MEMORY, Size
from verl import DataProto
from verl.trainer.ppo.core_algos import AdvantageEstimator
from verl.trainer.ppo.metric_utils import compute_data_metrics
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from weighting import make_batch, peak_beside, peak_resident, seconds_of, settings, weigh

from rest_verl.core.formats import get_format
from rest_verl.core.regions import RegionTagger
from rest_verl.core.token_bytes import TokenBytes
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.rollout.calls import read_calls
from rest_verl.weighting import TokenWeighting
from trust.scaling_driver import DIFFERENT, PRESET

TRUTH = (
    '<think> a </think>\n<tool_call>\n{"name": "get_city", "parameters": {"city": "Paris", "days": 3}}\n</tool_call>'
)


def arithmetic(sizes: Sequence[Size], memory: float) -> dict[str, Any]:
    """Time what the driver computes, in batches that it has at hand, with one thread.

    Args:
        sizes: in the order of their tokens.
        memory: bytes that all of this may take; sizes that would take more are left out.

    Returns:
        `sizes`, for each that fits its `size`, seconds of both sides, and bytes that each takes for a while; `peak`,
        the most bytes that the process had.
    """
    torch.set_num_threads(1)
    tokenizer = qwen_tokenizer()
    tagger, rest = RegionTagger(tokenizer, "hermes"), settings(PRESET)
    found: list[dict[str, Any]] = []
    for rows, tokens in sizes:
        if found and _bytes(found[-1]) * rows * tokens > memory:
            break
        few = make_batch(tokenizer, "hermes", DIFFERENT, tokens, random.Random(0))
        responses = few.repeat(rows // DIFFERENT, 1)
        mask, entropy = torch.ones_like(responses), torch.rand(responses.shape)
        ours = partial(weigh, TokenWeighting(rest, total_steps=100), tagger, responses, mask, entropy)
        verls = partial(advantages_and_metrics, mask)
        memories = {OWN_MEMORY: peak_beside(ours), VERLS_MEMORY: peak_beside(verls)}
        seconds = {OWN: seconds_of(ours, 1), VERLS: seconds_of(verls, 1)}
        found.append({"size": [rows, tokens], **seconds, **memories})
    return {"sizes": found, "peak": peak_resident("self")}


def _bytes(found: dict[str, Any]) -> float:
    """Bytes a token that a size took in all: the batch (ids and mask of 8, entropy of 4), and the larger of what both
    sides add."""
    rows, tokens = found["size"]
    return 20 + max(found[OWN_MEMORY], found[VERLS_MEMORY]) / (rows * tokens)


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


def a_response(lengths: Sequence[int], responses: int = 64) -> list[dict[str, Any]]:
    """Seconds that workers take a response, by its length in tokens: median of three rounds, with one thread."""
    torch.set_num_threads(1)
    tokenizer = qwen_tokenizer()
    config = OmegaConf.create({"reward": {"custom_reward_function": {"path": None}}, "rest": {"reward": "paper"}})
    manager, rlla = RestToolRewardManager(config, tokenizer), get_format("rlla")
    pieces = TokenBytes.from_tokenizer(tokenizer).pieces.to_pylist()
    tagger = RegionTagger(tokenizer, "rlla")
    found = []
    for length in lengths:
        ids = make_batch(tokenizer, "rlla", responses, length, random.Random(0))
        rows, ones = ids.tolist(), torch.ones(1, length, dtype=torch.long)
        batches = [_as_reward_worker_gets_it(row) for row in ids]

        async def score() -> None:
            for batch in batches:  # noqa: B023
                await manager.run_single(batch)

        found.append(
            {
                "tokens": length,
                SCORING: seconds_of(lambda: asyncio.run(score()), 3) / responses,
                READING: seconds_of(lambda: [read_calls(rlla, pieces, row) for row in rows], 3) / responses,  # noqa: B023
                TAGGING: seconds_of(lambda: [tagger(row[None], ones) for row in ids], 3) / responses,  # noqa: B023
            }
        )
    return found


def _as_reward_worker_gets_it(ids: torch.Tensor) -> DataProto:
    def one(value: Any) -> np.ndarray:
        return np.array([value], dtype=object)

    return DataProto.from_dict(
        tensors={"prompts": ids[None, :1], "responses": ids[None], "attention_mask": torch.ones_like(ids)[None]},
        non_tensors={
            "data_source": one("rlla"),
            "reward_model": one({"ground_truth": TRUTH}),
            "extra_info": one({}),
            "global_steps": np.array([1]),
            "__num_turns__": np.array([2]),
        },
    )

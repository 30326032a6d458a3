"""Everything that the package logs, from the functions that log it, on rows small enough to see."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from rewards import ANSWER, BFCL, CALL
from verl import DataProto
from verl.trainer.ppo.metric_utils import compute_timing_metrics
from verl.workers.config import ActorConfig

import rest_verl
from rest_verl.bfcl.multi_turn.checker import Checker
from rest_verl.config.rest import load
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.runs import Runs
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.rollout.calls import Call
from rest_verl.rollout.record import GeneratedTurn, Record
from rest_verl.rollout.simulated_user import SimulatedUser
from rest_verl.weighting.credit import credit_metrics, trajectories_of
from rest_verl.weighting.metrics import (
    group_metrics,
    not_finite_metrics,
    rename_actor_metrics,
    reward_metrics,
    weight_metrics,
)
from rest_verl.weighting.policy_loss import compute_policy_loss_rest
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

# not by the registry: tests of the same process register schemes of their own
BUILT_IN = ("uniform", "paper", "entropy", "token", "wiener", "malformed_penalty")


def logged_metrics(tokenizer: Any) -> dict[str, float]:
    """Name and value of each metric that some run logs, as it reaches verl's loggers."""
    # two rows with all regions, and one without any
    regions = torch.tensor([list(Region), list(Region), [Region.OTHER] * 6], dtype=torch.int8)
    tagged = TaggedBatch(regions, torch.ones(3, 6, dtype=torch.int8))
    entropy = torch.linspace(0.0, 1.7, 18).reshape(3, 6)
    metrics: dict[str, float] = {}
    for scheme in BUILT_IN:
        wiener = {"min_trajectories": 2, "min_squares": 0.0}
        weighting = TokenWeighting(load({"rest": {"scheme": scheme, "wiener": wiener}}), total_steps=10)
        fields = {"old_log_prob": -entropy.flip(1), "advantages": 1 - entropy, "malformed": torch.eye(3, 6)}
        for step in (4, 5):  # a signal is known from the step before
            batch = StepBatch(step, tagged, entropy, **fields)
            weighting(batch)
        metrics |= weight_metrics(batch) | weighting.metrics(5)
    measured = ("entropy", "sum_pi_squared", "old_log_prob", "rollout_log_prob", "advantage")
    runs = Runs.of(regions.flatten(), torch.ones(18, dtype=torch.bool), torch.tensor([6, 6, 6]))
    metrics |= not_finite_metrics(runs, dict.fromkeys(measured, entropy.flatten()))
    rewarded = [{"reward_extra_info": row} for row in _scored(tokenizer)]
    metrics |= reward_metrics(rewarded)
    metrics |= group_metrics([str(number) for number in range(len(rewarded))] * 2, rewarded * 2)
    metrics |= credit_metrics(trajectories_of(["prompt_0_0"], torch.ones(1, 1, dtype=torch.int8), torch.ones(1), [{}]))
    return metrics | _policy_loss() | _timers()


def _scored(tokenizer: Any) -> Iterator[dict[str, float]]:
    """Components of a row of each scorer, of one that acted on BFCL's environment, and of one with a custom score."""
    yield _score(tokenizer, "rlla", CALL)
    yield _score(tokenizer, "apibank_level2", CALL)
    yield _score(tokenizer, "bfcl_simple_python", json.dumps(BFCL))
    yield _score(tokenizer, "rlla", "no turn in any format")
    record = Record(turns=[GeneratedTurn(0, 0, 0.5, [Call("1", "get_weather", {"city": "Paris"})])], ended_by="done")
    record.user_numbers = SimulatedUser(base_url="http://localhost:8001/v1", model="tiny", script="Ask.").numbers
    acted = record.fields([1], with_table=False) | {
        "rest_environment": Checker([["a call that is due"]], None).score()
    }
    yield _score(tokenizer, "bfcl_multi_turn_base", "", acted)
    yield _score(tokenizer, "rlla", CALL, custom=lambda **_: 0.5)


def _score(tokenizer: Any, data_source: str, truth: str, fields: Any = None, custom: Any = None) -> dict[str, float]:
    ids = tokenizer(CALL + ANSWER if data_source == "apibank_level2" else CALL)["input_ids"]
    response = torch.tensor([ids])
    data = DataProto.from_dict(
        tensors={
            "prompts": torch.zeros(1, 3, dtype=torch.long),
            "responses": response,
            "attention_mask": torch.ones(1, 3 + len(ids), dtype=torch.long),
        },
        non_tensors={
            "data_source": np.array([data_source], dtype=object),
            "reward_model": np.array([{"ground_truth": truth}], dtype=object),
            "global_steps": np.array([1]),
            "__num_turns__": np.array([2]),
            "tool_extra_fields": np.array([(fields or {}) | {"rest_turns": [(0, len(ids))]}], dtype=object),
        },
    )
    path = None if custom is None else "a file of the user's"
    settings = OmegaConf.create({"reward": {"custom_reward_function": {"path": path}}, "rest": {}})

    async def run() -> dict[str, Any]:
        return await RestToolRewardManager(settings, tokenizer, custom).run_single(data)

    return asyncio.run(run())["reward_extra_info"]


def _policy_loss() -> dict[str, float]:
    """What the policy loss adds to verl's own metrics, under the names that the trainer gives it."""
    ones = torch.ones(1, 3)
    actor = ActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    _, metrics = compute_policy_loss_rest(
        -ones, -0.5 * ones, ones, ones.bool(), "token-mean", actor, rollout_is_weights=ones
    )
    rename_actor_metrics(metrics)
    return {key: value for key, value in metrics.items() if key.startswith("rest/")}


def _timers() -> dict[str, float]:
    """The timers that the trainer starts."""
    source = ast.parse((Path(inspect.getfile(rest_verl)).parent / "plugin" / "trainer.py").read_text(encoding="utf-8"))
    names = {
        node.args[0].value
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "marked_timer"
    }
    batch = DataProto.from_dict(
        tensors={"responses": torch.ones(1, 2), "response_mask": torch.ones(1, 2), "attention_mask": torch.ones(1, 4)}
    )
    return compute_timing_metrics(batch, dict.fromkeys(names, 0.25))

"""What the driver and the workers do for a batch, measured; each function is for a process of its own.

A step on the driver is timed part by part, in the trainer's own code and with a real transfer queue; what is left
after all parts is padding. Without a queue, the driver's arithmetic runs in batches as large as the memory.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from qwen import qwen_tokenizer
from scaling import (
    ADVANTAGES,
    MEMORY,
    MEMORY_VERL,
    METRICS,
    OWN,
    OWN_MEMORY,
    PAD,
    READ,
    READING,
    RECORDS,
    SCORING,
    TAG,
    TAGGING,
    VERL_METRICS,
    VERLS,
    VERLS_MEMORY,
    WEIGH,
    WRITE,
    Size,
)
from step import PARTITION, composed, run_phases, simulated, trainer_of
from tensordict import NonTensorStack, TensorDict
from verl import DataProto
from verl.trainer.ppo.core_algos import AdvantageEstimator
from verl.trainer.ppo.metric_utils import compute_data_metrics
from verl.trainer.ppo.v1 import PPOTrainer
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from weighting import make_batch, peak_beside, peak_resident, seconds_of, settings, tagger_of, weigh
from workers import as_batch

from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format
from rest_verl.plugin import trainer as seam
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.reward.tool_reward import skipped_components
from rest_verl.rollout.calls import Call, read_calls
from rest_verl.rollout.record import GeneratedTurn, Record
from rest_verl.weighting.token_weighting import TokenWeighting

PRESET = "entropy_adaptive"
DIFFERENT = 64  # responses of a batch, which it repeats
REPEATED = 3_000_000  # tokens up to which a step is timed three times, and the median taken
TRUTH = '<think> a </think>\n<tool_call>\n{"name": "f", "parameters": {"city": "Paris", "days": 3}}\n</tool_call>'
CLOCKS = ("seconds", "cpu")  # wall-clock time, and CPU time of this process
Clocks = np.ndarray  # (2,) by CLOCKS
Watch = dict[str, list[Clocks]]  # times of each call, by name


def timed(watch: Watch, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the time of each call put into a watch."""

    def call(*args: Any, **kwargs: Any) -> Any:
        begin = np.array([time.perf_counter(), time.process_time()])
        try:
            return function(*args, **kwargs)
        finally:
            watch[name].append(np.array([time.perf_counter(), time.process_time()]) - begin)

    return call


@dataclass
class Driver:
    """A trainer as far as advantages and metrics need it, and one batch in the queue."""

    trainer: Any
    batch: Any
    fields: TensorDict

    def advantages(self) -> dict[str, Clocks]:
        """Compute advantages with ResT once; the time of each part."""
        watch, metrics = defaultdict[str, list[Clocks]](list), dict[str, Any]()
        self.trainer.timing_raw = {}
        self.trainer.global_steps += 1
        with watched(watch, self.trainer):
            timed(watch, "whole", run_phases)(self.trainer, self.batch, metrics)
        assert metrics["rest/tokens/name"] > 0
        write = watch.pop(WRITE)[-1]  # verl's own comes before
        found = {name: np.sum(times, axis=0) for name, times in watch.items()} | {WRITE: write}
        whole = found.pop("whole")
        return found | {PAD: whole - sum(found.values())}

    def verls_advantages(self) -> None:
        """Compute advantages as stock verl does, with nothing of ResT."""
        PPOTrainer._compute_advantage(self.trainer, self.batch, {})

    def verls_metrics(self) -> dict[str, Clocks]:
        """Compute the metrics that verl logs each step."""
        watch, timing = defaultdict[str, list[Clocks]](list), {"step": 1.0, "gen": 1.0}
        timed(watch, VERL_METRICS, self.trainer._compute_metrics)(self.batch, {}, timing, global_steps=1, epoch=0)
        return {VERL_METRICS: watch[VERL_METRICS][0]}

    def measured(self) -> dict[str, dict[str, float]]:
        """Everything; memory first, since what is taken once is kept, and a cold step should not be timed."""
        memory = {MEMORY_VERL: peak_beside(self.verls_advantages), MEMORY: peak_beside(self._once)}
        times = 3 if self.fields["responses"].values().numel() <= REPEATED else 1
        runs = [self.advantages() | self.verls_metrics() for _ in range(times)]
        parts = {part: np.median([run[part] for run in runs], axis=0) for part in runs[0]}
        return {
            **{clock: {part: float(both[at]) for part, both in parts.items()} for at, clock in enumerate(CLOCKS)},
            "bytes": memory,
        }

    def _once(self) -> None:
        self.advantages()


def fields_of(tokenizer: Any, size: Size) -> TensorDict:
    """What the queue holds of a batch when advantages are due, with all that agent loop and reward manager leave with
    a response of one turn and two calls."""
    rows, tokens = size
    few = simulated(tokenizer, DIFFERENT, tokens)
    batch = TensorDict(
        {
            name: torch.nested.as_nested_tensor([*value.unbind()] * (rows // DIFFERENT), layout=torch.jagged)
            for name, value in few.items()
            if isinstance(value, torch.Tensor)
        },
        batch_size=rows,
    )
    call = Call("functions.get_weather:0", "get_weather", {"city": "Paris", "days": 3}, result="Sunny.", seconds=0.1)
    left = Record(turns=[GeneratedTurn(0, 0, 1.0, [call, call])], ended_by="done").fields(
        [1] * tokens, with_table=True
    )
    counted = {f"rollout/{name}": number for name, number in left["rest_rollout"].items()}
    left["reward_extra_info"] = skipped_components() | counted
    for name, values in (
        ("uid", [f"prompt{row // 4}" for row in range(rows)]),
        ("extra_fields", [left] * rows),
        ("num_turns", [2] * rows),
    ):
        batch[name] = NonTensorStack.from_list(values)
    return batch


@contextmanager
def watched(watch: Watch, trainer: Any) -> Iterator[None]:
    """Time each part of ResT's and verl's work while the context lasts."""
    whole_read = seam.read_fields

    def read(batch: Any, fields: list[str], rows: Any = None) -> TensorDict:
        # with rows it is the recorder that reads, which has a time of its own
        return (whole_read if rows is not None else timed(watch, READ, whole_read))(batch, fields, rows)

    with ExitStack() as stack:
        stack.enter_context(patch.object(seam, "read_fields", read))
        for place, name, part in (
            (seam, "weight_metrics", METRICS),
            (seam, "reward_metrics", METRICS),
            (seam.TokenWeighting, "__call__", WEIGH),
            (seam.Recorder, "take", RECORDS),
            (PPOTrainer, "_compute_advantage", ADVANTAGES),
            (trainer, "_tagger", TAG),
            (tq, "kv_batch_put", WRITE),
        ):
            stack.enter_context(patch.object(place, name, timed(watch, part, getattr(place, name))))
        yield


def step_parts(sizes: list[Size], units: int) -> list[dict[str, Any]]:
    """Measure each size with a queue of some storage units: `seconds` of each part, how many of them are `cpu` time of
    the driver's process, and `bytes` that are taken for a while. For a process of its own (`scaling.apart`)."""
    torch.set_num_threads(1)
    tokenizer = qwen_tokenizer()
    with tempfile.TemporaryDirectory() as records:
        config = composed(PRESET, Path(records))
        config.transfer_queue.backend.SimpleStorage.num_data_storage_units = units
        ray.init(num_cpus=2 * units, include_dashboard=False, log_to_driver=False)
        tq.init(config.transfer_queue)
        trainer = trainer_of(config, tokenizer)
        trainer.use_critic, trainer._rollout_moe_lb_metrics_accumulator = False, None
        trainer.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 8)
        try:
            # the first one only makes connections
            return [_measured(trainer, tokenizer, size) for size in [(64, 256), *sizes]][1:]
        finally:
            trainer._shutdown_dump_executor()
            tq.close()
            ray.shutdown()


def _measured(trainer: Any, tokenizer: Any, size: Size) -> dict[str, Any]:
    fields = fields_of(tokenizer, size)
    keys = [f"prompt{row // 4}_{row % 4}_0" for row in range(len(fields))]
    tags = [{"min_global_steps": 1, "max_global_steps": 1} for _ in keys]
    batch = tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields, tags=tags)
    found = Driver(trainer, batch, fields).measured()
    tq.kv_clear(keys=keys, partition_id=PARTITION)
    return found


def arithmetic(sizes: Sequence[Size], memory: float) -> dict[str, Any]:
    """Time what the driver computes, in batches that it has at hand, with one thread.

    Args:
        sizes: in the order of their tokens.
        memory: bytes that all of this may take; sizes that would take more are left out.

    Returns:
        `sizes`: for each that fits its `size`, seconds of both sides, and bytes that each takes for a while; `peak`,
        the most bytes that the process had.
    """
    torch.set_num_threads(1)
    rest, found, each = settings(PRESET), list[dict[str, Any]](), 0.0
    for rows, tokens in sizes:
        if each * rows * tokens > memory:
            break
        few = make_batch(qwen_tokenizer(), "hermes", DIFFERENT, tokens, random.Random(0))
        responses = few.repeat(rows // DIFFERENT, 1)
        mask, entropy = torch.ones_like(responses), torch.rand(responses.shape)
        ours = partial(weigh, TokenWeighting(rest, total_steps=100), tagger_of("hermes"), responses, mask, entropy)
        verls = partial(advantages_and_metrics, mask)
        memories = {OWN_MEMORY: peak_beside(ours), VERLS_MEMORY: peak_beside(verls)}
        seconds = {OWN: seconds_of(ours, 1), VERLS: seconds_of(verls, 1)}
        found.append({"size": [rows, tokens], **seconds, **memories})
        # bytes a token: ids and mask of 8, entropy of 4, and the larger of what both sides add
        each = 20 + max(memories.values()) / (rows * tokens)
    return {"sizes": found, "peak": peak_resident("self")}


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
    """Seconds that workers take for a response, by its tokens: median of three rounds, with one thread."""
    torch.set_num_threads(1)
    config = OmegaConf.create({"reward": {"custom_reward_function": {"path": None}}, "rest": {"reward": "paper"}})
    manager, tagger = RestToolRewardManager(config, qwen_tokenizer()), tagger_of("rlla")
    pieces = TokenBytes.from_tokenizer(qwen_tokenizer()).pieces.to_pylist()
    found = []
    for length in lengths:
        ids = make_batch(qwen_tokenizer(), "rlla", responses, length, random.Random(0))
        rows, ones = ids.tolist(), torch.ones(1, length, dtype=torch.long)
        each: dict[str, Callable[[], Any]] = {
            SCORING: partial(_score, manager, [as_batch(row, TRUTH) for row in rows]),
            READING: partial(_for_all, partial(read_calls, get_format("rlla"), pieces), rows),
            TAGGING: partial(_for_all, partial(_tag, tagger, ones), ids),
        }
        found.append({"tokens": length} | {part: seconds_of(do, 3) / responses for part, do in each.items()})
    return found


def _score(manager: RestToolRewardManager, batches: list[DataProto]) -> None:
    async def score() -> None:
        for batch in batches:
            await manager.run_single(batch)

    asyncio.run(score())


def _tag(tagger: Any, mask: torch.Tensor, row: torch.Tensor) -> None:
    tagger(row[None], mask)


def _for_all(do: Callable[[Any], Any], rows: Any) -> None:
    for row in rows:
        do(row)

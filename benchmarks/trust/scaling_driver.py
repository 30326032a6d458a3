"""Seconds and memory of a step on the driver, part by part, in the trainer's own code and a real transfer queue.

The trainer's method runs as it is, and each of its parts is timed. What is left after all parts is padding.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
import torch
import transfer_queue as tq
from qwen import qwen_tokenizer
from scaling import (
    ADVANTAGES,
    MEMORY,
    MEMORY_VERL,
    METRICS,
    PAD,
    READ,
    RECORDS,
    TAG,
    VERL_METRICS,
    WEIGH,
    WRITE,
    Size,
)
from step import PARTITION, composed, simulated, trainer_of
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import PPOTrainer
from weighting import peak_beside

from rest_verl import trainer as seam
from rest_verl.reward.tool_reward import skipped_components
from rest_verl.rollout.calls import Call
from rest_verl.rollout.record import GeneratedTurn, Record

PRESET = "entropy_adaptive"
DIFFERENT = 64  # responses of a batch, which it repeats
REPEATED = 3_000_000  # tokens up to which a step is timed three times, and the median taken

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
            timed(watch, "whole", self.trainer._compute_advantage)(self.batch, metrics)
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
        memory = {MEMORY_VERL: peak_beside(self.verls_advantages), MEMORY: peak_beside(self.advantages)}
        times = 3 if self.fields["responses"].values().numel() <= REPEATED else 1
        runs = [self.advantages() | self.verls_metrics() for _ in range(times)]
        parts = {part: np.median([run[part] for run in runs], axis=0) for part in runs[0]}
        return {
            **{clock: {part: float(both[at]) for part, both in parts.items()} for at, clock in enumerate(CLOCKS)},
            "bytes": memory,
        }


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
    left = Record(turns=[GeneratedTurn(0, 0, 1.0, [call, call])], ended_by="done").fields([1] * tokens)
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
    whole_read = seam._read

    def read(batch: Any, fields: list[str], rows: Any = None) -> TensorDict:
        # with rows it is the recorder that reads, which has a time of its own
        return (whole_read if rows is not None else timed(watch, READ, whole_read))(batch, fields, rows)

    with ExitStack() as stack:
        stack.enter_context(patch.object(seam, "_read", read))
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

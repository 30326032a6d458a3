"""Seconds and memory of a step on the driver, part by part, in the trainer's own code and a real transfer queue.

The trainer's method runs as it is; a watch stands before each of its parts. What is left once all parts are taken off
is padding.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
import torch
import transfer_queue as tq
from overhead import peak_beside
from qwen import qwen_tokenizer
from step import PARTITION, composed, simulated, trainer_of
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import PPOTrainer

from rest_verl.plugin import trainer as seam
from rest_verl.reward.tool_reward import skipped_components
from rest_verl.rollout.calls import Call
from rest_verl.rollout.record import GeneratedTurn, Record
from trust.scaling_fit import Size
from trust.scaling_parts import (
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
)

PRESET = "entropy_adaptive"
DIFFERENT = 64  # responses of a batch, which it repeats
REPEATED = 3_000_000  # tokens up to which a step is timed three times, and the median taken

Clocks = np.ndarray  # (2,) seconds by CLOCKS: on the wall, and of this process's CPU time
CLOCKS = ("seconds", "cpu")


@dataclass
class Watch:
    """Seconds of each call, by name."""

    spent: dict[str, list[Clocks]] = field(default_factory=lambda: defaultdict(list))

    def on(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = now()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name].append(now() - begin)

        return timed


def now() -> Clocks:
    """The time by both clocks."""
    return np.array([time.perf_counter(), time.process_time()])


@dataclass
class Driver:
    """A trainer as far as advantages and metrics need it, and one batch in the queue."""

    trainer: Any
    batch: Any
    fields: TensorDict

    def advantages(self) -> dict[str, Clocks]:
        """Compute advantages with ResT once; the time of each part."""
        watch, metrics = Watch(), dict[str, Any]()
        self.trainer.timing_raw = {}
        self.trainer.global_steps += 1
        with watched(watch, self.trainer):
            watch.on("whole", self.trainer._compute_advantage)(self.batch, metrics)
        assert metrics["rest/tokens/name"] > 0
        spent = {name: np.sum(times, axis=0) for name, times in watch.spent.items()}
        found = {READ: spent["read"], TAG: spent["tag"], WEIGH: spent["weigh"], METRICS: spent["metrics"]}
        found[WRITE] = watch.spent["put"][-1]  # verl's own comes before
        beside = {RECORDS: spent["records"], ADVANTAGES: spent["verl"]}
        return found | beside | {PAD: spent["whole"] - sum(found.values()) - sum(beside.values())}

    def verls_advantages(self) -> None:
        """Compute advantages as stock verl does, with nothing of ResT."""
        PPOTrainer._compute_advantage(self.trainer, self.batch, {})

    def verls_metrics(self) -> dict[str, Clocks]:
        """Compute the metrics that verl logs each step."""
        watch = Watch()
        timing = {"step": 1.0, "gen": 1.0}
        watch.on(VERL_METRICS, self.trainer._compute_metrics)(self.batch, {}, timing, global_steps=1, epoch=0)
        return {VERL_METRICS: watch.spent[VERL_METRICS][0]}

    def measured(self) -> dict[str, dict[str, float]]:
        """Everything: memory first, for what is taken once is kept, and a step that starts cold counts for none."""
        memory = {MEMORY_VERL: peak_beside(self.verls_advantages), MEMORY: peak_beside(self._one)}
        times = 3 if self.fields["responses"].values().numel() <= REPEATED else 1
        runs = [self.advantages() | self.verls_metrics() for _ in range(times)]
        parts = {part: np.median([run[part] for run in runs], axis=0) for part in runs[0]}
        return {
            **{clock: {part: float(both[at]) for part, both in parts.items()} for at, clock in enumerate(CLOCKS)},
            "bytes": memory,
        }

    def _one(self) -> None:
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
    """Stand before each part of ResT while the context lasts."""
    whole_read = seam._read

    def read(batch: Any, fields: list[str], rows: Any = None) -> TensorDict:
        # with rows it is the recorder that reads, which has a time of its own
        return (whole_read if rows is not None else watch.on("read", whole_read))(batch, fields, rows)

    with ExitStack() as stack:
        for place, name, timed in (
            (seam, "_read", read),
            (seam, "weight_metrics", watch.on("metrics", seam.weight_metrics)),
            (seam, "reward_metrics", watch.on("metrics", seam.reward_metrics)),
            (seam.TokenWeighting, "__call__", watch.on("weigh", seam.TokenWeighting.__call__)),
            (seam.Recorder, "take", watch.on("records", seam.Recorder.take)),
            (PPOTrainer, "_compute_advantage", watch.on("verl", PPOTrainer._compute_advantage)),
            (trainer, "_tagger", watch.on("tag", trainer._tagger)),
            (tq, "kv_batch_put", watch.on("put", tq.kv_batch_put)),
        ):
            stack.enter_context(patch.object(place, name, timed))
        yield


@contextmanager
def drivers(units: int) -> Iterator[Callable[[Size], Any]]:
    """Ray and a transfer queue of so many storage units; give the function from a size to a `Driver`, a context that
    takes its batch out of the queue again."""
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

        @contextmanager
        def make(size: Size) -> Iterator[Driver]:
            fields = fields_of(tokenizer, size)
            keys = [f"prompt{row // 4}_{row % 4}_0" for row in range(len(fields))]
            tags = [{"min_global_steps": 1, "max_global_steps": 1} for _ in keys]
            batch = tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=fields, tags=tags)
            yield Driver(trainer, batch, fields)
            tq.kv_clear(keys=keys, partition_id=PARTITION)

        try:
            yield make
        finally:
            trainer._shutdown_dump_executor()
            tq.close()
            ray.shutdown()


def step_parts(sizes: list[Size], units: int) -> list[dict[str, Any]]:
    """Measure each size with a queue of so many storage units: `seconds` of each part, how many of them are `cpu` time
    of the driver's process, and `bytes` that are taken for a while. For a process of its own (`apart`)."""
    found = []
    with drivers(units) as make:
        with make((64, 256)) as driver:
            driver.measured()  # connections
        for size in sizes:
            with make(size) as driver:
                found.append(driver.measured())
    return found

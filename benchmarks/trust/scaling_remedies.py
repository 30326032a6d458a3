"""Two ways to take ResT's part off the driver's path, tried outside of the package on the trainer's own code.

- Tagging in the agent-loop workers: they write one byte a token, its region, beside the ids. The driver reads that in
  place of the ids, and tags nothing.
- Ahead of time: a thread of the driver reads ids and mask and tags them while the GPUs compute the old log-probs, for
  which the driver waits in any case; metrics are counted while the GPUs update the actor.

Each variant replaces what the trainer reads and calls; everything else of the step is as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import transfer_queue as tq
from step import PARTITION
from tensordict import TensorDict
from verl.trainer.ppo.v1 import PPOTrainer
from verl.workers.utils.padding import response_to_nested

from rest_verl.plugin import trainer as seam
from trust.scaling_driver import CLOCKS, Clocks, Driver, Watch, drivers
from trust.scaling_fit import Size
from trust.scaling_parts import AHEAD, AHEAD_METRICS, NOW, WORKERS

ROUNDS = 3
REGIONS = "rest_regions"


@contextmanager
def tagged_by_workers(driver: Driver) -> Iterator[None]:
    """The queue holds regions; the driver reads them in place of ids."""
    read = seam._read

    def read_regions(batch: Any, fields: list[str], rows: Any = None) -> TensorDict:
        data = read(batch, [REGIONS if field == "responses" else field for field in fields], rows)
        if REGIONS in data:
            data["responses"] = data.pop(REGIONS)
        return data

    with (
        patch.object(seam, "_read", read_regions),
        patch.object(driver.trainer, "_tagger", lambda responses, mask: responses),
    ):
        yield


@contextmanager
def ahead_of_time(driver: Driver, and_metrics: bool = False) -> Iterator[None]:
    """Ids, mask and regions are there when the step comes to its advantages; only the rest is read."""
    read = seam._read
    early = ["responses", "response_mask", "extra_fields"]
    there = read(driver.batch, early)
    padded = there.select("responses", "response_mask").to_padded_tensor()
    regions = driver.trainer._tagger(padded["responses"], padded["response_mask"])

    def read_late(batch: Any, fields: list[str], rows: Any = None) -> TensorDict:
        if "responses" not in fields:
            return read(batch, fields, rows)
        data = read(batch, [field for field in fields if field not in early], rows)
        return data.update(there)

    with ExitStack() as stack:
        stack.enter_context(patch.object(seam, "_read", read_late))
        stack.enter_context(patch.object(driver.trainer, "_tagger", lambda responses, mask: regions))
        for name in ("weight_metrics", "reward_metrics") if and_metrics else ():
            stack.enter_context(patch.object(seam, name, lambda *arguments: {}))
        yield


def remedies(sizes: list[Size], units: int) -> list[dict[str, Any]]:
    """What ResT adds to the trainer's method with each variant, by size: medians of `seconds` and of `cpu` time, the
    variants in turn. For a process of its own (`apart`)."""
    found = []
    with drivers(units) as make:
        for size in sizes:
            with make(size) as driver:
                _write_regions(driver)
                spent: dict[str, list[Clocks]] = {}
                for _ in range(ROUNDS):
                    for name, variant in VARIANTS.items():
                        spent.setdefault(name, []).append(_time(driver, variant(driver)))
            medians = {name: np.median(times, axis=0).tolist() for name, times in spent.items()}
            clocks = {clock: {name: both[at] for name, both in medians.items()} for at, clock in enumerate(CLOCKS)}
            found.append({"size": list(size), **clocks})
    return found


VARIANTS: dict[str, Callable[[Driver], AbstractContextManager[None]]] = {
    NOW: lambda driver: nullcontext(),
    WORKERS: tagged_by_workers,
    AHEAD: ahead_of_time,
    AHEAD_METRICS: lambda driver: ahead_of_time(driver, and_metrics=True),
}


def _time(driver: Driver, variant: AbstractContextManager[None]) -> Clocks:
    trainer, watch = driver.trainer, Watch()
    trainer.timing_raw = {}
    trainer.global_steps += 1
    verls = watch.on("verl", PPOTrainer._compute_advantage)
    with variant, patch.object(trainer, "_recorder", None), patch.object(PPOTrainer, "_compute_advantage", verls):
        watch.on("whole", trainer._compute_advantage)(driver.batch, {})
    return watch.spent["whole"][0] - watch.spent["verl"][0]


def _write_regions(driver: Driver) -> None:
    """Put into the queue what agent-loop workers would have written."""
    fields = driver.fields.select("responses", "response_mask")
    padded = fields.to_padded_tensor()
    regions = driver.trainer._tagger(padded["responses"], padded["response_mask"])
    nested = TensorDict({REGIONS: response_to_nested(regions, fields["response_mask"])}, batch_size=len(fields))
    tq.kv_batch_put(keys=driver.batch.keys, partition_id=PARTITION, fields=nested)

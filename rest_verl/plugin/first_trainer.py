"""verl's first trainer (`trainer.use_v1=False`) with ResT: its batches are `DataProto` in the driver.

It has no registry of trainers: verl's task runner takes the class from the name that `new_trainer` replaces here. Its
rollouts and its update are synchronous, so the modes of the V1 trainer have no meaning, and it cannot train on several
outputs of one trajectory (`rest.rollout.per_turn`).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from omegaconf import DictConfig
from verl import DataProto
from verl.trainer import main_ppo_v0
from verl.trainer.ppo.ray_trainer import RayPPOTrainer

from rest_verl.plugin.background import BackgroundCall
from rest_verl.plugin.batch_fields import ProtoFields
from rest_verl.plugin.rest_trainer import RestTrainer
from rest_verl.resilience.watched_first_trainer import WatchedFirstTrainer
from rest_verl.weighting.metrics import rename_actor_metrics
from rest_verl.weighting.step_batch import StepBatch


class StepInRows(RayPPOTrainer):
    """Tells each row the step at which it is dispatched, as verl's V1 trainers do: the reward's bounds move by it."""

    def _get_gen_batch(self, batch: DataProto) -> DataProto:
        rollouts = super()._get_gen_batch(batch)
        rollouts.non_tensor_batch["global_steps"] = np.full(len(rollouts), self.global_steps)
        return rollouts


class RestFirstTrainer(RestTrainer, WatchedFirstTrainer, StepInRows):
    """verl's first trainer with ResT."""

    def __init__(self, config: DictConfig, tokenizer: Any, **arguments: Any):
        self._adopt(config)
        self.stall_seconds = self._rest.stall_seconds
        super().__init__(config=config, tokenizer=tokenizer, **arguments)
        self._open_tagger()
        self._open_weighting()
        self._step_batch: StepBatch | None = None
        self._beside: dict[str, Any] = {}

    def _compute_old_log_prob(self, batch: DataProto) -> tuple[DataProto, float]:
        reading = BackgroundCall(partial(self._read, ProtoFields(batch, {}), self.global_steps))
        found, utilisation = super()._compute_old_log_prob(batch)
        self._beside = {"entropy": found.batch["entropys"]}  # verl drops it once it has logged its mean
        self._step_batch = reading.result()
        return found, utilisation

    def _update_actor(self, batch: DataProto) -> DataProto:
        began = time.perf_counter()
        fields = ProtoFields(batch, self._beside)
        # in bypass mode no old log-probs are computed
        step_batch, self._step_batch = self._step_batch or self._read(fields, self.global_steps), None
        fields.write(self._weigh(fields, step_batch))
        waited = time.perf_counter() - began
        reporting = BackgroundCall(partial(self._report, fields, step_batch))
        output = super()._update_actor(batch)
        metrics = output.meta_info["metrics"]
        rename_actor_metrics(metrics)
        began = time.perf_counter()
        metrics.update(reporting.result())
        metrics["timing_s/rest"] = waited + time.perf_counter() - began
        return output


def new_trainer(config: DictConfig, **arguments: Any) -> RayPPOTrainer:
    """The trainer of a run: with ResT if its estimator is `rest`."""
    kind = RestFirstTrainer if config.algorithm.adv_estimator == "rest" else StepInRows
    return kind(config=config, **arguments)


main_ppo_v0.RayPPOTrainer = new_trainer  # type: ignore[misc, assignment]

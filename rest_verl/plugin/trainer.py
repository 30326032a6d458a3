"""verl's V1 trainers with ResT (`rest_trainer`): their batches are in the transfer queue."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig, open_dict
from transfer_queue import KVBatchMeta
from verl.checkpoint_engine import CheckpointEngineManager
from verl.trainer.ppo.v1 import (
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)
from verl.utils.debug import marked_timer

from rest_verl.plugin.background import BackgroundCall
from rest_verl.plugin.batch_fields import QueueFields
from rest_verl.plugin.rest_trainer import RestTrainer
from rest_verl.resilience.liveness import Role
from rest_verl.resilience.watched_trainer import WatchedTrainer
from rest_verl.weighting.metrics import rename_actor_metrics


class RestTrainerMixin(RestTrainer, WatchedTrainer):
    """Mixin for a V1 trainer; list it first among the bases. `base_mode` is the trainer mode of that V1 trainer, whose
    name replaces ours before verl reads it."""

    base_mode: ClassVar[str]

    def __init__(self, config: DictConfig):
        self._adopt(config)
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.base_mode
        self.stall_seconds = self._rest.stall_seconds
        super().__init__(config)

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        self._open_tagger()

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        self._open_weighting()

    def _step_once(self, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> KVBatchMeta:
        batch = super()._step_once(metrics, timing_raw, sample_batch_size)
        with marked_timer("rest", self.timing_raw):
            # After all of verl's work in a step: during a critic's warm-up the actor is not updated.
            metrics.update(self._pending_report.result())
        del self._fields, self._pending_read, self._pending_report  # or the batch would stay until the next one
        return batch

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        self._fields = QueueFields(batch)
        self._pending_read = BackgroundCall(partial(self._read, self._fields, self.global_steps))
        # V is exact instead of bounded if the actor reports the sum of squared probabilities, which verl's trainer
        # never requests. Not in the update: nothing reads it there, and it costs another pass.
        batch.extra_info["calculate_sum_pi_squared"] = self.config.actor_rollout_ref.actor.calculate_sum_pi_squared
        with self._fields.overheard():
            batch = super()._compute_old_log_prob(batch, metrics)
        batch.extra_info.pop("calculate_sum_pi_squared", None)
        return batch

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        fields = self._fields
        with marked_timer("rest", self.timing_raw):
            # Before verl clears the mask of what it rejects: what was generated is read from that mask.
            step_batch = self._pending_read.result()
        written: list[str] = []

        def weigh() -> dict[str, torch.Tensor]:
            with marked_timer("rest", self.timing_raw):
                weighed = self._weigh(fields, step_batch)
            written.extend(weighed)
            return weighed

        with fields.overheard(weigh):
            fields.batch = super()._compute_advantage(batch, metrics)
        if not written:  # verl wrote its advantages unheard
            fields.write(weigh())
        self._pending_report = BackgroundCall(partial(self._report, fields, step_batch))
        return fields.batch

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        rename_actor_metrics(metrics)
        return batch


@register_trainer("rest_sync")
class RestTrainerSync(RestTrainerMixin, PPOTrainerSync):
    """verl's synchronous trainer with ResT."""

    base_mode = "sync"


@register_trainer("rest_colocate_async")
class RestTrainerColocateAsync(RestTrainerMixin, PPOTrainerColocateAsync):
    """verl's trainer with colocated asynchronous rollouts, with ResT."""

    base_mode = "colocate_async"


@register_trainer("rest_separate_async")
class RestTrainerSeparateAsync(RestTrainerMixin, PPOTrainerSeparateAsync):
    """verl's trainer with rollouts on separate GPUs, with ResT."""

    base_mode = "separate_async"

    def _servers(self) -> list[Role]:
        return [*super()._servers(), self._server_role("standalone inference server", self.standalone_server_manager)]

    def _checkpoint_managers(self) -> list[CheckpointEngineManager]:
        return [*super()._checkpoint_managers(), self.standalone_checkpoint_manager]

"""The one seam into verl's V1 trainer: token weights between the advantage and the actor update.

verl's trainer hands an advantage estimator no token ids, no entropy and no step, but all of them are in the transfer
queue. The mixin lets verl compute the base estimator's advantages with everything that it does for that estimator
(critic, multi-output grouping, rollout correction), then weights them, or writes the weights beside them for the loss.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.v1 import (
    PPOTrainer,
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)
from verl.utils.debug import marked_timer
from verl.workers.utils.padding import response_to_nested

from rest_verl.advantage import reshape_advantages
from rest_verl.core.regions import RegionTagger
from rest_verl.metrics import reward_metrics, weight_metrics
from rest_verl.start_up import check_run
from rest_verl.weighting import TokenWeighting


class RestTrainerMixin(PPOTrainer):
    """Put before a V1 trainer in the bases; `base_mode` is the trainer mode whose behaviour that trainer has.

    verl compares `trainer.v1.trainer_mode` and `algorithm.adv_estimator` with its own names in many places, so both
    are set to the base's before verl reads them.
    """

    base_mode: ClassVar[str]

    def __init__(self, config: DictConfig):
        rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.base_mode
            config.algorithm.adv_estimator = rest.base_estimator
        self._rest = rest
        self._weighting = TokenWeighting(rest)
        super().__init__(config)

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        # At start-up, before any worker: a tokenizer that cannot be read exactly must not fail an hour later.
        self._tagger = RegionTagger(self.tokenizer, self._rest.format)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        with marked_timer("rest", self.timing_raw):
            # Before verl's own part: its rejection sampling may clear the mask inside a turn and so cut it in two.
            data = _read(batch, ["responses", "response_mask"]).to_padded_tensor()
            regions = self._tagger(data["responses"], data["response_mask"])
        batch = super()._compute_advantage(batch, metrics)
        with marked_timer("rest", self.timing_raw):
            return self._write_weights(batch, regions, metrics)

    def _write_weights(self, batch: KVBatchMeta, regions: torch.Tensor, metrics: dict[str, Any]) -> KVBatchMeta:
        """Weight the advantages, or put the weights where the policy loss finds them."""
        field = "advantages" if self._rest.apply_in == "advantage" else "rollout_is_weights"
        nested = _read(batch, ["response_mask", "entropy", "extra_fields", field])
        extra_fields = nested.pop("extra_fields").tolist()
        data = nested.to_padded_tensor()
        mask = data["response_mask"]
        weights = self._weighting(regions, mask, self.global_steps)
        current = data.get(field, torch.ones_like(weights))
        written = response_to_nested(reshape_advantages(current, weights), nested["response_mask"])
        metrics.update(weight_metrics(regions, mask, weights, data.get("entropy")))
        metrics.update(self._weighting.metrics(self.global_steps))
        metrics.update(reward_metrics(extra_fields, mask))
        fields = TensorDict({field: written}, batch_size=len(batch))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)


def _read(batch: KVBatchMeta, fields: list[str]) -> TensorDict:
    """Fetch fields of a batch from the transfer queue; those that no stage wrote are left out."""
    return tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)


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
    """verl's trainer with rollouts on GPUs of their own, with ResT."""

    base_mode = "separate_async"

"""The one seam into verl's V1 trainer: token weights between the advantage and the actor update.

verl's trainer hands an advantage estimator no token ids, no entropy and no step, but all of them are in the transfer
queue. The mixin lets verl compute the base estimator's advantages with everything that it does for that estimator
(critic, multi-output grouping, rollout correction), then weights them, or writes the weights beside them for the loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.checkpoint_engine import CheckpointEngineManager
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.v1 import (
    PPOTrainer,
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.debug import marked_timer
from verl.workers.rollout.llm_server import LLMServerManager
from verl.workers.utils.padding import response_from_nested, response_to_nested

from rest_verl.common.logs import logger_of
from rest_verl.config.rest import ConfigError
from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.plugin.run_checks import check_run
from rest_verl.records.recorder import Recorder, StepTensors
from rest_verl.resilience.interrupt import interrupted
from rest_verl.resilience.liveness import Liveness, Role, actor_itself, vllm_engine
from rest_verl.resilience.resume import CheckpointError, check_found, unreadable
from rest_verl.resilience.watchdog import Guard, Watchdog, explained, watch
from rest_verl.weighting.advantage import reshape_advantages
from rest_verl.weighting.metrics import rename_actor_metrics, reward_metrics, weight_metrics
from rest_verl.weighting.token_weighting import TokenWeighting

STATE_FILE = "rest.json"  # in the folder of a checkpoint: what the weighting has measured so far

logger = logger_of(__name__)


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
        super().__init__(config)

    def _build_replay_buffer(self) -> ReplayBuffer:
        watchdog = Watchdog(Liveness(self._rollout_roles), self._rest.stall_seconds, self.config.data.train_batch_size)
        return watch(super()._build_replay_buffer(), watchdog)

    def init(self) -> None:
        # Once: of an actor that has died Ray knows no name.
        queue = _queue_roles()
        self._guard = Guard(Liveness(lambda: queue), Liveness(self._servers), self._rest.stall_seconds)
        with interrupted(self._guard.look):
            super().init()

    def _setup(self) -> None:
        super()._setup()
        for manager in self._checkpoint_managers():
            self._guard.of_transfers(manager)

    def fit(self, agent_loop_manager: AgentLoopManager) -> None:
        with interrupted(self._guard.look), explained(Liveness(self._roles)):
            super().fit(agent_loop_manager)

    def _roles(self) -> list[Role]:
        return [*self._rollout_roles(), Role("training worker", self.actor_rollout_wg.workers)]

    def _rollout_roles(self) -> list[Role]:
        """What trajectories do not arrive without."""
        return [
            Role("agent-loop worker", self.agent_loop_manager.agent_loop_workers),
            Role("reward worker", self.get_reward_handles() or []),
            *self._servers(),
        ]

    def _servers(self) -> list[Role]:
        return [self._server_role("inference server", self.llm_server_manager)]

    def _server_role(self, name: str, manager: LLMServerManager) -> Role:
        question = vllm_engine if self.config.actor_rollout_ref.rollout.name == "vllm" else actor_itself
        return Role(name, manager.server_handles, question)

    def _checkpoint_managers(self) -> list[CheckpointEngineManager]:
        """What takes weights to inference servers."""
        return [self.checkpoint_manager]

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        # At start-up, before any worker: a tokenizer that cannot be read exactly must not fail an hour later.
        self._tagger = RegionTagger(self.tokenizer, get_format(self._rest.format))

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        self._weighting = TokenWeighting(self._rest, self.total_training_steps)
        self._recorder = None
        if self._rest.dump_dir is not None:
            try:
                self._recorder = Recorder(self._rest, self.tokenizer, self.total_training_steps)
            except OSError as error:
                raise ConfigError(
                    f"rest.dump_dir={self._rest.dump_dir}: {error.strerror}: name a folder that the trainer's process "
                    "can write into"
                ) from error

    def _shutdown_dump_executor(self) -> None:
        super()._shutdown_dump_executor()
        if self._recorder is not None:
            self._recorder.close()

    def _save_checkpoint(self) -> None:
        # Before verl's part: the last thing that it writes is the file that declares the checkpoint whole.
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATE_FILE).write_text(json.dumps(self._weighting.state()))
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        trainer = self.config.trainer
        try:
            super()._load_checkpoint()
            if self.global_steps == 0:  # verl found no checkpoint
                if trainer.resume_mode == "auto":
                    check_found(Path(trainer.default_local_dir))
                return
            given = trainer.resume_from_path if trainer.resume_mode == "resume_path" else None
            state = Path(given or f"{trainer.default_local_dir}/global_step_{self.global_steps}") / STATE_FILE
            if state.exists():
                self._weighting.restore(json.loads(state.read_text()))
            else:
                logger.warning("%s is not there: averages of measured entropy start anew", state)
        except Exception as error:  # of the engine, of torch, of a file: what is wrong differs, what helps does not
            raise CheckpointError(unreadable(trainer, self.global_steps, error)) from error

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        # V is exact instead of bounded where the actor reports the sum of squared probabilities. verl's trainer asks
        # it to for no estimator of its own. Not in the update: there nobody reads it, and it costs another pass.
        batch.extra_info["calculate_sum_pi_squared"] = self.config.actor_rollout_ref.actor.calculate_sum_pi_squared
        batch = super()._compute_old_log_prob(batch, metrics)
        batch.extra_info.pop("calculate_sum_pi_squared", None)
        return batch

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        with marked_timer("rest", self.timing_raw):
            # Before verl's own part: its rejection sampling may clear the mask inside a turn and so cut it in two.
            seen = _read(batch, ["responses", "response_mask", "entropy", "sum_pi_squared", "extra_fields"])
            extra_fields = seen.pop("extra_fields").tolist()
            if "sum_pi_squared" in seen:  # as the actor wrote it: with the prompt
                seen["sum_pi_squared"] = response_from_nested(seen["sum_pi_squared"], seen["response_mask"])
            data = seen.to_padded_tensor()
            responses, generated = data.pop("responses"), data["response_mask"]
            regions = self._tagger(responses, generated)
        batch = super()._compute_advantage(batch, metrics)
        with marked_timer("rest", self.timing_raw):
            field, current = self._reread(batch, data)
            tagged = TaggedBatch(regions, data["response_mask"])
            weights = self._weighting(tagged, self.global_steps, data.get("entropy"), data.get("sum_pi_squared"))
            weighted = weights if current is None else reshape_advantages(current, weights)
            fields = TensorDict({field: response_to_nested(weighted, seen["response_mask"])}, batch_size=len(batch))
            metrics.update(weight_metrics(tagged, weights, data.get("entropy")))
            metrics.update(self._weighting.metrics(self.global_steps))
            metrics.update(reward_metrics(extra_fields, data["response_mask"]))
        if self._recorder is not None and self._recorder.wants(self.global_steps):
            # before the weights reach the queue: a record has the advantages without them
            with marked_timer("rest_dump", self.timing_raw):
                tensors = StepTensors(
                    lengths=seen["response_mask"].offsets().diff(),
                    responses=responses,
                    generated=generated,
                    trained=data["response_mask"],
                    regions=regions,
                    weights=weights,
                    entropy=data.get("entropy"),
                )
                self._recorder.take(
                    batch.keys, batch.tags, self.global_steps, tensors, extra_fields, partial(_read, batch)
                )
        with marked_timer("rest", self.timing_raw):
            return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        batch = super()._update_actor(batch, metrics)
        rename_actor_metrics(metrics)
        return batch

    def _reread(self, batch: KVBatchMeta, data: TensorDict) -> tuple[str, torch.Tensor | None]:
        """Take from the queue what verl may have written meanwhile: the mask goes into `data`; returned are the field
        that the weights go into and what is there already, (B, T) float or None."""
        correction: Any = self.config.algorithm.rollout_correction or {}
        in_advantage = self._rest.apply_in == "advantage"
        field = "advantages" if in_advantage else "rollout_is_weights"
        if in_advantage or correction.get("rollout_is") or correction.get("rollout_rs"):
            data.update(_read(batch, ["response_mask", field]).to_padded_tensor())
        return field, data.get(field)


def _queue_roles() -> list[Role]:
    """What an access to the transfer queue waits for: a controller without a limit, a storage unit three times 200 s.

    The units have no public name; a queue that keeps them elsewhere is watched without them.
    """
    controller = ray.get_actor("TransferQueueController", namespace="transfer_queue")
    storage = vars(tq.interface).get("_TQ_STORAGE") or {}
    units = storage.get("SimpleStorage", {}).values()
    return [Role("transfer queue's controller", [controller]), Role("transfer queue's storage unit", [*units])]


def _read(batch: KVBatchMeta, fields: list[str], rows: Sequence[int] | None = None) -> TensorDict:
    """Fetch fields of a batch, or of some of its rows, from the transfer queue; those that no stage wrote are left
    out."""
    keys = batch.keys if rows is None else [batch.keys[row] for row in rows]
    return tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)


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

    def _servers(self) -> list[Role]:
        return [*super()._servers(), self._server_role("server on its own GPUs", self.standalone_server_manager)]

    def _checkpoint_managers(self) -> list[CheckpointEngineManager]:
        return [*super()._checkpoint_managers(), self.standalone_checkpoint_manager]

"""What ResT adds to a trainer of verl, wherever that keeps its batches (`batch_fields`).

verl's trainers pass neither token ids nor entropy nor the step to an advantage estimator, but all of them are in the
batch. So verl computes the advantages of the base estimator with everything that it does for it (critic, multi-output
grouping, rollout correction), and ResT then multiplies the weights into them, or writes the weights next to them for
the loss. One `StepBatch` is filled in three phases:

1. read and tag, while the actor computes the old log-probs;
2. weigh, once the advantages are computed: the only phase that training waits for (`timing_s/rest`);
3. report metrics and records, while the actor is updated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.utils import need_critic

from rest_verl.config.rest import ConfigError, RestConfig, model_of
from rest_verl.core.malformed import MalformedTagger
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.formats import get_format
from rest_verl.plugin.batch_fields import BatchFields
from rest_verl.plugin.run_checks import check_run
from rest_verl.records.recorder import Recorder
from rest_verl.resilience.resume import CheckpointError, check_found, unreadable_message
from rest_verl.weighting.advantage import reshape_advantages
from rest_verl.weighting.components import Components
from rest_verl.weighting.credit import credit_advantages, credit_metrics, event_places, trajectories_of
from rest_verl.weighting.metrics import (
    group_metrics,
    not_finite_metrics,
    reward_metrics,
    trajectory_rows,
    weight_metrics,
)
from rest_verl.weighting.rows import rows_of
from rest_verl.weighting.saved_state import ChangedRunError, restore_state, save_state
from rest_verl.weighting.schemes import Need, get_scheme
from rest_verl.weighting.step_batch import RowKey, StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

# The fields of a batch in which verl writes what a scheme needs.
_FIELDS_OF: Mapping[Need, tuple[str, ...]] = {
    "entropy": ("entropy", "sum_pi_squared"),
    "old_log_prob": ("old_log_probs",),
    "rollout_log_prob": ("rollout_log_probs",),
    "advantages": ("advantages",),
    "rows": ("rm_scores",),
}

if TYPE_CHECKING:

    class Trainer:
        """What every trainer of verl has, as far as ResT reads or extends it."""

        config: DictConfig
        tokenizer: Any
        global_steps: int
        total_training_steps: int

        def _save_checkpoint(self) -> None: ...
        def _load_checkpoint(self) -> None: ...
        def _shutdown_dump_executor(self) -> None: ...
else:
    Trainer = object


class RestTrainer(Trainer):
    """Mixin for a trainer; list it first among the bases."""

    _malformed_tagger: MalformedTagger | None = None  # where the scheme needs it

    def _adopt(self, config: DictConfig) -> None:
        """Check a run's config and give verl the base estimator, before verl reads it: verl compares the estimator
        with its own names in many places. `gdpo` is ours, since not all of verl's trainers pass it its inputs."""
        self._rest: RestConfig = check_run(config, ADV_ESTIMATOR_REGISTRY)
        self._components = Components.of_run(config) if self._rest.base_estimator == "gdpo" else None
        with open_dict(config):
            config.algorithm.adv_estimator = "grpo" if self._components else self._rest.base_estimator

    def _open_tagger(self) -> None:
        """Before any worker starts: a tokenizer that cannot be read exactly must not fail an hour later."""
        wire_format, model = get_format(self._rest.format), model_of(self.config)
        self._tagger = TAGGERS[self._rest.weights_from](self.tokenizer, wire_format, model)
        if "malformed" in get_scheme(self._rest.scheme).needs:
            self._malformed_tagger = MalformedTagger(self.tokenizer, wire_format, model)

    def _open_weighting(self) -> None:
        """Once the number of steps is known."""
        self._weighting = TokenWeighting(self._rest, self.total_training_steps)
        self._recorder = None
        if self._rest.dump_dir is not None:
            try:
                self._recorder = Recorder(self._rest, self.tokenizer, self.total_training_steps)
            except OSError as error:
                raise ConfigError(
                    f"rest.dump_dir={self._rest.dump_dir}: {error.strerror}: set it to a folder that the trainer's "
                    "process can write to"
                ) from error

    def _shutdown_dump_executor(self) -> None:
        super()._shutdown_dump_executor()
        if self._recorder is not None:
            self._recorder.close()

    def _save_checkpoint(self) -> None:
        # Before verl's part: the last file that verl writes marks the checkpoint as complete.
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        save_state(folder, self._weighting, self.global_steps)
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
            folder = Path(given or f"{trainer.default_local_dir}/global_step_{self.global_steps}")
            restore_state(folder, self._weighting, self.global_steps, self._rest.resume_changed)
        except ChangedRunError:
            raise
        except Exception as error:  # from the engine, torch or a file: the causes differ, the remedy is the same
            parts = ("actor", "critic") if need_critic(self.config) else ("actor",)
            raise CheckpointError(unreadable_message(trainer, self.global_steps, error, parts)) from error

    def _read(self, fields: BatchFields, step: int) -> StepBatch:
        """Phase 1: read and tag the sampled tokens. Runs before verl computes advantages, because rejection sampling
        may clear the mask inside a turn and split it in two."""
        values = fields.read(["responses", "response_mask", "extra_fields"])
        extra_fields = values.pop("extra_fields").tolist()
        padded = values.to_padded_tensor()
        responses, generated = padded["responses"], padded["response_mask"]
        return StepBatch(
            step=step,
            tagged=TaggedBatch(self._tagger(responses, generated), generated),
            responses=responses,
            generated=generated,
            lengths=values["response_mask"].offsets().diff(),
            extra_fields=extra_fields,
            keys=[RowKey.parse(key) for key in fields.keys],
            malformed=None if self._malformed_tagger is None else self._malformed_tagger(responses, generated),
        )

    def _weigh(self, fields: BatchFields, step_batch: StepBatch) -> None:
        """Phase 2: compute the weights from the fields that verl has written since; write them where they act."""
        correction: Any = self.config.algorithm.rollout_correction or {}
        in_advantage = self._rest.apply_in == "advantage"
        channel = "advantages" if in_advantage else "rollout_is_weights"
        needs = self._weighting.needs
        names = [field for need, found in _FIELDS_OF.items() if need in needs for field in found]
        by_events = self._rest.credit != "trajectory"
        if by_events:
            names += ["response_mask", "rm_scores", "token_level_rewards"]
        if self._components or in_advantage or correction.get("rollout_is") or correction.get("rollout_rs"):
            names += ["response_mask", channel]
        values = fields.read(list(dict.fromkeys(names))).to_padded_tensor() if names else {}
        step_batch.entropy, step_batch.sum_pi_squared = values.get("entropy"), values.get("sum_pi_squared")
        step_batch.old_log_prob = values.get("old_log_probs")
        step_batch.rollout_log_prob = values.get("rollout_log_probs")
        if (mask := values.get("response_mask")) is not None:
            step_batch.tagged = TaggedBatch(step_batch.regions, mask)
        if "rows" in needs:
            scores = values["rm_scores"].sum(dim=-1).tolist()
            step_batch.rows = rows_of(step_batch.keys, scores, step_batch.extra_fields)
        written = {}
        if by_events:
            written["advantages"] = values["advantages"] = self._credit(fields, step_batch, values)
        elif self._components is not None:
            written["advantages"] = values["advantages"] = self._components.advantages(step_batch)
        if in_advantage or "advantages" in needs:
            step_batch.advantages = values["advantages"]
        weights, current = self._weighting(step_batch), values.get(channel)
        written[channel] = weights if current is None else reshape_advantages(current, weights)
        if step_batch.token_credit is not None:
            written[channel] = written[channel] + step_batch.token_credit
        fields.write(written)

    def _credit(self, fields: BatchFields, step_batch: StepBatch, values: Mapping[str, Any]) -> torch.Tensor:
        """Advantages by events instead of those of the base estimator, 0 for tokens that are not trained: (B, T)."""
        assert step_batch.generated is not None
        # With a KL penalty in the reward verl writes it token by token; the trajectory's total counts here.
        rewards = values.get("token_level_rewards", values["rm_scores"]).sum(dim=-1)
        groups = trajectories_of(fields.keys, step_batch.generated, rewards, step_batch.extra_fields)
        step_batch.credit = credit_metrics(groups)
        if self._recorder is not None and self._recorder.wants(step_batch.step):
            step_batch.events = event_places(groups, step_batch.generated)
        by_std = self._rest.base_estimator == "grpo" and self.config.algorithm.norm_adv_by_std_in_grpo
        return credit_advantages(groups, step_batch.generated, self._rest.credit_lambda, by_std).masked_fill(
            ~step_batch.tagged.generated, 0.0
        )

    def _report(self, fields: BatchFields, step_batch: StepBatch) -> dict[str, float]:
        """Phase 3: hand the records of a batch to the writer and return its metrics."""
        # In bypass mode verl writes no entropy. The mask always exists: a request for nothing else may fail.
        values = fields.read(["response_mask", "old_log_probs", "advantages", "entropy"]).to_padded_tensor()
        if step_batch.entropy is None:
            step_batch.entropy = values.get("entropy")
        measured = {
            "entropy": step_batch.entropy,
            "sum_pi_squared": step_batch.sum_pi_squared,
            "old_log_prob": values.get("old_log_probs"),
            "rollout_log_prob": step_batch.rollout_log_prob,
            # those in the batch may be weighted by now, and a weight of 0 hides what they were
            "advantage": values.get("advantages") if step_batch.advantages is None else step_batch.advantages,
        }
        metrics = weight_metrics(step_batch) | self._weighting.metrics(step_batch.step)
        metrics |= step_batch.credit
        metrics |= not_finite_metrics(
            step_batch.tagged, {name: found for name, found in measured.items() if found is not None}
        )
        rows = trajectory_rows(step_batch.keys, fields.tags)
        trajectories = [step_batch.extra_fields[row] for row in rows]
        metrics |= reward_metrics(trajectories)
        metrics |= group_metrics([step_batch.keys[row].uid for row in rows], trajectories)
        if self._recorder is not None and self._recorder.wants(step_batch.step):
            self._recorder.take(fields.keys, fields.tags, step_batch, fields.read)
        return metrics

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

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.utils import need_critic

from rest_verl.config.rest import ConfigError, RestConfig, model_of
from rest_verl.core.malformed import MalformedTagger
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.runs import Runs, flattened, padded
from rest_verl.core.states import TAGGERS
from rest_verl.formats import get_format
from rest_verl.plugin.batch_fields import BatchFields
from rest_verl.plugin.run_checks import check_run
from rest_verl.records.recorder import Recorder
from rest_verl.records.trackers import tracker_of
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
from rest_verl.weighting.rows import rows_of, runs_of
from rest_verl.weighting.saved_state import ChangedRunError, UnknownVersionError, restore_state, save_state
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

# What fields of numbers are called in metrics and records.
_MEASURED: Mapping[str, str] = {
    "entropy": "entropy",
    "sum_pi_squared": "sum_pi_squared",
    "old_log_probs": "old_log_prob",
    "rollout_log_probs": "rollout_log_prob",
    "advantages": "advantage",
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
                tracker = tracker_of(self._rest, self.config.trainer)
                self._recorder = Recorder(self._rest, self.tokenizer, self.total_training_steps, tracker)
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
        except (ChangedRunError, UnknownVersionError):
            raise
        except Exception as error:  # from the engine, torch or a file: the causes differ, the remedy is the same
            parts = ("actor", "critic") if need_critic(self.config) else ("actor",)
            raise CheckpointError(unreadable_message(trainer, self.global_steps, error, parts)) from error

    def _read(self, fields: BatchFields, step: int) -> StepBatch:
        """Phase 1: the regions of the sampled tokens, from the reward manager or, where it found none, tagged here.
        Runs before verl computes advantages, because rejection sampling may clear the mask inside a turn and split it
        in two."""
        extra_fields = fields.read(["extra_fields"]).pop("extra_fields").tolist()
        keys = [RowKey.parse(key) for key in fields.keys]
        runs = runs_of(keys, extra_fields, fields.lengths())
        malformed = None
        if runs is None or self._malformed_tagger is not None:
            values = fields.read(["responses", "response_mask"])
            lengths = values["response_mask"].offsets().diff()
            ids, generated = values["responses"].values(), values["response_mask"].values().bool()
            if runs is None:
                runs = Runs.of(self._tagger.tag(ids, generated, lengths), generated, lengths)
            if self._malformed_tagger is not None:
                malformed = padded(self._malformed_tagger.tag(ids, generated, lengths), lengths)
        return StepBatch(
            step=step,
            tagged=runs.tagged,
            runs=runs,
            trained=runs,
            extra_fields=extra_fields,
            keys=keys,
            malformed=malformed,
        )

    def _weigh(self, fields: BatchFields, step_batch: StepBatch) -> dict[str, torch.Tensor]:
        """Phase 2: compute the weights from the fields that verl has written since. Returns the fields in which they
        act, with the tokens of all responses in order."""
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
        values: Any = fields.read(list(dict.fromkeys(names))) if names else {}
        flat = {name: values[name].values() for name in names if name in values}
        step_batch.flat = {
            name: flat[field] for field, name in _MEASURED.items() if field in flat and field != "advantages"
        }
        runs = step_batch.runs
        assert runs is not None
        trained = step_batch.trained = runs.cut(flat["response_mask"]) if "response_mask" in flat else runs
        if "rows" in needs:
            scores = padded(flat["rm_scores"], runs.lengths).sum(dim=-1).tolist()
            step_batch.rows = rows_of(step_batch.keys, scores, step_batch.extra_fields)
        in_row: Callable[[torch.Tensor], torch.Tensor]  # of the weighting's places, to tokens that lie flat
        if self._weighting.by_region:
            step_batch.tagged, in_row = trained.tagged, trained.spread
            if "entropy" in needs:
                sums = trained.entropy_sums(flat["entropy"], flat.get("sum_pi_squared"))
                step_batch.entropy_sums, step_batch.variance_sums = sums
        else:
            _give_tokens(step_batch)
            in_row = partial(flattened, lengths=runs.lengths)
        written: dict[str, torch.Tensor] = {}
        if by_events:
            # With a KL penalty in the reward verl writes it token by token; the trajectory's total counts here.
            rewards = flat.get("token_level_rewards", flat["rm_scores"])
            flat["advantages"] = self._credit(fields, step_batch, padded(rewards, runs.lengths).sum(dim=-1))
            written["advantages"] = flat["advantages"]
        elif self._components is not None:
            flat["advantages"] = written["advantages"] = in_row(self._components.advantages(step_batch))
        if in_advantage or "advantages" in needs:
            step_batch.flat["advantage"] = flat["advantages"]
            if not self._weighting.by_region:
                step_batch.advantages = padded(flat["advantages"], runs.lengths)
        weights, current = in_row(self._weighting(step_batch)), flat.get(channel)
        step_batch.flat["weight"] = weights
        written[channel] = weights if current is None else reshape_advantages(current, weights)
        if step_batch.token_credit is not None:
            written[channel] = written[channel] + in_row(step_batch.token_credit)
        return written

    def _credit(self, fields: BatchFields, step_batch: StepBatch, rewards: torch.Tensor) -> torch.Tensor:
        """Advantages by events instead of those of the base estimator, 0 for tokens that are not trained: (N,) over
        the tokens of all responses."""
        runs, trained = step_batch.runs, step_batch.trained
        assert runs is not None and trained is not None
        generated = padded(runs.spread(runs.generated), runs.lengths)
        groups = trajectories_of(fields.keys, generated, rewards, step_batch.extra_fields)
        step_batch.credit = credit_metrics(groups)
        if self._recorder is not None and self._recorder.wants(step_batch.step):
            step_batch.events = event_places(groups, generated)
        by_std = self._rest.base_estimator == "grpo" and self.config.algorithm.norm_adv_by_std_in_grpo
        found = credit_advantages(groups, generated, self._rest.credit_lambda, by_std)
        return flattened(found, runs.lengths).masked_fill(~trained.spread(trained.generated), 0.0)

    def _report(self, fields: BatchFields, step_batch: StepBatch) -> dict[str, float]:
        """Phase 3: hand the records of a batch to the writer and return its metrics."""
        # In bypass mode verl writes no entropy. The mask always exists: a request for nothing else may fail.
        found = fields.read(["response_mask", "old_log_probs", "advantages", "entropy"])
        for field in ("old_log_probs", "advantages", "entropy"):
            if field in found:  # advantages may be weighted by now, and a weight of 0 hides what they were
                step_batch.flat.setdefault(_MEASURED[field], found[field].values())
        trained = step_batch.trained
        assert trained is not None
        if step_batch.entropy_sums is None and "entropy" in step_batch.flat:
            step_batch.entropy_sums = trained.sums(step_batch.flat["entropy"])
        metrics = weight_metrics(step_batch) | self._weighting.metrics(step_batch.step)
        metrics |= step_batch.credit
        measured = {name: values for name, values in step_batch.flat.items() if name != "weight"}
        metrics |= not_finite_metrics(trained, measured)
        rows = trajectory_rows(step_batch.keys, fields.tags)
        trajectories = [step_batch.extra_fields[row] for row in rows]
        metrics |= reward_metrics(trajectories)
        metrics |= group_metrics([step_batch.keys[row].uid for row in rows], trajectories)
        if self._recorder is not None and self._recorder.wants(step_batch.step):
            self._recorder.take(fields.keys, fields.tags, step_batch, fields.read)
        return metrics


def _give_tokens(step_batch: StepBatch) -> None:
    """Fill what a scheme reads token by token, padded, from what lies flat."""
    runs, trained = step_batch.runs, step_batch.trained
    assert runs is not None and trained is not None
    regions, mask, step_batch.generated = (
        padded(of.spread(values), runs.lengths)
        for of, values in ((runs, runs.regions), (trained, trained.generated), (runs, runs.generated))
    )
    step_batch.tagged = TaggedBatch(regions, mask)
    found = {name: padded(values, runs.lengths) for name, values in step_batch.flat.items()}
    step_batch.entropy, step_batch.sum_pi_squared = found.get("entropy"), found.get("sum_pi_squared")
    step_batch.old_log_prob, step_batch.rollout_log_prob = found.get("old_log_prob"), found.get("rollout_log_prob")

"""The run of stock verl in examples/cpu/real_model.py: its overrides, and what came of it.

Each run has a folder of its own, which is named for what decides it. The same run again resumes from its latest
checkpoint; one that is complete is not repeated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from rich.table import Table
from verl_run import Step, read_metrics, run_verl

from rest_verl.eval.statistics import Difference, Outcomes, paired_bootstrap

PROMPT_TOKENS, RESPONSE_TOKENS = 384, 160
RECIPE = [
    "+platform=cpu",
    f"data.max_prompt_length={PROMPT_TOKENS}",
    f"data.max_response_length={RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.n=4",
    f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "trainer.max_actor_ckpt_to_keep=1",
]
# An adapter needs a larger rate than a whole model.
WHOLE_RATE, ADAPTER_RATE = 1e-5, 1e-4
SAVES = 4  # checkpoints of a run, each of three times the model's size
RESAMPLES = 10_000


@dataclass(frozen=True)
class Training:
    """What decides a run, next to its starting model.

    Attributes:
        preset: as in +rest=PRESET.
        steps: training steps.
        rows: questions of a step.
        rate: learning rate, None for the default of a whole model or of an adapter.
        lora: rank of an adapter, 0 to train all weights.
    """

    preset: str
    steps: int
    rows: int
    rate: float | None = None
    lora: int = 0

    @property
    def learning_rate(self) -> float:
        """The rate that is trained at."""
        return self.rate or (ADAPTER_RATE if self.lora else WHOLE_RATE)

    def folder(self, out: Path, started: Path) -> Path:
        """The run's own folder."""
        adapter = f"-lora{self.lora}" if self.lora else ""
        return out / f"{started.name}-{self.preset}-{self.steps}x{self.rows}-{self.learning_rate:g}{adapter}"


def train(training: Training, format: str, started: Path, out: Path, progress: Progress, timeout: float) -> list[Step]:
    """Train a model with stock verl, unless that was done; return the metrics of its steps, step 0 the validation
    before training.

    Raises:
        RunFailed: verl failed or ran out of time.
    """
    folder = training.folder(out, started)
    kept = folder / "steps.json"
    before = [Step(**one) for one in json.loads(kept.read_text())] if kept.exists() else []
    if before and before[-1].step == training.steps:
        return before
    overrides = [f"rest.format={format}", *RECIPE, *settings_of(training, out, started)]
    try:
        run_verl(overrides, folder / "verl", training.steps, progress, timeout)
    finally:  # a run that resumes begins its metrics again
        merged = merge([*before, *read_metrics(folder / "verl" / "metrics.jsonl")])
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([vars(one) for one in merged]) + "\n")
    return merged


def merge(steps: list[Step]) -> list[Step]:
    """The metrics of each step, in order: of two records of a step the later one, where they have the same key."""
    found: dict[int, dict[str, float]] = {}
    for one in steps:
        found[one.step] = {**found.get(one.step, {}), **one.metrics}
    return [Step(step, metrics) for step, metrics in sorted(found.items())]


def settings_of(training: Training, out: Path, started: Path) -> list[str]:
    """Overrides for the run's files, and for what is trained of the model."""
    folder = training.folder(out, started).resolve()
    return [
        f"+rest={training.preset}",
        f"data.train_files={(out / 'train.parquet').resolve()}",
        f"data.val_files={(out / 'validation.parquet').resolve()}",
        f"data.train_batch_size={training.rows}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={training.rows}",
        f"actor_rollout_ref.model.path={started.resolve()}",
        f"actor_rollout_ref.actor.optim.lr={training.learning_rate}",
        # The first steps of Adam are as long as its rate allows, whatever they rest on.
        f"actor_rollout_ref.actor.optim.lr_warmup_steps={training.steps // 4}",
        f"trainer.test_freq={training.steps}",
        f"trainer.save_freq={max(training.steps // SAVES, 1)}",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"trainer.validation_data_dir={folder / 'validation'}",
        # grpo has neither regions nor weights to record
        *([] if training.preset == "grpo" else [f"rest.dump_dir={folder / 'records'}"]),
        *adapter(training.lora),
    ]


def adapter(rank: int) -> list[str]:
    """Overrides for a LoRA adapter, the only weights that vLLM gets; none for rank 0."""
    if rank == 0:
        return []
    return [
        f"actor_rollout_ref.model.lora_rank={rank}",
        f"actor_rollout_ref.model.lora_alpha={2 * rank}",
        # vLLM loads the base model from its files.
        "actor_rollout_ref.rollout.load_format=safetensors",
    ]


def differences(before: Path, after: Path) -> dict[str, Difference]:
    """How many more of the same questions are right, by category and in all, from two of verl's files of validation
    answers."""
    first, second = outcomes(before), outcomes(after)
    sizes = {category: len(one.ids) for category, one in first.items()}
    scores: dict[str, dict[str, float]] = {category: {category: 1.0} for category in sizes}
    scores["all"] = {category: size / sum(sizes.values()) for category, size in sizes.items()}
    return paired_bootstrap([first], [second], scores, RESAMPLES, seed=0)


def outcomes(answers: Path) -> dict[str, Outcomes]:
    """Right and wrong answers by BFCL's category; verl names a question by its prompt."""
    right: dict[str, dict[str, float]] = {}
    for line in answers.read_text().splitlines():
        answer: dict[str, Any] = json.loads(line)
        category = json.loads(answer["gts"])["category"]
        right.setdefault(category, {})[answer["input"] + answer["gts"]] = float(answer["acc"])
    return {
        category: Outcomes(tuple(sorted(one)), np.array([[one[key]] for key in sorted(one)]))
        for category, one in right.items()
    }


def table_of_validation(found: dict[str, Difference]) -> Table:
    """The shares of right answers before and after, and their difference with its interval."""
    table = Table("unseen questions", "before", "after", "difference", "95 %", title="right, in verl")
    for name, one in found.items():
        interval = f"{one.low:+.3f} to {one.high:+.3f}"
        table.add_row(name, f"{one.base:.3f}", f"{one.other:.3f}", f"{one.mean:+.3f}", interval)
    return table


def table_of_steps(run: list[Step]) -> Table:
    """The metrics of each training step."""
    keys = {
        "reward": "critic/score/mean",
        "legal": "rest/reward/legal",
        "response tokens": "response_length/mean",
        "gradient norm": "actor/grad_norm",
        "engine and actor": "training/rollout_probs_diff_mean",
        "seconds": "timing_s/step",
    }
    table = Table("step", *keys)
    for step in run:
        if step.step > 0:
            shown = (f"{step.metrics[key]:.4g}" if key in step.metrics else "" for key in keys.values())
            table.add_row(str(step.step), *shown)
    return table

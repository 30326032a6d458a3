"""A run of the learning study through stock verl: the same task, start, variant and size as in process (`loop.py`)."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress
from verl_run import Step, run_verl

from evidence.loop import Plan, Validation
from evidence.start import Start
from evidence.task import SOURCE, UNSEEN_SOURCE
from evidence.variants import Variant, overrides

MAX_PROMPT = 160
TIMEOUT_SECONDS = 1800.0


def verl_overrides(variant: Variant, start: Start, plan: Plan, seed: int) -> list[str]:
    """Hydra overrides of verl's main for a run of the study: one update with the whole batch in each step."""
    length = MAX_PROMPT + plan.max_tokens
    return [
        *overrides(variant, plan.steps),
        "+platform=cpu",
        f"data.train_files={start.folder / 'train.parquet'}",
        f"data.val_files={start.folder / 'validation.parquet'}",
        f"data.train_batch_size={plan.prompts}",
        f"data.max_prompt_length={MAX_PROMPT}",
        f"data.max_response_length={plan.max_tokens}",
        f"data.seed={seed}",
        f"actor_rollout_ref.model.path={start.folder / 'model'}",
        f"actor_rollout_ref.rollout.n={plan.n}",
        f"actor_rollout_ref.rollout.seed={seed}",
        f"actor_rollout_ref.rollout.max_model_len={length}",
        "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
        "actor_rollout_ref.rollout.max_num_seqs=256",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=64",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={plan.prompts}",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64",
        f"actor_rollout_ref.actor.optim.lr={plan.learning_rate}",
        f"trainer.test_freq={plan.validate_every}",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
    ]


def train_through_verl(
    variant: Variant, start: Start, plan: Plan, seed: int, out: Path, progress: Progress
) -> list[Validation]:
    """Train the starting model in stock verl; the validations, as `loop.train` returns them. Raises `RunFailed`."""
    steps = run_verl(verl_overrides(variant, start, plan, seed), out, plan.steps, progress, TIMEOUT_SECONDS)
    return [read_validation(step) for step in steps if f"val-core/{SOURCE}/acc/mean@1" in step.metrics]


def read_validation(step: Step) -> Validation:
    """A validation as verl logged it; there are as many unseen rows as seen ones."""
    seen, unseen = (step.metrics[f"val-core/{source}/acc/mean@1"] for source in (SOURCE, UNSEEN_SOURCE))
    return Validation(step.step, (seen + unseen) / 2, unseen)

"""The runs of stock verl that studies compare or disturb: the quickstart's task and starting model, few tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import toy_task
import typer
from omegaconf import OmegaConf
from rich.progress import Progress
from safetensors.torch import load_file
from transformers.utils.logging import disable_progress_bar
from verl_run import Step, run_verl

T = TypeVar("T")
BENCHMARKS = Path(__file__).resolve().parents[1]
IN_VERL = BENCHMARKS / "trust" / "in_verl.py"
REPORT = "REST_VERL_TRUST_REPORT"  # variable of trust.in_verl.compute_score: a file's path
# Where verl's processes find trust.in_verl and trust.disturbances, and what these import.
WORKERS_PATH = os.pathsep.join([str(BENCHMARKS), str(Path(toy_task.__file__).resolve().parent)])
WORKERS = [f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH='{WORKERS_PATH}'"]
CHECKPOINTS = "checkpoints"
POINTER = "latest_checkpointed_iteration.txt"  # verl's, written last of a checkpoint
RECIPE = [
    "+platform=cpu",
    "data.train_batch_size=8",
    "data.max_prompt_length=96",
    "data.max_response_length=96",
    "data.seed=0",
    "actor_rollout_ref.rollout.n=4",
    "actor_rollout_ref.rollout.max_model_len=256",
    "actor_rollout_ref.rollout.max_num_batched_tokens=2048",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.actor.optim.lr=1e-3",
    "trainer.val_before_train=False",
    "trainer.test_freq=-1",
]


def of_start(start: Path, train: str = "train.parquet") -> list[str]:
    """Overrides that name the task and the model of a starting folder, such as `quickstart.prepare_start` makes."""
    return [
        f"data.train_files={start / train}",
        f"data.val_files={start / 'validation.parquet'}",
        f"actor_rollout_ref.model.path={start / 'model'}",
    ]


def agent_loop(folder: Path, loop: str, **settings: str) -> list[str]:
    """Overrides for an agent loop of trust.in_verl; the file that registers it goes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    loops = folder / "agent_loops.yaml"
    loops.write_text(OmegaConf.to_yaml([{"name": "trust", "_target_": f"trust.in_verl.{loop}", **settings}]))
    return [
        "actor_rollout_ref.rollout.agent.default_agent_loop=trust",
        f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops.resolve()}",
    ]


def seeded_rollouts(folder: Path) -> list[str]:
    """Overrides for rollouts that two runs have in common (trust/in_verl.py); their agent loop is registered in
    `folder`."""
    return [
        *agent_loop(folder, "SeededAgentLoop"),
        f"trainer.v1.sampler.custom_sampler.path={IN_VERL}",
        "trainer.v1.sampler.custom_sampler.name=OrderedReplayBuffer",
        "actor_rollout_ref.rollout.max_num_seqs=1",
        "actor_rollout_ref.rollout.enable_prefix_caching=False",
        *WORKERS,
    ]


def train(overrides: list[str], folder: Path, steps: int, progress: Progress, seconds: float) -> list[Step]:
    """Run verl up to a step as `verl_run.run_verl` does, and take its bars off the progress afterwards: those of many
    runs would fill the terminal."""
    disable_progress_bar()  # transformers' own bars would tear ours
    before = set(progress.task_ids)
    try:
        return run_verl(overrides, folder, steps, progress, seconds)
    finally:
        for task in set(progress.task_ids) - before:
            progress.remove_task(task)


def newest_step(folder: Path) -> int:
    """Step of the newest whole checkpoint below a run's folder; 0 where there is none."""
    pointer = folder / CHECKPOINTS / POINTER
    return int(pointer.read_text()) if pointer.exists() else 0


def parameters(model: Path) -> torch.Tensor:
    """All parameters of a saved model in one row, by name: (P,) float32."""
    tensors = {name: value for file in sorted(model.glob("*.safetensors")) for name, value in load_file(file).items()}
    return torch.cat([tensors[name].float().flatten() for name in sorted(tensors)])


def trained_model(folder: Path, step: int) -> Path:
    """Where a run with `save_contents=[hf_model]` left the model of a step."""
    return folder / CHECKPOINTS / f"global_step_{step}" / "actor" / "huggingface"


def with_texts(texts: str, items: Sequence[T], name: Callable[[T], str]) -> list[T]:
    """The items with one of the texts, separated by commas, in their name; all for no text. `typer.BadParameter` where
    that is none."""
    wanted = [text.strip() for text in texts.split(",") if text.strip()]
    found = [one for one in items if not wanted or any(text in name(one) for text in wanted)]
    if not found:
        raise typer.BadParameter(f"nothing has {texts!r} in its name: there are {'; '.join(map(name, items))}")
    return found

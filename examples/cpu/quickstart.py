"""ResT in stock verl on a CPU, from scratch to a chart in minutes.

1. Generate a small tool-use task (toy_task.py).
2. Train a tokenizer, and a model of under a million parameters that imitates an unreliable teacher until it half knows
   the task (tiny_model.py).
3. Train the model with stock verl (V1 trainer, Ray, FSDP2, vLLM) and `+rest=entropy_adaptive +platform=cpu`, or
   another preset.
4. Show the result in a table, a chart and summary.json.

Every part of the chain is the real one, but the model is a toy: the numbers show that learning works, not how well
ResT does on language models.

    bash examples/quickstart_cpu.sh
    bash examples/quickstart_cpu.sh --preset grpo --seed 1 --out runs/grpo-1
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import tiny_model
import toy_task
import typer
from progress import stages
from report import Summary, read_summary, summarise, table, write_summary
from rich.console import Console
from rich.progress import Progress
from transformers.utils.logging import disable_progress_bar
from verl_run import QUICK_POLLS, RunFailed, run_verl

from rest_verl.commands.plot.draw import draw_runs
from rest_verl.commands.plot.runs import read_log
from rest_verl.common.names import unknown_name
from rest_verl.config.rest import preset_names

SOURCE = "toy_tools"
VOCABULARY = 480
IMITATION_STEPS = 1100
TIMEOUT_SECONDS = 1800.0
CHECKPOINTS, RECORDS = "verl/checkpoints", "records"
RECIPE = [
    "+platform=cpu",
    "data.train_batch_size=32",
    "data.max_prompt_length=96",
    "data.max_response_length=128",
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.rollout.max_model_len=256",
    "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
    "actor_rollout_ref.rollout.max_num_seqs=256",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=64",
    "actor_rollout_ref.actor.ppo_mini_batch_size=32",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=64",
    "actor_rollout_ref.actor.optim.lr=5e-4",
    "trainer.resume_mode=disable",
    *QUICK_POLLS,
]

console = Console()


PRESETS = preset_names()


def known_preset(preset: str) -> str:
    """Return the preset's name if it exists."""
    if preset not in PRESETS:
        raise typer.BadParameter(unknown_name("preset", preset, PRESETS))
    return preset


def main(
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 15,
    seed: Annotated[int, typer.Option(help="Seed of the task, the starting model and the rollouts.")] = 0,
    preset: Annotated[
        str, typer.Option(callback=known_preset, help=f"Preset to train with: {', '.join(PRESETS)}.")
    ] = "entropy_adaptive",
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/quickstart"),
) -> None:
    """Train a tiny model on a small tool-use task with ResT in stock verl."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = {"preset": preset, "seed": seed, "steps": steps}
    if (done := read_summary(out / "summary.json")) and {key: getattr(done, key) for key in wanted} == wanted:
        console.print(f"{out} already holds this run; give another --out to repeat it.", soft_wrap=True)
        show(done, out)
        return
    try:
        with stages(console) as progress:
            start = prepare_start(out, seed, progress)
            overrides = [
                f"+rest={preset}",
                *RECIPE,
                f"data.train_files={start / 'train.parquet'}",
                f"data.val_files={start / 'validation.parquet'}",
                f"data.seed={seed}",
                f"actor_rollout_ref.model.path={start / 'model'}",
                f"actor_rollout_ref.rollout.seed={seed}",
                f"trainer.test_freq={max(steps // 3, 1)}",
                f"trainer.save_freq={steps}",
                f"trainer.default_local_dir={(out / CHECKPOINTS).resolve()}",
            ]
            if preset != "grpo":  # grpo has neither regions nor weights to record
                overrides.append(f"rest.dump_dir={(out / RECORDS).resolve()}")
            run = run_verl(overrides, out / "verl", steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        console.print(str(failure), style="red", markup=False)  # brackets in a log are not markup
        raise typer.Exit(1) from None
    summary = summarise(run, SOURCE, preset, seed)
    draw_runs({preset: [read_log(out / "verl" / "metrics.jsonl")]}, out / "training")
    write_summary(summary, out / "summary.json")
    show(summary, out)


def prepare_start(out: Path, seed: int, progress: Progress) -> Path:
    """Make the task and the starting model, or reuse those of an earlier run with the same seed.

    A run that is killed meanwhile continues here with the last saved state.
    """
    start = (out / f"start-seed{seed}").resolve()
    finished = start / "finished.json"
    bar = progress.add_task("task and starting model", total=IMITATION_STEPS)
    if finished.exists():
        progress.update(bar, completed=IMITATION_STEPS, description="task and starting model: reused")
        return start
    task = toy_task.make_task(seed)
    toy_task.write_parquet(task, start)
    texts = [part for messages, response in task.demonstrations for part in (messages[-1]["content"], response)]
    tokenizer = tiny_model.train_tokenizer(texts, VOCABULARY)
    model = tiny_model.new_model(tokenizer, seed=seed)

    def advance(step: int, _steps: int, loss: float) -> None:
        progress.update(bar, completed=step, description=f"imitating an unreliable teacher: {loss:.3f}")

    losses = tiny_model.train_model(
        model,
        tokenizer,
        task.demonstrations,
        steps=IMITATION_STEPS,
        seed=seed,
        saved=start / "imitation.pt",
        on_progress=advance,
    )
    tiny_model.save(model, tokenizer, start / "model")
    finished.write_text(json.dumps({"seed": seed, "final_loss": losses[-1]}) + "\n")
    (start / "imitation.pt").unlink(missing_ok=True)
    return start


def show(summary: Summary, out: Path) -> None:
    """Print the results and where to find more, of what is there."""
    console.print(table(summary))
    command = (
        "rest-verl" if shutil.which("rest-verl") else os.path.relpath(Path(sys.executable).with_name("rest-verl"))
    )
    for path, hint in (
        (out / "training.png", f"picture: {out / 'training.png'}"),
        (out / "summary.json", f"table: {out / 'summary.json'}"),
        (out / RECORDS, f"to inspect every token: {command} inspect {out / RECORDS}"),
        (out / CHECKPOINTS, f"to serve the model: {command} export {out / CHECKPOINTS} --out {out / 'model'}"),
    ):
        if path.exists():
            console.print(hint, soft_wrap=True)


if __name__ == "__main__":
    disable_progress_bar()  # transformers' own bars would break ours
    typer.run(main)

"""ResT in stock verl on a CPU, on real questions: BFCL's, or a ToolRL parquet.

The rows are the real ones, in verl's parquet layout, but the model is tiny: it is trained from scratch for minutes on
the training rows' own right answers, so that it writes the format and sometimes a right name. Rows with prompts too
long for a laptop are left out. This shows that data, reward and validation work on users' training data; the scores of
such a model mean nothing.

    bash examples/train_bfcl_cpu.sh
    bash examples/train_bfcl_cpu.sh --categories simple_python,multiple --steps 5
    bash examples/train_bfcl_cpu.sh --data path/to/toolrl.parquet
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tiny_model
import typer
from progress import stages
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from right_answers import right_answer
from transformers.utils.logging import disable_progress_bar
from verl_run import QUICK_POLLS, RunFailed, Step, run_verl

from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.common.console import comma_list
from rest_verl.data.data_set import split_by_hash, write_parquet
from rest_verl.data.rlla import read_rlla

Row = dict[str, Any]

CATEGORIES = ("simple_python", "multiple", "parallel", "irrelevance")
VOCABULARY = 4096
PROMPT_TOKENS, RESPONSE_TOKENS = 1024, 192
TRAINING_ROWS, VALIDATION_ROWS = 400, 64
IMITATION_STEPS = 300
TIMEOUT_SECONDS = 1800.0
RECIPE = [
    "+rest=paper",
    "+platform=cpu",
    "data.train_batch_size=8",
    f"data.max_prompt_length={PROMPT_TOKENS}",
    f"data.max_response_length={RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.n=4",
    f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.actor.optim.lr=1e-4",
    "trainer.save_freq=-1",
    "trainer.resume_mode=disable",
    *QUICK_POLLS,
]

console = Console()


def main(
    data: Annotated[Path | None, typer.Option(help="ToolRL parquet file to train on instead of BFCL.")] = None,
    categories: Annotated[str | None, typer.Option(help="BFCL categories, separated by commas; default: all.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/real-data"),
) -> None:
    """Train a tiny model on real tool-use questions with ResT in stock verl."""
    rows = read_rlla(data) if data else bfcl_rows(comma_list(categories) if categories else CATEGORIES)
    console.print(f"{len(rows)} rows read")
    try:
        with stages(console) as progress:
            prepare(rows, out.resolve(), progress)
            overrides = [
                *RECIPE,
                f"data.train_files={(out / 'train.parquet').resolve()}",
                f"data.val_files={(out / 'validation.parquet').resolve()}",
                f"actor_rollout_ref.model.path={(out / 'model').resolve()}",
                f"trainer.test_freq={steps}",
            ]
            run = run_verl(overrides, out / "verl", steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        console.print(str(failure), style="red", markup=False)  # brackets in a log are not markup
        raise typer.Exit(1) from None
    show(run)


def prepare(rows: list[Row], out: Path, progress: Progress) -> None:
    """Write train.parquet, validation.parquet and the starting model into `out`."""
    bar = progress.add_task("tokenizer, rows", total=IMITATION_STEPS)
    texts = [message["content"] for row in rows for message in row["prompt"]]
    tokenizer = tiny_model.train_tokenizer(texts + [right_answer(row) for row in rows], VOCABULARY)
    short = [row for row in rows if fits(row, tokenizer)]
    training, validation = split_by_hash(short, validation_share=0.2)
    write_parquet(training[:TRAINING_ROWS], out / "train.parquet")
    # every n-th row, so that each category keeps its share
    write_parquet(validation[:: max(1, len(validation) // VALIDATION_ROWS)], out / "validation.parquet")
    model = tiny_model.new_model(tokenizer, max_positions=PROMPT_TOKENS + RESPONSE_TOKENS)
    tiny_model.train_model(
        model,
        tokenizer,
        [(row["prompt"], right_answer(row)) for row in training],
        steps=IMITATION_STEPS,
        batch_size=16,
        on_progress=lambda step, _, loss: progress.update(
            bar, completed=step, description=f"learning the format: {loss:.2f}"
        ),
    )
    tiny_model.save(model, tokenizer, out / "model")


def fits(row: Row, tokenizer: Any) -> bool:
    """Whether prompt and right answer are within the run's limits."""
    prompt, response = tiny_model.encode(tokenizer, (row["prompt"], right_answer(row)))
    return len(prompt) <= PROMPT_TOKENS and len(response) <= RESPONSE_TOKENS


def show(run: list[Step]) -> None:
    """Print the validation metrics before and after training, and those of each step."""
    first, last = run[0].metrics, run[-1].metrics
    metrics = Table("validation metric", "before", "after")
    for key in sorted(first):
        if key.startswith("val-core/"):
            metrics.add_row(key, f"{first[key]:.4f}", f"{last[key]:.4f}")
    console.print(metrics)
    steps = Table("step", "reward", "legal", "name", "tokens weighted", "gradient norm", "seconds")
    for step in run[1:]:
        logged = step.metrics
        keys = ("critic/score/mean", "rest/reward/legal", "rest/reward/name", "rest/weight_ess", "actor/grad_norm")
        steps.add_row(str(step.step), *(f"{logged[key]:.3f}" for key in keys), f"{logged['timing_s/step']:.1f}")
    console.print(steps)


if __name__ == "__main__":
    disable_progress_bar()  # transformers' own bars would break ours
    typer.run(main)

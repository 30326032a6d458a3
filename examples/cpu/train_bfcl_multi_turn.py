"""ResT in stock verl on a CPU, on BFCL's multi-turn questions: stateful tools, several user turns.

Questions, tools, state and verdicts are the real ones, but the model is tiny: it imitates a few of the right answers
for two minutes, so that it writes calls. Only the questions with the shortest prompts are used, of 2,300 tokens. This
shows that rollouts, environment, reward and validation work; the scores of such a model mean nothing more.

    bash examples/train_bfcl_multi_turn_cpu.sh
    bash examples/train_bfcl_multi_turn_cpu.sh --steps 5 --out runs/my-bfcl
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tiny_model
import typer
from progress import stages
from rich.console import Console
from rich.progress import Progress
from rollout_tables import show
from transformers.utils.logging import disable_progress_bar
from verl_run import QUICK_POLLS, RunFailed, run_verl

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows
from rest_verl.bfcl.data.split import bfcl_question_of
from rest_verl.data.data_set import split_by_hash, write_parquet
from rest_verl.data.rows import Row
from rest_verl.rollout.environment import get_environment

VOCABULARY = 4096
PROMPT_TOKENS, RESPONSE_TOKENS = 2560, 768
TRAINING_ROWS, VALIDATION_ROWS = 48, 8
SHORT_STEPS, WHOLE_STEPS = 200, 160
MOST_TOKENS = 3072  # in an imitated turn with its prompt
TIMEOUT_SECONDS = 1800.0
RECIPE = [
    "+rest=paper",
    "+rest/rollout=multi_turn",
    "rest.credit=turn",
    "+platform=cpu",
    "rest.rollout.max_steps_per_turn=3",
    "data.train_batch_size=4",
    f"data.max_prompt_length={PROMPT_TOKENS}",
    f"data.max_response_length={RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.n=2",
    f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.max_num_batched_tokens=8192",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.actor.ppo_mini_batch_size=4",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.actor.optim.lr=1e-4",
    "trainer.save_freq=-1",
    "trainer.resume_mode=disable",
    *QUICK_POLLS,
]

console = Console()


def main(
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/bfcl-multi-turn"),
) -> None:
    """Train a tiny model on BFCL's multi-turn questions with ResT in stock verl."""
    out = out.resolve()
    try:
        with stages(console) as progress:
            prepare(out, progress)
            overrides = [
                *RECIPE,
                f"data.train_files={out / 'train.parquet'}",
                f"data.val_files={out / 'validation.parquet'}",
                f"actor_rollout_ref.model.path={out / 'model'}",
                f"trainer.test_freq={steps}",
            ]
            run = run_verl(overrides, out / "verl", steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        console.print(str(failure), style="red", markup=False)  # brackets in a log are not markup
        raise typer.Exit(1) from None
    show(run, console)


def prepare(out: Path, progress: Progress) -> None:
    """Write train.parquet, validation.parquet and the starting model into `out`."""
    bar = progress.add_task("tokenizer, rows", total=SHORT_STEPS + WHOLE_STEPS)
    rows = bfcl_multi_turn_rows()
    texts = [message["content"] for row in rows for message in row["prompt"]]
    tokenizer = tiny_model.train_tokenizer(texts + [row["reward_model"]["ground_truth"] for row in rows], VOCABULARY)
    lengths = {id(row): len(tiny_model.encode(tokenizer, (row["prompt"], ""))[0]) for row in rows}
    short = sorted((row for row in rows if lengths[id(row)] <= PROMPT_TOKENS), key=lambda row: lengths[id(row)])
    training, validation = split_by_hash(short, validation_share=0.2, question_of=bfcl_question_of())
    write_parquet(training[:TRAINING_ROWS], out / "train.parquet")
    write_parquet(validation[:VALIDATION_ROWS], out / "validation.parquet")
    model = tiny_model.new_model(tokenizer, hidden=64, max_positions=PROMPT_TOKENS + RESPONSE_TOKENS)

    def imitate(cut: Callable[[str], str], steps: int, batch_size: int, done: int) -> None:
        turns = [turn for row in training[:TRAINING_ROWS] for turn in asyncio.run(right_turns(row, cut))]
        # a tool's result can be longer than everything else
        turns = [turn for turn in turns if sum(map(len, tiny_model.encode(tokenizer, turn))) <= MOST_TOKENS]
        tiny_model.train_model(
            model,
            tokenizer,
            turns,
            steps=steps,
            batch_size=batch_size,
            on_progress=lambda step, _, loss: progress.update(
                bar, completed=done + step, description=f"imitating right answers: {loss:.2f}"
            ),
        )

    # First learn the form of a turn from prompts without their tools, which are nine tenths of them; then the rest.
    imitate(without_tools, SHORT_STEPS, batch_size=8, done=0)
    imitate(str, WHOLE_STEPS, batch_size=2, done=SHORT_STEPS)
    tiny_model.save(model, tokenizer, out / "model")


async def right_turns(row: Row, cut: Callable[[str], str]) -> list[tiny_model.Demonstration]:
    """The right turns for the user's first request, with shortened prompts: the calls, then the answer."""
    kwargs: dict[str, Any] = json.loads(row["extra_info"]["environment_kwargs"])
    environment = get_environment(row["extra_info"]["environment"])(**kwargs)
    await environment.reset()
    due = kwargs["ground_truth"][0]
    lines = [json.dumps({"name": call["name"], "parameters": call["arguments"]}) for call in due]
    calls = "<think> I use the tools. </think>\n<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"
    results = [str(await environment.call(call["name"], call["arguments"])) for call in due]
    await environment.close()
    done = [{"role": "assistant", "content": calls}, *({"role": "tool", "content": result} for result in results)]
    answer = "<think> It is done. </think>\n<response> Done. </response>"
    prompt = [{**message, "content": cut(message["content"])} for message in row["prompt"]]
    turns: list[tiny_model.Demonstration] = [(prompt, calls)] if due else []
    return [*turns, ([*prompt, *(done if due else [])], answer)]


def without_tools(content: str) -> str:
    """The part of a system message after the list of tools; any other message unchanged."""
    return content[max(0, content.find("**Steps for Each Turn**")) :]


if __name__ == "__main__":
    disable_progress_bar()  # transformers' own bars would break ours
    typer.run(main)

"""ResT in stock verl on a CPU, with several user turns, in an environment outside this package.

A tiny model first imitates a clerk who makes mistakes, then ResT trains it in the shop of
examples/custom_environment.py. Takes a few minutes on two cores.

    bash examples/custom_environment_cpu.sh
    bash examples/custom_environment_cpu.sh --steps 10 --out runs/my-shop
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Annotated

import custom_environment as shop
import tiny_model
import typer
from progress import stages
from rich.console import Console
from rich.progress import Progress
from rollout_tables import show
from transformers.utils.logging import disable_progress_bar
from verl_run import QUICK_POLLS, RunFailed, run_verl

from rest_verl.data.data_set import write_parquet

EXAMPLES = Path(__file__).resolve().parents[1]
ROWS, VALIDATION_ROWS = 1000, 32
IMITATION_STEPS = 800
MISTAKES = 0.2  # share of the clerk's calls with a wrong number
PROMPT_TOKENS, RESPONSE_TOKENS = 128, 384
TIMEOUT_SECONDS = 1200.0
RECIPE = [
    "+rest=paper",
    "+rest/rollout=multi_turn",
    "rest.credit=turn",
    "+platform=cpu",
    "rest.modules=[custom_environment]",
    f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH={EXAMPLES}",
    "data.train_batch_size=8",
    f"data.max_prompt_length={PROMPT_TOKENS}",
    f"data.max_response_length={RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.n=4",
    f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
    "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.actor.optim.lr=1e-4",
    "trainer.save_freq=-1",
    "trainer.resume_mode=disable",
    *QUICK_POLLS,
]

console = Console()


def main(
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/shop"),
) -> None:
    """Train a tiny model in the shop with ResT in stock verl."""
    out = out.resolve()
    # rest.modules is also imported in the process of verl's command, which composes and checks the config
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")]))
    try:
        with stages(console) as progress:
            prepare(out, progress)
            extra = [f"trainer.test_freq={steps}", f"rest.dump_dir={out / 'records'}"]
            run = run_verl([*RECIPE, *files(out), *extra], out / "verl", steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        console.print(str(failure), style="red", markup=False)  # brackets in a log are not markup
        raise typer.Exit(1) from None
    show(run, console)
    console.print(f"to inspect every token: rest-verl inspect {out / 'records'}", soft_wrap=True)


def files(out: Path) -> list[str]:
    """Overrides for the run's input files."""
    return [
        f"data.train_files={out / 'train.parquet'}",
        f"data.val_files={out / 'validation.parquet'}",
        f"actor_rollout_ref.model.path={out / 'model'}",
    ]


def prepare(out: Path, progress: Progress) -> None:
    """Write train.parquet, validation.parquet and the starting model into `out`."""
    bar = progress.add_task("the clerk's examples", total=IMITATION_STEPS)
    rng = random.Random(0)
    rows = [shop.row(number, wishes(rng)) for number in range(ROWS + VALIDATION_ROWS)]
    write_parquet(rows[VALIDATION_ROWS:], out / "train.parquet")
    write_parquet(rows[:VALIDATION_ROWS], out / "validation.parquet")
    turns = [turn for row in rows[VALIDATION_ROWS:] for turn in dialogue(row, rng)]
    # The text that ends a turn is learnt quickly; copying a wish into a call takes much longer.
    demonstrations = [turn for turn in turns if "<tool_call>" in turn[1] or rng.random() < 0.2]
    texts = [message["content"] for messages, _ in demonstrations for message in messages]
    tokenizer = tiny_model.train_tokenizer(texts, 400)
    model = tiny_model.new_model(tokenizer, hidden=64, max_positions=PROMPT_TOKENS + RESPONSE_TOKENS)
    tiny_model.train_model(
        model,
        tokenizer,
        demonstrations,
        steps=IMITATION_STEPS,
        on_progress=lambda step, _, loss: progress.update(
            bar, completed=step, description=f"imitating the clerk: {loss:.2f}"
        ),
    )
    tiny_model.save(model, tokenizer, out / "model")


def wishes(rng: random.Random) -> list[tuple[str, int]]:
    """One to three items to add, and sometimes one to remove again."""
    made = [(rng.choice(shop.ITEMS), rng.randint(2, 9)) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        item, count = rng.choice(made)
        made.append((item, -rng.randint(1, count - 1)))
    return made


def dialogue(row: dict, rng: random.Random) -> list[tiny_model.Demonstration]:
    """All turns of the clerk in a trajectory, each with all messages before it."""
    messages = list(row["prompt"])
    cart: dict[str, int] = {}
    demonstrations: list[tiny_model.Demonstration] = []
    wanted = json.loads(row["extra_info"]["environment_kwargs"])["wishes"]
    for number, (item, count) in enumerate(wanted):
        if number > 0:
            messages.append({"role": "user", "content": shop.wish_text(item, count)})
        meant = max(1, abs(count) + (rng.choice([-1, 1]) if rng.random() < MISTAKES else 0))
        call = {"name": "add_item" if count > 0 else "remove_item", "parameters": {"item": item, "count": meant}}
        cart[item] = cart.get(item, 0) + (meant if count > 0 else -meant)
        result = json.dumps({name: left for name, left in cart.items() if left > 0})
        for role, content in (
            ("assistant", f"<think> A wish. </think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"),
            ("tool", result),
            ("assistant", "<think> It is done. </think>\n<response> Done. </response>"),
        ):
            if role == "assistant":
                demonstrations.append((list(messages), content))
            messages.append({"role": role, "content": content})
    return demonstrations


if __name__ == "__main__":
    disable_progress_bar()  # transformers' own bars would break ours
    typer.run(main)

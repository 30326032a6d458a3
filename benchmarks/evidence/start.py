"""The model that every run of a study starts from: half trained on the harder task, made once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tiny_model
import toy_task
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from evidence.task import make_task

VOCABULARY, HIDDEN, LAYERS = 800, 128, 2
IMITATION_STEPS = 2000


@dataclass(frozen=True)
class Start:
    """A starting model with its task.

    Attributes:
        folder: `model/`, `train.parquet` and `validation.parquet`, as verl reads them.
        tokenizer: of the model.
        train, validation: rows of the task.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerFast
    train: list[toy_task.Row]
    validation: list[toy_task.Row]

    def new_model(self) -> PreTrainedModel:
        """The starting model, afresh, in float32."""
        return AutoModelForCausalLM.from_pretrained(self.folder / "model", dtype="float32", attn_implementation="sdpa")

    def prompt_ids(self, row: toy_task.Row) -> list[int]:
        """Token ids of a row's prompt, up to where the assistant speaks."""
        text = self.tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        return self.tokenizer.encode(text, add_special_tokens=False)


def prepare_start(
    folder: Path,
    seed: int = 0,
    steps: int = IMITATION_STEPS,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> Start:
    """Make the task and the starting model, or read those that an earlier study with the same seed and steps left.

    Args:
        folder: where starts are kept.
        seed: of task and model.
        steps: of imitation.
        on_progress: called with (step, steps, loss).
    """
    home = (folder / f"start-{VOCABULARY}x{HIDDEN}x{LAYERS}-seed{seed}-steps{steps}").resolve()
    task = make_task(seed)
    finished = home / "finished.json"
    if not finished.exists():
        toy_task.write_parquet(task, home)
        tokenizer = tiny_model.train_tokenizer(_texts(task.demonstrations), VOCABULARY)
        model = tiny_model.new_model(tokenizer, hidden=HIDDEN, layers=LAYERS, seed=seed)
        losses = tiny_model.train_model(
            model, tokenizer, task.demonstrations, steps=steps, seed=seed, on_progress=on_progress
        )
        tiny_model.save(model, tokenizer, home / "model")
        finished.write_text(json.dumps({"seed": seed, "steps": steps, "final_loss": losses[-1]}) + "\n")
    return Start(home, PreTrainedTokenizerFast.from_pretrained(home / "model"), task.train, task.validation)


def _texts(demonstrations: Sequence[tiny_model.Demonstration]) -> list[str]:
    return [text for messages, response in demonstrations for text in (*(m["content"] for m in messages), response)]

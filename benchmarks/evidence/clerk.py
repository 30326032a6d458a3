"""The half-trained model that the studies of credit start from: a clerk who has begun to imitate responses that are
wrong at times."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness  # noqa: F401  (puts the CPU examples on the path)
import tiny_model
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

ITEMS = ("apple", "pear", "plum", "fig", "lemon", "melon", "grape", "kiwi", "peach", "mango", "date", "lime")
VOCABULARY, DEMONSTRATIONS, IMITATION_STEPS = 480, 6000, 900

Shown = tuple[list[dict[str, str]], str]  # messages up to the user's last, and the clerk's response


@dataclass(frozen=True)
class Clerk:
    """The model in a folder, and its tokenizer."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast

    def new_model(self) -> PreTrainedModel:
        """A fresh copy, in float32."""
        return AutoModelForCausalLM.from_pretrained(self.folder / "model", dtype="float32", attn_implementation="sdpa")


def prepare_clerk(folder: Path, show: Callable[[random.Random], Shown], steps: int = IMITATION_STEPS) -> Clerk:
    """Train the starting model on what `show` draws, or read the one that an earlier run left in this folder."""
    home = (folder / f"clerk-{steps}").resolve()
    if not (home / "model" / "config.json").exists():
        rng = random.Random(0)
        demonstrations = [show(rng) for _ in range(DEMONSTRATIONS)]
        texts = [text for messages, said in demonstrations for text in (messages[-1]["content"], said)]
        tokenizer = tiny_model.train_tokenizer(texts, VOCABULARY)
        model = tiny_model.new_model(tokenizer, seed=0)
        tiny_model.train_model(model, tokenizer, demonstrations, steps=steps, seed=0)
        tiny_model.save(model, tokenizer, home / "model")
    return Clerk(home, PreTrainedTokenizerFast.from_pretrained(home / "model"))

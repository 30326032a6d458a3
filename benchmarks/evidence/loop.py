"""Training in process: verl's synchronous GRPO step by step, with the plugin's own regions, weights and reward around
a small model, for runs by the hundred; and the half-trained model that every run starts from.

A step: sample n responses to each prompt, score them, GRPO's advantages, token weights from the same classes that the
trainer uses, one update (policy.py). What verl has and this has not: mini-batches (an update takes the whole batch, so
no ratio leaves 1), workers, an inference engine with numbers of its own, and checkpoints.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness  # noqa: F401  (puts the CPU examples on the path)
import tiny_model
import torch
import toy_task
from evidence.policy import Rollouts, group_advantages, new_optimizer, sample, update
from evidence.task import make_task
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

VOCABULARY, HIDDEN, LAYERS = 800, 128, 2
IMITATION_STEPS = 2000


@dataclass(frozen=True)
class Plan:
    """Size of a run."""

    steps: int = 16  # updates
    prompts: int = 8  # of a batch
    n: int = 8  # responses to a prompt
    max_tokens: int = 96  # of a response
    learning_rate: float = 2.5e-4  # constant
    validate_every: int = 4  # steps; the first validation is before training
    validation_rows: int = 128  # half of them unseen combinations


@dataclass(frozen=True)
class Validation:
    """Greedy answers to the validation rows: updates before it, share of exactly right responses, and the same over
    unseen combinations."""

    step: int
    accuracy: float
    unseen: float


@dataclass(frozen=True)
class Start:
    """A starting model with its task; `folder` has `model/`, `train.parquet` and `validation.parquet` for verl."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast
    train: list[toy_task.Row]
    validation: list[toy_task.Row]

    def new_model(self) -> PreTrainedModel:
        """A fresh copy of the starting model, in float32."""
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
    """Make the task and the starting model, or read those that an earlier study with the same seed and number of
    imitation steps left in this folder. `on_progress` is called with (step, steps, loss)."""
    home = (folder / f"start-{VOCABULARY}x{HIDDEN}x{LAYERS}-seed{seed}-steps{steps}").resolve()
    task = make_task(seed)
    finished = home / "finished.json"
    if not finished.exists():
        toy_task.write_parquet(task, home)
        texts = [text for told, said in task.demonstrations for text in (*(one["content"] for one in told), said)]
        tokenizer = tiny_model.train_tokenizer(texts, VOCABULARY)
        model = tiny_model.new_model(tokenizer, hidden=HIDDEN, layers=LAYERS, seed=seed)
        losses = tiny_model.train_model(
            model, tokenizer, task.demonstrations, steps=steps, seed=seed, on_progress=on_progress
        )
        tiny_model.save(model, tokenizer, home / "model")
        finished.write_text(json.dumps({"seed": seed, "steps": steps, "final_loss": losses[-1]}) + "\n")
    return Start(home, PreTrainedTokenizerFast.from_pretrained(home / "model"), task.train, task.validation)


class Scorer:
    """The plugin's reward and regions for one tokenizer and one run's settings."""

    def __init__(self, start: Start, settings: RestConfig):
        self.reward = ToolReward(settings.reward)
        self.tagger = TAGGERS[settings.weights_from](start.tokenizer, get_format(settings.format))
        self._format = get_format(settings.format)
        self._table = TokenBytes.from_tokenizer(start.tokenizer)

    def components(self, rollouts: Rollouts, rows: Sequence[toy_task.Row], step: int) -> list[dict[str, float]]:
        """Components of the reward of each response; `rows` has the row of each prompt."""
        found = []
        for ids, mask, group in zip(
            rollouts.responses.cpu(), rollouts.response_mask.cpu().bool(), rollouts.group.tolist(), strict=True
        ):
            response = self.reward.read([self._table.decode(ids[mask].numpy())], self._format)
            truth = read_ground_truth(rows[group]["reward_model"]["ground_truth"])
            found.append(self.reward.score(response, truth, step))
        return found

    def tagged(self, rollouts: Rollouts) -> TaggedBatch:
        """Regions of a batch."""
        responses, mask = rollouts.responses.cpu(), rollouts.response_mask.cpu()
        return TaggedBatch(self.tagger(responses, mask), mask)


def batches(rows: Sequence[toy_task.Row], size: int, seed: int) -> Iterator[list[toy_task.Row]]:
    """Batches of rows in an order that the seed decides, epoch after epoch."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for begin in range(0, len(order) - size + 1, size):
            yield [rows[index] for index in order[begin : begin + size]]


def draw(
    model: PreTrainedModel, start: Start, rows: Sequence[toy_task.Row], n: int, max_tokens: int, greedy: bool = False
) -> Rollouts:
    """Sample n responses to the prompt of each row, with torch's own generator."""
    prompts, tokenizer = [start.prompt_ids(row) for row in rows], start.tokenizer
    return sample(model, prompts, n, max_tokens, tokenizer.eos_token_id, tokenizer.pad_token_id, greedy)


def train(
    start: Start,
    settings: RestConfig,
    plan: Plan,
    seed: int,
    device: str = "cpu",
    on_step: Callable[[int, PreTrainedModel], None] = lambda step, model: None,
) -> tuple[PreTrainedModel, list[Validation], list[float]]:
    """Train the starting model; two runs with one seed see the same prompts.

    Returns:
        the model, the validations, and the gradient norm of each step.
    """
    model = start.new_model()
    torch.nn.Module.to(model, device)  # transformers' own `to` is decorated out of its type
    optimizer = new_optimizer(model, plan.learning_rate)
    scorer, weighting = Scorer(start, settings), TokenWeighting(settings, plan.steps)
    torch.manual_seed(seed)
    validations, norms = [validate(model, start, scorer, plan, 0)], []
    for step, rows in zip(range(1, plan.steps + 1), batches(start.train, plan.prompts, seed), strict=False):
        rollouts = draw(model, start, rows, plan.n, plan.max_tokens)
        scores = torch.tensor([found["score"] for found in scorer.components(rollouts, rows, step)], device=device)
        weights = weighting(StepBatch(step, scorer.tagged(rollouts), rollouts.entropy.cpu())).to(device)
        norms.append(update(model, optimizer, rollouts, group_advantages(scores, rollouts.group), weights))
        if step % plan.validate_every == 0 or step == plan.steps:
            validations.append(validate(model, start, scorer, plan, step))
        on_step(step, model)
    return model, validations, norms


def validate(model: PreTrainedModel, start: Start, scorer: Scorer, plan: Plan, step: int) -> Validation:
    """Answer as many unseen as seen validation rows greedily."""
    half = plan.validation_rows // 2
    parts = [
        [row for row in start.validation if row["extra_info"]["unseen"] is which][:half] for which in (False, True)
    ]
    rows = [*parts[0], *parts[1]]
    components = scorer.components(draw(model, start, rows, 1, plan.max_tokens, greedy=True), rows, max(step, 1))
    right = [found["acc"] for found in components]
    unseen = right[len(parts[0]) :]
    return Validation(step, sum(right) / len(right), sum(unseen) / len(unseen))

"""Training in process: verl's synchronous GRPO step by step, with the plugin's own regions, weights and reward around
a small model, for runs by the hundred.

A step: sample n responses to each prompt, score them, GRPO's advantages, token weights from the same classes that the
trainer uses, one update (`update.py`). What verl has and this has not: mini-batches (an update takes the whole batch,
so no ratio leaves 1), workers, an inference engine with numbers of its own, and checkpoints.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import toy_task
from torch import Tensor
from transformers import PreTrainedModel

from evidence.rollouts import Rollouts, sample
from evidence.start import Start
from evidence.update import group_advantages, new_optimizer, update
from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format
from rest_verl.reward.tool_reward import ToolReward
from rest_verl.reward.truth import read_ground_truth
from rest_verl.weighting.metrics import by_region
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting


@dataclass(frozen=True)
class Plan:
    """Size of a run.

    Attributes:
        steps: updates.
        prompts: of a batch.
        n: responses to a prompt.
        max_tokens: of a response.
        learning_rate: constant.
        validate_every: steps between validations; the first is before training.
        validation_rows: rows of a validation, half of them unseen combinations.
    """

    steps: int = 16
    prompts: int = 8
    n: int = 8
    max_tokens: int = 96
    learning_rate: float = 2.5e-4
    validate_every: int = 4
    validation_rows: int = 128


@dataclass(frozen=True)
class Validation:
    """Greedy answers to the validation rows.

    Attributes:
        step: updates before it.
        accuracy: share of exactly right responses, in [0, 1].
        unseen: the same over unseen combinations.
    """

    step: int
    accuracy: float
    unseen: float


class Scorer:
    """The plugin's reward and regions for one tokenizer and one run's settings."""

    def __init__(self, start: Start, settings: RestConfig):
        self.reward = ToolReward(settings.reward)
        self.tagger = RegionTagger(start.tokenizer, get_format(settings.format))
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
    model: PreTrainedModel,
    start: Start,
    rows: Sequence[toy_task.Row],
    n: int,
    max_tokens: int,
    generator: torch.Generator | None,
) -> Rollouts:
    """Sample n responses to the prompt of each row."""
    tokenizer = start.tokenizer
    prompts = [start.prompt_ids(row) for row in rows]
    return sample(model, prompts, n, max_tokens, tokenizer.eos_token_id, tokenizer.pad_token_id, generator)


def train(
    start: Start,
    settings: RestConfig,
    plan: Plan,
    seed: int,
    device: str = "cpu",
    on_step: Callable[[int, PreTrainedModel], None] = lambda step, model: None,
) -> tuple[PreTrainedModel, list[Validation], list[dict[str, float]]]:
    """Train the starting model.

    Args:
        start: where to start.
        settings: weights and reward.
        plan: size of the run.
        seed: of the order of the rows and of the sampling: two runs with one seed see the same prompts.
        device: of the model.
        on_step: called with step and model after each update.

    Returns:
        the model, the validations, and what each step logged: mean reward, share of right responses, gradient norm,
        tokens of a response, mean entropy and weight of each region.
    """
    model = start.new_model()
    torch.nn.Module.to(model, device)  # transformers' own `to` is decorated out of its type
    optimizer = new_optimizer(model, plan.learning_rate)
    scorer, weighting = Scorer(start, settings), TokenWeighting(settings, plan.steps)
    generator = torch.Generator(device).manual_seed(seed)
    half = plan.validation_rows // 2
    seen = [row for row in start.validation if not row["extra_info"]["unseen"]][:half]
    unseen = [row for row in start.validation if row["extra_info"]["unseen"]][:half]
    validations = [validate(model, start, scorer, (seen, unseen), plan, 0)]
    log: list[dict[str, float]] = []
    for step, rows in zip(range(1, plan.steps + 1), batches(start.train, plan.prompts, seed), strict=False):
        rollouts = draw(model, start, rows, plan.n, plan.max_tokens, generator)
        components = scorer.components(rollouts, rows, step)
        scores = torch.tensor([found["score"] for found in components], device=device)
        tagged = scorer.tagged(rollouts)
        weights = weighting(StepBatch(step, tagged, rollouts.entropy.cpu())).to(device)
        norm = update(model, optimizer, rollouts, group_advantages(scores, rollouts.group), weights)
        log.append(
            {
                "reward": float(scores.mean()),
                "accuracy": sum(found["acc"] for found in components) / len(components),
                "gradient_norm": norm,
                "tokens": float(rollouts.response_mask.sum() / len(rollouts.response_mask)),
                **_labelled("entropy", tagged, rollouts.entropy.cpu()),
                **_labelled("weight", tagged, weights.cpu()),
            }
        )
        if step % plan.validate_every == 0 or step == plan.steps:
            validations.append(validate(model, start, scorer, (seen, unseen), plan, step))
        on_step(step, model)
    return model, validations, log


def validate(
    model: PreTrainedModel,
    start: Start,
    scorer: Scorer,
    parts: tuple[Sequence[toy_task.Row], Sequence[toy_task.Row]],
    plan: Plan,
    step: int,
) -> Validation:
    """Answer the seen and the unseen validation rows greedily."""
    rows = [*parts[0], *parts[1]]
    components = scorer.components(draw(model, start, rows, 1, plan.max_tokens, None), rows, max(step, 1))
    right = [found["acc"] for found in components]
    unseen = right[len(parts[0]) :]
    return Validation(step, sum(right) / len(right), sum(unseen) / len(unseen))


def _labelled(quantity: str, tagged: TaggedBatch, values: Tensor) -> dict[str, float]:
    """Means by region for the log."""
    return by_region(quantity, tagged.means(values))

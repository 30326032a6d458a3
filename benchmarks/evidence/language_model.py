"""A pretrained language model and its policy gradient, for benchmarks/pretrained.py.

Responses are sampled at temperature 1 and scored by the plugin's own reward under `strict`. Models compute in bf16
where the machine has it. Gradients are kept as a random projection (`Sketch`), which changes no inner product on
average, so that a batch takes megabytes and later batches can be compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence.policy import Rollouts, group_advantages, positions_of, sample
from evidence.variants import VARIANTS, Variant, composed
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rest_verl.bfcl.scorer import read_bfcl, score_bfcl
from rest_verl.config.rest import RestConfig, load
from rest_verl.core.credit import Decided, Events, events_of, token_advantages
from rest_verl.core.credit import group_advantages as credit_advantages
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.core.tokens import TokenBytes
from rest_verl.cpu.host import has_bf16
from rest_verl.formats import get_format
from rest_verl.formats.tools import tools_of_row
from rest_verl.reward.progress import parts_of
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

PROMPTS, GROUP, MAX_TOKENS, TRACE_TOKENS, STEPS = 4, 4, 160, 800, 105
GRPO, CREDIT, WEIGHTED = "grpo", "credit", ("paper", "entropy_adaptive")
SCHEMES = (GRPO, CREDIT, *WEIGHTED)
REGIONS = [region.label for region in Region]
BUCKETS = 1 << 18


@dataclass(frozen=True)
class Point:
    """A model at one point: its folder, and what runs it."""

    folder: Path
    format: str
    device: str
    layers: int

    def load(self) -> tuple[Any, Any]:
        """The model, whose last layers alone have gradients, and its tokenizer."""
        low = self.device == "cuda" or has_bf16()
        model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.bfloat16 if low else torch.float32)
        model.to(self.device).eval().requires_grad_(False)
        for layer in model.model.layers[-self.layers :]:
            layer.requires_grad_(True)
        return model, AutoTokenizer.from_pretrained(self.folder)


class Sketch:
    """Random projection of gradients to `BUCKETS` numbers (count sketch: each parameter is added to one bucket, with a
    random sign). Inner products are kept on average, within |g||h| / sqrt(BUCKETS), or 0.2 %."""

    def __init__(self, parameters: Sequence[Tensor]):
        """Always the same projection of the same parameters."""
        self._random = torch.Generator(parameters[0].device).manual_seed(0)
        self._places = [self._draw(one.numel(), BUCKETS, one.device) for one in parameters]
        self._signs = [self._draw(one.numel(), 2, one.device).float() * 2 - 1 for one in parameters]

    def _draw(self, count: int, below: int, device: torch.device) -> Tensor:
        return torch.randint(below, (count,), generator=self._random, device=device)

    def __call__(self, gradients: Sequence[Tensor]) -> Tensor:
        """The projection of one gradient, (BUCKETS,) float32."""
        found = torch.zeros(BUCKETS, device=gradients[0].device)
        for gradient, places, signs in zip(gradients, self._places, self._signs, strict=True):
            found.index_add_(0, places, gradient.flatten().float() * signs)
        return found


def entropies_of_traces(point: Point, texts: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Tokens and entropy by region (nats, summed) of each of the given texts, as they are."""
    model, tokenizer = point.load()
    tagger = TAGGERS["token"](tokenizer, get_format(point.format))
    found: list[dict[str, Any]] = []
    for text in texts:
        prompt, answer = trace_ids(tokenizer, text)
        with torch.no_grad():
            kept = model(torch.tensor([prompt + answer]).to(model.device), logits_to_keep=len(answer) + 1)
            log_p = kept.logits[:, :-1].float().log_softmax(dim=-1)
        mask = torch.ones(1, len(answer), dtype=torch.long)
        masks = region_masks(TaggedBatch(tagger(torch.tensor([answer]), mask), mask))
        found.append(sums(masks, entropy=-(log_p.exp() * log_p).sum(dim=-1).cpu()))
    return found


def trace_ids(tokenizer: Any, text: Mapping[str, str]) -> tuple[list[int], list[int]]:
    """Token ids of a text's prompt and of its right answer."""
    messages = [{"role": "system", "content": text["instruction"]}, {"role": "user", "content": text["input"]}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return (
        tokenizer.encode(prompt, add_special_tokens=False),
        tokenizer.encode(text["output"], add_special_tokens=False),
    )


def gradient_batch(
    point: Point, loaded: Callable[[], Any], rows: Sequence[Any], seed: int, kept: Path
) -> dict[str, Any]:
    """Sample a batch of rollouts and project its gradients into the file `kept`: (2 * regions + weighted, BUCKETS)
    float32, GRPO's and credit's by region, then the others. Returns sums by region and what came of the responses."""
    model, tokenizer, sketch = loaded()
    torch.manual_seed(seed)
    asked = [rows[index] for index in np.random.default_rng(seed).choice(len(rows), PROMPTS, replace=False)]
    texts = [tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in asked]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    drawn = sample(model, ids, GROUP, MAX_TOKENS, tokenizer.eos_token_id, tokenizer.pad_token_id, greedy=False)
    here = Rollouts(**{name: value.cpu() for name, value in vars(drawn).items()})
    scored, credit = credit_of(tokenizer, point.format, asked, here)
    scores = torch.tensor([one["score"] for one in scored])
    advantages = group_advantages(scores, here.group)[:, None] * here.response_mask
    tagged = {name: tag(tokenizer, point.format, here, name) for name in ("state", "token")}
    masks = region_masks(tagged["token"])
    weights = [
        TokenWeighting(settings, STEPS)(StepBatch(1, tagged[settings.weights_from], here.entropy))
        for settings in map(settings_of, WEIGHTED)
    ]
    parts = torch.cat([advantages * masks, credit * masks, torch.stack([advantages * one for one in weights])])
    np.save(kept, torch.stack([sketch(one) for one in gradients(model, drawn, parts)]).cpu().numpy())
    outcome = {name: float(np.mean([one[name] for one in scored])) for name in ("score", "acc", "legal")}
    return sums(masks, entropy=here.entropy) | outcome


def gradients(model: Any, rollouts: Rollouts, coefficients: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The gradient of the mean over tokens of -coefficient * log-prob for each (K, B, T) set of coefficients."""
    ids = torch.cat([rollouts.prompts, rollouts.responses], dim=1)
    mask = torch.cat([rollouts.prompt_mask, rollouts.response_mask], dim=1)
    hidden = model.model(ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False).last_hidden_state
    hidden = hidden[:, rollouts.prompts.shape[1] - 1 : -1]
    # What a token's log-prob says to its hidden state is the same for all coefficients, and the head is large.
    leaf = hidden.detach().requires_grad_()
    log_p = model.lm_head(leaf).float().log_softmax(dim=-1).gather(-1, rollouts.responses[..., None]).squeeze(-1)
    (unit,) = torch.autograd.grad((log_p * rollouts.response_mask).sum(), leaf)
    parameters = [one for one in model.parameters() if one.requires_grad]
    for one in coefficients.to(hidden.device) / rollouts.response_mask.sum():
        upstream = -(one[..., None] * unit.float()).to(hidden.dtype)
        yield torch.autograd.grad(hidden, parameters, upstream, retain_graph=True)


def credit_of(tokenizer: Any, format: str, asked: Sequence[Any], here: Rollouts) -> tuple[list[Any], Tensor]:
    """Components of the reward of each response, and the advantage of each token by span: (B, T)."""
    settings, table_of = settings_of(CREDIT), TokenBytes.from_tokenizer(tokenizer)
    reward, wire_format = ToolReward(settings.reward), get_format(format)
    scored: list[dict[str, float]] = []
    events: list[Events] = []
    repeated = [row for row in asked for _ in range(GROUP)]
    for row, ids, mask in zip(repeated, here.responses, here.response_mask.bool(), strict=True):
        written, tools = ids[mask].numpy(), tools_of_row(row["extra_info"])
        raw, starts = table_of.gather(written)
        text, truth = raw.tobytes(), read_bfcl(row["reward_model"]["ground_truth"])
        response = reward.read([text], wire_format, tools)
        scored.append(score_bfcl(response, truth, RewardAtStep(reward, 1)))
        parts = parts_of(reward, [text], wire_format, tools, truth.truth, 1)
        places = [min(int(np.searchsorted(starts, part.byte, side="right")) - 1, len(written) - 1) for part in parts]
        decided = [Decided(at, part.amount, part.ends_reasoning) for at, part in zip(places, parts, strict=True)]
        events.append(events_of(scored[-1]["score"], len(written), decided))
    found = torch.zeros(here.response_mask.shape)
    for start in range(0, len(events), GROUP):
        group = events[start : start + GROUP]
        given = credit_advantages(group, settings.credit_lambda, by_std=True)
        for row, (one, values) in enumerate(zip(group, given, strict=True), start):
            tokens = token_advantages(one, values)
            found[row, : len(tokens)] = torch.from_numpy(tokens).float()
    return scored, found


def settings_of(name: str) -> RestConfig:
    """A preset's settings, with the reward that all of them get here."""
    return load(composed(VARIANTS[name] if name in VARIANTS else Variant(name, name, compress=()), STEPS))


def tag(tokenizer: Any, format: str, here: Rollouts, by: Any) -> TaggedBatch:
    """The regions of a batch's tokens."""
    return TaggedBatch(
        TAGGERS[by](tokenizer, get_format(format))(here.responses, here.response_mask), here.response_mask
    )


def region_masks(tagged: TaggedBatch) -> Tensor:
    """1 where a generated token belongs to the region: (regions, B, T) float32."""
    return torch.stack([(tagged.regions == region) & tagged.generated for region in Region]).float()


def sums(masks: Tensor, **values: Tensor) -> dict[str, list[float]]:
    """Number of tokens by region, and the sums of values (B, T)."""
    found = {
        name: torch.einsum("rbt,bt->r", masks.double(), value.double()).tolist() for name, value in values.items()
    }
    return {"tokens": masks.sum(dim=(1, 2)).tolist(), **found}


def with_sketch(point: Point) -> tuple[Any, Any, Sketch]:
    """A point's model, its tokenizer, and the projection of its gradients."""
    model, tokenizer = point.load()
    return model, tokenizer, Sketch([one for one in model.parameters() if one.requires_grad])


def short_texts(point: Point, texts: Sequence[Mapping[str, str]], count: int) -> list[Mapping[str, str]]:
    """The first texts that are short enough, with their prompts."""
    tokenizer = AutoTokenizer.from_pretrained(point.folder)
    return [text for text in texts if sum(map(len, trace_ids(tokenizer, text))) <= TRACE_TOKENS][:count]

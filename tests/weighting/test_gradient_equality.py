"""Weighting the advantages and weighting the clipped surrogate are the same update, however a batch is split.

A real model and verl's real loss on the nested tensors that its engine hands over; the weights come from tagged text.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch.nested import nested_tensor
from transformers import Qwen2Config, Qwen2ForCausalLM
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig, PolicyLossConfig
from verl.workers.engine.utils import prepare_micro_batches
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import response_to_nested

from rest_verl.config.rest import RestConfig
from rest_verl.core.regions import Region, RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.weighting.advantage import compute_rest_advantage
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

pytestmark = pytest.mark.usefixtures("one_thread")
STEP = 50
PROMPTS = ["What is the weather?", "Time?"]
CALL = '<think> I call the tool. </think>\n<tool_call>\n{"name": "get_weather", "parameters": {"city": "Paris"}}\n'
ANSWER = "<think> Done. </think>\n<response> It is fine in Zürich. </response>"
# Turns of the policy, with what a tool wrote in between; the last row has no tag at all.
ROLLOUTS = [
    [CALL + "</tool_call>"],
    [CALL + "</tool_call>", '{"weather": "<think> fine"}', ANSWER],
    [CALL],
    [ANSWER],
    ['<think></think>\n<tool_call>\n{"parameters": {}, "name": "get_time"}\n</tool_call>', "12:00", ANSWER],
    [ANSWER, "no tool", CALL + "</tool_call>"],
    ["<think> I think"],
    ["It is noon."],
]
SCORES = [4.0, 3.5, -1.0, -4.0, 2.0, 1.0, -3.0, -2.0]
# Added to log p - log p_old from token to token: inside of verl's clip range, outside of it, and beyond the dual clip.
SHIFTS = [0.0, 0.1, -0.1, 0.6, -0.6, 1.5]


@dataclass
class Rollouts:
    """A batch as verl's trainer holds it: nested where rows differ in length, padded for the estimators."""

    nested: TensorDict
    responses: torch.Tensor
    response_mask: torch.Tensor
    token_level_rewards: torch.Tensor
    index: np.ndarray


def jagged(rows):
    return nested_tensor(rows, layout=torch.jagged)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return Qwen2ForCausalLM(config).float()


@pytest.fixture(scope="module")
def rollouts(tokenizer, model):
    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    prompts = [torch.tensor(encode(PROMPTS[row // 4])) for row in range(8)]
    responses, masks = [], []
    for turns in ROLLOUTS:
        ids = [[*encode(text), tokenizer.eos_token_id] for text in turns]
        responses.append(torch.tensor([token for turn in ids for token in turn]))
        masks.append(torch.tensor([1 - place % 2 for place, turn in enumerate(ids) for _ in turn]))
    nested = TensorDict(
        {
            "prompts": jagged(prompts),
            "responses": jagged(responses),
            "input_ids": jagged([torch.cat(pair) for pair in zip(prompts, responses, strict=True)]),
            "response_mask": jagged(masks),
        },
        batch_size=8,
    )
    with torch.no_grad():
        log_probs = log_probs_of(model, nested["input_ids"]).unbind()
    old = [row[-len(ids) - 1 : -1] for row, ids in zip(log_probs, responses, strict=True)]
    shift = torch.tensor(SHIFTS)
    nested["old_log_probs"] = jagged([row - shift[torch.arange(len(row)) % len(SHIFTS)] for row in old])
    padded = nested.select("responses", "response_mask").to_padded_tensor()
    rewards = torch.zeros(padded["responses"].shape)
    rewards[:, 0] = torch.tensor(SCORES)
    return Rollouts(nested, padded["responses"], padded["response_mask"], rewards, np.array(["a"] * 4 + ["b"] * 4))


def log_probs_of(model, input_ids):
    """Nested log-probabilities as verl's engine returns them: at each position that of the token after it."""
    rows = input_ids.unbind()
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attention = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    everywhere = model(input_ids=padded, attention_mask=attention).logits.log_softmax(dim=-1)
    following = [everywhere[i, range(len(row)), row.roll(-1)] for i, row in enumerate(rows)]
    return torch.nested.nested_tensor_from_jagged(torch.cat(following), input_ids.offsets())


@pytest.fixture(scope="module")
def weights(tokenizer, rollouts):
    regions = RegionTagger(tokenizer, get_format("rlla"))(rollouts.responses, rollouts.response_mask)
    assert set(regions.unique().tolist()) == set(Region)
    return TokenWeighting(RestConfig(), total_steps=100)(StepBatch(STEP, TaggedBatch(regions, rollouts.response_mask)))


def gradient(model, rollouts, fields, loss_mode, micro_batch_size):
    """Gradient of verl's actor loss over one mini-batch, as verl's engine accumulates it; and the loss's metrics."""
    data = rollouts.nested.clone()
    for name, values in fields.items():
        data[name] = response_to_nested(values, data["response_mask"])
    tu.assign_non_tensor(
        data,
        dp_size=1,
        batch_num_tokens=int(rollouts.response_mask.sum()),
        global_batch_size=8,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=micro_batch_size,
    )
    actor = ActorConfig(
        strategy="fsdp2",
        rollout_n=4,
        ppo_micro_batch_size_per_gpu=micro_batch_size,
        policy_loss=PolicyLossConfig(loss_mode=loss_mode),
    )
    model.zero_grad()
    metrics = []
    micro_batches, _ = prepare_micro_batches(data)
    for micro_batch in micro_batches:
        output = {"log_probs": log_probs_of(model, micro_batch["input_ids"])}
        loss, found = ppo_loss(actor, output, micro_batch)
        loss.backward()
        metrics.append(found)
    assert len(metrics) == 8 // micro_batch_size
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), metrics


def in_advantage(rollouts, weights):
    advantages, _ = compute_rest_advantage(
        token_level_rewards=rollouts.token_level_rewards,
        response_mask=rollouts.response_mask,
        index=rollouts.index,
        token_weights=weights,
    )
    return {"advantages": advantages}


def in_loss(rollouts, weights):
    advantages, _ = compute_grpo_outcome_advantage(
        rollouts.token_level_rewards, rollouts.response_mask, rollouts.index
    )
    return {"advantages": advantages, "rollout_is_weights": weights}


@pytest.fixture(scope="module")
def reference(model, rollouts, weights):
    """Weighted advantages under verl's own loss, the whole mini-batch at once."""
    return gradient(model, rollouts, in_advantage(rollouts, weights), "vanilla", 8)[0]


def difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 8])
@pytest.mark.parametrize(("fields", "loss_mode"), [(in_advantage, "vanilla"), (in_loss, "rest")])
def test_both_places_and_every_split_give_one_gradient(
    model, rollouts, weights, reference, fields, loss_mode, micro_batch_size
):
    found, _ = gradient(model, rollouts, fields(rollouts, weights), loss_mode, micro_batch_size)
    assert float(reference.abs().max()) > 0
    assert difference(found, reference) < 1e-5


def test_some_tokens_are_clipped_on_each_side_and_some_are_not(model, rollouts, weights):
    _, (metrics,) = gradient(model, rollouts, in_loss(rollouts, weights), "rest", 8)
    values = {name: metric.values[0] for name, metric in metrics.items()}
    assert 0.1 < values["actor/pg_clipfrac"] < 0.9
    assert 0.01 < values["actor/pg_clipfrac_lower"] < 0.9
    assert 0.1 < values["actor/rest/pg_clipfrac"] < 0.9
    assert values["actor/rest/pg_clipfrac"] != pytest.approx(values["actor/pg_clipfrac"], abs=1e-3)


def test_the_weights_change_the_gradient(model, rollouts, weights, reference):
    plain, _ = gradient(model, rollouts, in_advantage(rollouts, torch.ones_like(weights)), "vanilla", 8)
    assert difference(plain, reference) > 0.05


def test_what_a_tool_wrote_has_no_gradient(model, rollouts, weights, reference):
    assert (rollouts.nested["response_mask"].values() == 0).any()
    masked = rollouts.response_mask == 0
    fields = in_loss(rollouts, weights)
    fields["advantages"] = fields["advantages"].masked_fill(masked, 7.0)
    fields["rollout_is_weights"] = weights.masked_fill(masked, 7.0)
    found, _ = gradient(model, rollouts, fields, "rest", 4)
    assert difference(found, reference) < 1e-5

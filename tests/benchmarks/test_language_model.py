"""The gradients of benchmarks/pretrained.py: against autograd of the whole loss, and kept by their projection."""

import json

import numpy as np
import pretrained
import pytest
import torch
from evidence.language_model import GRPO, REGIONS, SCHEMES, Sketch, credit_of, gradients
from evidence.loop import draw
from evidence.noise import inner_products
from evidence.policy import group_advantages, policy_loss, response_log_probs

from rest_verl.bfcl.data.single_turn import bfcl_rows


@pytest.fixture
def rollouts(start):
    torch.manual_seed(0)
    model = start.new_model()
    return model, draw(model, start, start.train[:2], 4, 16, greedy=False)


def test_gradients_are_those_of_the_policy_loss(rollouts):
    """On the policy that sampled, the surrogate's gradient is that of -advantage * log-prob, averaged over tokens."""
    model, drawn = rollouts
    advantages = group_advantages(torch.arange(8.0).remainder(3), drawn.group)
    model.requires_grad_(False)
    for layer in model.model.layers[-1:]:
        layer.requires_grad_(True)
    parameters = [one for one in model.parameters() if one.requires_grad]
    loss = policy_loss(drawn, response_log_probs(model, drawn), advantages, drawn.response_mask.float())
    expected = torch.autograd.grad(loss, parameters)
    [found] = gradients(model, drawn, (advantages[:, None] * drawn.response_mask)[None])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_projection_keeps_inner_products():
    """Of 5,000 parameters in 262,144 buckets some 48 pairs meet; what they add is random."""
    torch.manual_seed(0)
    first, second = ([torch.randn(50, 60), torch.randn(2000)] for _ in range(2))
    sketch = Sketch(first)
    whole = [torch.cat([part.flatten() for part in one]) for one in (first, second)]
    kept = [sketch(one) for one in (first, second)]
    assert float(kept[0] @ kept[0]) == pytest.approx(float(whole[0] @ whole[0]), rel=0.03)
    assert float(kept[0] @ kept[1]) == pytest.approx(float(whole[0] @ whole[1]), abs=0.03 * 5000)


def test_regions_add_up_to_the_whole_and_twins_are_equal():
    """GRPO has a signal of 1 in its first region and noise elsewhere; `paper` is twice GRPO, so that all its ratios of
    signal to noise are 1 and its variance is 4."""
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(12):
        parts = rng.normal(size=(2 * len(REGIONS), 64)).astype(np.float32) / 8
        parts[0, :8] += 1
        parts[len(REGIONS) :] = parts[: len(REGIONS)]
        whole = parts[: len(REGIONS)].sum(axis=0)
        kept.append(pretrained.with_sums(np.concatenate([parts, [2 * whole, -whole]])))
    found = pretrained.gradients_found(inner_products(kept))
    assert list(found["schemes"]) == list(SCHEMES)
    for name in (GRPO, "credit", "paper"):
        one = found["schemes"][name]
        assert one["snr"]["estimate"] == pytest.approx(1) and one["efficiency"]["estimate"] == pytest.approx(1)
        assert one["trace"]["estimate"] == pytest.approx(4 if name == "paper" else 1)
    assert found["schemes"]["entropy_adaptive"]["efficiency"]["estimate"] == pytest.approx(-1)
    assert found["regions"][REGIONS[0]][GRPO]["low"] > found["regions"][REGIONS[1]][GRPO]["estimate"]
    assert sum(one["share"]["estimate"] for one in found["regions"].values()) == pytest.approx(1, abs=0.2)


def test_order_and_means_of_given_texts():
    """Three texts with one token a region: the names are surer than the format, so the paper's order does not hold."""
    nats = dict(zip(REGIONS, (0.0, 2.0, 0.0, 1.0, 1.5, 0.5), strict=True))
    texts = [{"tokens": [1.0] * 6, "entropy": [value + shift for value in nats.values()]} for shift in (0.0, 0.1, 0.2)]
    found = pretrained.entropies_found(texts)
    assert found["order"] == "does not hold"
    assert found["regions"]["think"]["estimate"] == pytest.approx(2.1) and found["regions"]["think"]["tokens"] == 3


def test_a_right_call_earns_more_than_a_wrong_one_of_its_group(start, rollouts):
    pytest.importorskip("bfcl_eval")
    _, drawn = rollouts
    [row] = bfcl_rows(["simple_python"], "rlla")[:1]
    answer = json.loads(row["reward_model"]["ground_truth"])["answer"]
    texts = [answer, answer.replace("10", "11"), answer, answer]
    ids = [start.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    width = max(map(len, ids))
    padded = torch.tensor([one + [start.tokenizer.pad_token_id] * (width - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids])
    here = type(drawn)(**(vars(drawn) | {"responses": padded, "response_mask": mask}))
    scored, credit = credit_of(start.tokenizer, "rlla", [row], here)
    assert scored[0]["acc"] == 1 and scored[1]["acc"] == 0
    assert credit[0].min() >= 0 and credit[1].min() < 0 and bool((credit[mask == 0] == 0).all())

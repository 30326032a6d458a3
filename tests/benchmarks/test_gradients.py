from dataclasses import replace

import numpy as np
import pytest
import torch
from evidence.gradients import (
    SCHEMES,
    UNIFORM,
    VECTORS,
    Policy,
    region_masks,
    sample_gradients,
    scheme_settings,
    scheme_weights,
    squared_weights,
)
from evidence.loop import Plan, Scorer, draw
from evidence.policy import policy_loss, response_log_probs

from rest_verl.core.regions import Region, TaggedBatch

PLAN = Plan(n=3, max_tokens=16)


@pytest.fixture(scope="module")
def policy(start):
    return Policy(replace(start, train=[], validation=[]), start.train[:2], 0, PLAN, scheme_settings(PLAN.steps))


@pytest.fixture
def rollouts(policy):
    torch.manual_seed(5)
    return draw(policy.start.new_model(), policy.start, policy.rows, PLAN.n, PLAN.max_tokens)


def gradient_of_the_loss(model, rollouts, advantages, weights):
    model.zero_grad()
    policy_loss(rollouts, response_log_probs(model, rollouts), advantages, weights).backward()
    return torch.cat([part.grad.flatten() for part in model.parameters()]).numpy()


def test_a_batch_has_the_gradient_of_each_scheme_and_region(policy, rollouts, monkeypatch, one_thread):
    scores = [1.0, 0.0, 2.0, -1.0, 3.0, 0.5]  # the model knows nothing: all its responses would score alike
    monkeypatch.setattr(Scorer, "components", lambda *_: [{"score": score, "acc": score > 1} for score in scores])
    first, again, other = sample_gradients(policy, [5, 5, 6])
    np.testing.assert_array_equal(first.gradients, again.gradients)
    assert not np.array_equal(first.gradients, other.gradients)
    assert first.gradients.shape[0] == len(VECTORS) and first.accuracy == pytest.approx(1 / 3)
    # by the long way: the same rollouts, one scheme at a time
    group = torch.tensor(scores).view(2, 3)
    advantages = ((group - group.mean(1, keepdim=True)) / (group.std(1, keepdim=True) + 1e-6)).flatten()
    tagged, model = Scorer(policy.start, policy.settings[UNIFORM]).tagged(rollouts), policy.start.new_model()
    for gradient, weights in zip(first.gradients, scheme_weights(policy, tagged, rollouts), strict=False):
        expected = gradient_of_the_loss(model, rollouts, advantages, weights)
        np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())
    mask, parts = rollouts.response_mask.bool(), first.gradients[len(SCHEMES) :]
    np.testing.assert_allclose(parts.sum(axis=0), first.gradients[0], atol=1e-6 * np.abs(first.gradients[0]).max())
    assert first.tokens.sum() == mask.sum()
    assert first.entropy.sum() == pytest.approx(float(rollouts.entropy[mask].sum()), rel=1e-5)
    assert first.variance.sum() == pytest.approx(float((1 - rollouts.sum_pi_squared[mask]).sum()), rel=1e-5)


def test_schemes_share_totals_and_reward_and_differ_in_weights(policy, rollouts):
    regions = torch.randint(0, len(Region), rollouts.responses.shape, generator=torch.Generator().manual_seed(1))
    weights = scheme_weights(policy, TaggedBatch(regions.to(torch.int8), rollouts.response_mask), rollouts)
    # up to floor and cap, which act after the normalisation
    assert weights.sum(dim=(1, 2)).tolist() == pytest.approx(
        [float(rollouts.response_mask.sum())] * len(SCHEMES), 0.02
    )
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    settings = policy.settings
    assert [settings[name].scheme for name in SCHEMES] == ["uniform", "paper", "entropy", "token", "token"]
    assert settings["token_low"].alpha == -settings["token_high"].alpha > 0
    assert all(one.reward == settings[UNIFORM].reward for one in settings.values())


def test_squares_of_weights_are_those_of_a_sum_by_hand():
    think, name = int(Region.THINK), int(Region.NAME)
    regions, mask = torch.tensor([[think, name, 0], [think, think, 0]]), torch.tensor([[1, 1, 0], [1, 1, 0]])
    weights = torch.tensor([[[1.0, 3.0, 0.0], [2.0, 0.0, 0.0]]])
    variance = torch.tensor([[0.5, 0.1, 0.0], [0.25, 0.9, 0.0]])
    parts = region_masks(TaggedBatch(regions.to(torch.int8), mask))
    found = squared_weights(weights, torch.tensor([2.0, -1.0]), variance, parts)
    # w^2 A^2 and w^2 A^2 V of the three tokens with weight, over 4 tokens squared
    np.testing.assert_allclose(found[:, 0, think] * 16, [4 + 4, 2.0 + 1.0], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0, name] * 16, [36, 3.6], rtol=1e-6)
    assert found[:, 0].sum() == pytest.approx(found[:, 0, [think, name]].sum())

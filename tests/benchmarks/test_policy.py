"""The in-process policy: its rollouts against the model's own distribution, its update against verl's functions, and
the gradients of a batch under each scheme."""

from dataclasses import replace
from functools import wraps

import numpy as np
import pytest
import torch
from evidence import policy
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
from evidence.loop import Plan, Scorer, batches, draw, train
from evidence.policy import policy_loss, response_log_probs
from evidence.variants import VARIANTS, composed
from hypothesis import given, settings
from hypothesis import strategies as st
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, compute_policy_loss_vanilla
from verl.workers.config import ActorConfig, FSDPOptimizerConfig
from verl.workers.config.optimizer import build_optimizer

from rest_verl.config.rest import load
from rest_verl.core.regions import Region, TaggedBatch

ROWS, TOKENS = 6, 5
RUN = Plan(steps=2, prompts=2, n=4, max_tokens=16, validate_every=1, validation_rows=4)


def drawn(start, n=3, seed=0, max_tokens=24, prompts=4, model=None):
    torch.manual_seed(seed or 0)
    return draw(model or start.new_model(), start, start.train[:prompts], n, max_tokens, greedy=seed is None)


@pytest.fixture(scope="module")
def actor():
    """verl's defaults for an actor."""
    return ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)


@pytest.fixture
def ends_often(start, monkeypatch):
    """The start's model with an end of turn about once in four tokens."""
    model = start.new_model()
    eos, forward = start.tokenizer.eos_token_id, model.forward

    @wraps(forward)  # whose signature `generate` reads
    def more_ends(*args, **kwargs):
        out = forward(*args, **kwargs)
        logits = out.logits.clone()
        logits[..., eos] = logits.logsumexp(dim=-1) - 1.1
        out.logits = logits
        return out

    monkeypatch.setattr(model, "forward", more_ends)
    return model


def test_responses_end_at_their_end_of_turn(start, ends_often):
    eos, pad = start.tokenizer.eos_token_id, start.tokenizer.pad_token_id
    batch = drawn(start, n=4, prompts=8, model=ends_often)
    lengths = batch.response_mask.sum(dim=-1)
    assert lengths.min() < 4 and len(lengths.unique()) > 3
    for ids, mask, length in zip(batch.responses, batch.response_mask, lengths, strict=True):
        assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
        assert (ids[length:] == pad).all() and not (ids[: length - 1] == eos).any()
        assert ids[length - 1] == eos or length == 24
    torch.testing.assert_close(response_log_probs(ends_often, batch), batch.log_probs, atol=1e-4, rtol=1e-4)


def test_entropy_and_squares_are_those_of_the_distribution(start):
    batch = drawn(start)
    ids = torch.cat([batch.prompts, batch.responses], dim=1)
    mask = torch.cat([batch.prompt_mask, batch.response_mask], dim=1)
    logits = start.new_model()(ids, attention_mask=mask, position_ids=policy.positions_of(mask)).logits
    p = logits[:, batch.prompts.shape[1] - 1 : -1].softmax(dim=-1)
    entropy = torch.distributions.Categorical(p).entropy() * batch.response_mask
    torch.testing.assert_close(batch.entropy, entropy, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.sum_pi_squared, p.square().sum(-1) * batch.response_mask, atol=1e-4, rtol=1e-4)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 3.0]))
def test_the_surrogate_is_verls_with_weights_in_its_channel(actor, seed, how_far):
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(ROWS, TOKENS, generator=generator)
    new = (old + how_far * torch.randn(old.shape, generator=generator)).requires_grad_()
    advantages = torch.randn(ROWS, 1, generator=generator).expand(ROWS, TOKENS)
    mask = torch.rand(ROWS, TOKENS, generator=generator) < 0.7
    mask[0, 0] = True
    weights = 2 * torch.rand(ROWS, TOKENS, generator=generator) * mask
    theirs, _ = compute_policy_loss_vanilla(old, new, advantages, mask, "token-mean", actor, weights)
    ours = policy.surrogate(new, old, advantages[:, :1], weights).sum() / mask.sum()
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, new, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_advantages_are_verls_group_relative_ones():
    scores, group = torch.tensor([1.0, 4.0, 2.5, 2.5, -3.0, 0.0]), torch.tensor([0, 0, 1, 1, 2, 2])
    mask, rewards = torch.ones(ROWS, TOKENS), torch.zeros(ROWS, TOKENS)
    rewards[:, -1] = scores
    theirs, _ = compute_grpo_outcome_advantage(rewards, mask, group.numpy())
    torch.testing.assert_close(policy.group_advantages(scores, group)[:, None] * mask, theirs)


def test_clipping_and_optimiser_are_verls_defaults(actor):
    model = torch.nn.Linear(2, 2)
    ours = policy.new_optimizer(model, 1e-3).param_groups[0]
    theirs = build_optimizer(model.parameters(), FSDPOptimizerConfig(lr=1e-3)).param_groups[0]
    shared = ours.keys() & theirs.keys() - {"params"}
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert FSDPOptimizerConfig(lr=1e-3).clip_grad == policy.MAX_GRAD_NORM
    assert (actor.clip_ratio, actor.clip_ratio_c) == (policy.CLIP, policy.DUAL_CLIP)


def test_an_update_makes_the_better_response_likelier(start):
    model, rollouts = start.new_model(), drawn(start, n=4, prompts=1, max_tokens=12)
    advantages = policy.group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), rollouts.group)
    optimizer = policy.new_optimizer(model, 1e-3)
    policy.update(model, optimizer, rollouts, advantages, rollouts.response_mask.float())
    change = (response_log_probs(model, rollouts).sum(-1) - rollouts.log_probs.sum(-1)).tolist()
    assert change[0] > 0 and change[0] > max(change[1:])


def test_a_seed_decides_a_run_and_it_validates_as_planned(start, monkeypatch, one_thread):
    def by_ids(self, rollouts, rows, step):  # the model knows nothing: all its responses would score alike
        return [{"score": float(ids.sum() % 7), "acc": 0.0} for ids in rollouts.responses]

    monkeypatch.setattr(Scorer, "components", by_ids)
    called, settings = [], load(composed(VARIANTS["entropy"], RUN.steps))
    runs = [train(start, settings, RUN, seed, on_step=lambda step, _: called.append(step)) for seed in (0, 0, 1)]
    states = [torch.cat([value.flatten() for value in model.state_dict().values()]) for model, *_ in runs]
    assert torch.equal(states[0], states[1]) and runs[0][1:] == runs[1][1:]
    assert not torch.equal(states[0], states[2])
    assert [validation.step for validation in runs[0][1]] == [0, 1, 2]
    assert called == [1, 2] * 3 and len(runs[0][2]) == 2


def test_the_right_response_scores_best_and_is_exact(start):
    rows = start.train[:6]
    scorer = Scorer(start, load(composed(VARIANTS["entropy"], RUN.steps)))

    def components(texts):
        prompts, prompt_mask = policy.pad_left([start.prompt_ids(row) for row in rows], 0)
        ids = [[*start.tokenizer.encode(text), start.tokenizer.eos_token_id] for text in texts]
        responses = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in ids], batch_first=True)
        mask = torch.tensor([[1] * len(one) + [0] * (responses.shape[1] - len(one)) for one in ids])
        group, zeros = torch.arange(len(rows)), torch.zeros(responses.shape)
        written = policy.Rollouts(prompts, prompt_mask, responses, mask, group, zeros, zeros, zeros)
        return scorer.components(written, rows, 1)

    best = components([row["reward_model"]["ground_truth"] for row in rows])
    worse = components(["no tags"] * 6)
    assert [found["acc"] for found in best + worse] == [1.0] * 6 + [0.0] * 6
    assert all(one["score"] > other["score"] for one, other in zip(best, worse, strict=True))


def test_every_row_of_an_epoch_comes_once():
    order = batches(list(range(10)), 3, seed=0)
    first = [next(order) for _ in range(3)]
    assert len({row for batch in first for row in batch}) == 9
    assert [next(order) for _ in range(3)] != first


BATCH = Plan(n=3, max_tokens=16)


@pytest.fixture(scope="module")
def asked(start):
    return Policy(replace(start, train=[], validation=[]), start.train[:2], 0, BATCH, scheme_settings(BATCH.steps))


@pytest.fixture
def rollouts(asked):
    torch.manual_seed(5)
    return draw(asked.start.new_model(), asked.start, asked.rows, BATCH.n, BATCH.max_tokens)


def gradient_of_the_loss(model, rollouts, advantages, weights):
    model.zero_grad()
    policy_loss(rollouts, response_log_probs(model, rollouts), advantages, weights).backward()
    return torch.cat([part.grad.flatten() for part in model.parameters()]).numpy()


def test_a_batch_has_the_gradient_of_each_scheme_and_region(asked, rollouts, monkeypatch, one_thread):
    scores = [1.0, 0.0, 2.0, -1.0, 3.0, 0.5]  # the model knows nothing: all its responses would score alike
    monkeypatch.setattr(Scorer, "components", lambda *_: [{"score": score, "acc": score > 1} for score in scores])
    first, again, other = sample_gradients(asked, [5, 5, 6])
    np.testing.assert_array_equal(first.gradients, again.gradients)
    assert not np.array_equal(first.gradients, other.gradients)
    assert first.gradients.shape[0] == len(VECTORS) and first.accuracy == pytest.approx(1 / 3)
    # by the long way: the same rollouts, one scheme at a time
    group = torch.tensor(scores).view(2, 3)
    advantages = ((group - group.mean(1, keepdim=True)) / (group.std(1, keepdim=True) + 1e-6)).flatten()
    tagged, model = Scorer(asked.start, asked.settings[UNIFORM]).tagged(rollouts), asked.start.new_model()
    for gradient, weights in zip(first.gradients, scheme_weights(asked, tagged, rollouts), strict=False):
        expected = gradient_of_the_loss(model, rollouts, advantages, weights)
        np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())
    mask, parts = rollouts.response_mask.bool(), first.gradients[len(SCHEMES) :]
    np.testing.assert_allclose(parts.sum(axis=0), first.gradients[0], atol=1e-6 * np.abs(first.gradients[0]).max())
    assert first.tokens.sum() == mask.sum()
    assert first.entropy.sum() == pytest.approx(float(rollouts.entropy[mask].sum()), rel=1e-5)
    assert first.variance.sum() == pytest.approx(float((1 - rollouts.sum_pi_squared[mask]).sum()), rel=1e-5)


def test_schemes_share_totals_and_reward_and_differ_in_weights(asked, rollouts):
    regions = torch.randint(0, len(Region), rollouts.responses.shape, generator=torch.Generator().manual_seed(1))
    weights = scheme_weights(asked, TaggedBatch(regions.to(torch.int8), rollouts.response_mask), rollouts)
    # up to floor and cap, which act after the normalisation
    assert weights.sum(dim=(1, 2)).tolist() == pytest.approx(
        [float(rollouts.response_mask.sum())] * len(SCHEMES), 0.02
    )
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    settings = asked.settings
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

"""The in-process update against verl's own functions."""

import pytest
import torch
from evidence import update
from hypothesis import given, settings
from hypothesis import strategies as st
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, compute_policy_loss_vanilla
from verl.workers.config import ActorConfig, FSDPOptimizerConfig
from verl.workers.config.optimizer import build_optimizer

ROWS, TOKENS = 6, 5


@pytest.fixture(scope="module")
def actor():
    """verl's defaults for an actor."""
    return ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 3.0]))
def test_the_surrogate_is_verls_with_the_weights_in_verls_channel(actor, seed, how_far):
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(ROWS, TOKENS, generator=generator)
    new = (old + how_far * torch.randn(old.shape, generator=generator)).requires_grad_()
    advantages = torch.randn(ROWS, 1, generator=generator).expand(ROWS, TOKENS)
    mask = torch.rand(ROWS, TOKENS, generator=generator) < 0.7
    mask[0, 0] = True
    weights = 2 * torch.rand(ROWS, TOKENS, generator=generator) * mask
    theirs, _ = compute_policy_loss_vanilla(old, new, advantages, mask, "token-mean", actor, weights)
    ours = update.surrogate(new, old, advantages[:, :1], weights).sum() / mask.sum()
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, new, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_advantages_are_verls_group_relative_ones():
    scores, group = torch.tensor([1.0, 4.0, 2.5, 2.5, -3.0, 0.0]), torch.tensor([0, 0, 1, 1, 2, 2])
    mask = torch.ones(ROWS, TOKENS)
    rewards = torch.zeros(ROWS, TOKENS)
    rewards[:, -1] = scores
    theirs, _ = compute_grpo_outcome_advantage(rewards, mask, group.numpy())
    torch.testing.assert_close(update.group_advantages(scores, group)[:, None] * mask, theirs)


def test_clipping_and_optimiser_are_verls_defaults(actor):
    model = torch.nn.Linear(2, 2)
    ours = update.new_optimizer(model, 1e-3).param_groups[0]
    theirs = build_optimizer(model.parameters(), FSDPOptimizerConfig(lr=1e-3)).param_groups[0]
    shared = ours.keys() & theirs.keys() - {"params"}
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert FSDPOptimizerConfig(lr=1e-3).clip_grad == update.MAX_GRAD_NORM
    assert (actor.clip_ratio, actor.clip_ratio_c) == (update.CLIP, update.DUAL_CLIP)

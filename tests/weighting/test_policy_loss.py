"""The policy loss `rest`, by hand."""

from math import log

import pytest
import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import ActorConfig

from rest_verl.weighting.policy_loss import compute_policy_loss_rest


def actor(**settings):
    return ActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **settings)


# Five tokens of one row; the last one was written by a tool. verl clips at 0.2; negative advantages beyond ratio 3.
RATIOS = [1.5, 1.1, 0.5, 4.0, 7.0]
ADVANTAGES = torch.tensor([[2.0, 2.0, -1.0, -1.0, 5.0]])
MASK = torch.tensor([[True, True, True, True, False]])
WEIGHTS = torch.tensor([[2.0, 0.5, 1.0, 0.25, 3.0]])
LOG_PROB = torch.tensor([[-0.5, -1.0, -1.5, -2.0, -3.0]])
OLD_LOG_PROB = LOG_PROB - torch.tensor([RATIOS]).log()
# -2 x 1.2 (clipped), -2 x 1.1, +1 x 0.8 (clipped), +1 x 3 (dual clip)
SURROGATE = [-2.4, -2.2, 0.8, 3.0]


def loss_and_metrics(**settings):
    return compute_policy_loss_rest(
        OLD_LOG_PROB, LOG_PROB, ADVANTAGES, MASK, "token-mean", actor(**settings), rollout_is_weights=WEIGHTS
    )


def test_the_loss_is_registered_by_its_name():
    assert get_policy_loss_fn("rest") is compute_policy_loss_rest


def test_each_token_is_weighted_after_clipping():
    loss, _ = loss_and_metrics()
    expected = (2.0 * -2.4 + 0.5 * -2.2 + 1.0 * 0.8 + 0.25 * 3.0) / 4
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_the_weight_where_nothing_is_clipped_and_zero_where_it_is():
    log_prob = LOG_PROB.clone().requires_grad_()
    loss, _ = compute_policy_loss_rest(
        OLD_LOG_PROB, log_prob, ADVANTAGES, MASK, "token-mean", actor(), rollout_is_weights=WEIGHTS
    )
    loss.backward()
    # d/d log p of -w A r / 4 at the one token that is not clipped.
    torch.testing.assert_close(log_prob.grad, torch.tensor([[0.0, -0.5 * 2.0 * 1.1 / 4, 0.0, 0.0, 0.0]]))


def test_metrics_count_weight_instead_of_tokens():
    _, metrics = loss_and_metrics()
    total = 2.0 + 0.5 + 1.0 + 0.25
    assert metrics["actor/rest/pg_clipfrac"] == pytest.approx((2.0 + 1.0) / total, rel=1e-6)
    divergence = 2.0 * log(1.5) + 0.5 * log(1.1) + log(0.5) + 0.25 * log(4.0)
    assert metrics["actor/rest/ppo_kl"] == pytest.approx(-divergence / total, rel=1e-5)
    assert metrics["actor/pg_clipfrac"] == pytest.approx(2 / 4)


def test_clip_bounds_may_differ_by_side():
    loss, metrics = loss_and_metrics(clip_ratio_low=0.6, clip_ratio_high=0.05)
    assert float(loss) == pytest.approx((2.0 * -2.1 + 0.5 * -2.1 + 1.0 * 0.5 + 0.25 * 3.0) / 4, rel=1e-6)
    assert metrics["actor/rest/pg_clipfrac"] == pytest.approx(2.5 / 3.75, rel=1e-6)


def test_weights_of_one_give_verls_own_loss():
    arguments = (OLD_LOG_PROB, LOG_PROB, ADVANTAGES, MASK, "token-mean", actor())
    loss, metrics = compute_policy_loss_rest(*arguments, rollout_is_weights=torch.ones_like(WEIGHTS))
    vanilla, vanilla_metrics = get_policy_loss_fn("vanilla")(*arguments)
    assert torch.equal(loss, vanilla)
    assert {key: metrics[key] for key in vanilla_metrics} == vanilla_metrics
    assert metrics["actor/rest/pg_clipfrac"] == pytest.approx(metrics["actor/pg_clipfrac"])
    assert metrics["actor/rest/ppo_kl"] == pytest.approx(metrics["actor/ppo_kl"])


def test_a_batch_without_weight_has_loss_and_metrics_zero():
    loss, metrics = compute_policy_loss_rest(
        OLD_LOG_PROB, LOG_PROB, ADVANTAGES, MASK, "token-mean", actor(), rollout_is_weights=torch.zeros_like(WEIGHTS)
    )
    assert float(loss) == 0.0
    assert (metrics["actor/rest/pg_clipfrac"], metrics["actor/rest/ppo_kl"]) == (0.0, 0.0)


def test_without_weights_the_error_names_the_overrides():
    with pytest.raises(RuntimeError, match=r"loss_mode=rest got no token weights.*rest\.apply_in=loss"):
        compute_policy_loss_rest(OLD_LOG_PROB, LOG_PROB, ADVANTAGES, MASK, "token-mean", actor())

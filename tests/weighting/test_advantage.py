"""Where weights act: the advantage estimator `rest`, with `rest.credit=turn` from the rows of a batch to its tokens,
and the policy loss `rest`, by hand."""

from math import log

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from verl import DataProto
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, get_adv_estimator_fn, get_policy_loss_fn
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from verl.workers.config import ActorConfig

from rest_verl.plugin.run_checks import NOT_IN_V1
from rest_verl.weighting.advantage import compute_rest_advantage, reshape_advantages
from rest_verl.weighting.credit import (
    EVENTS,
    credit_advantages,
    credit_metrics,
    event_places,
    trajectories_of,
    write_events,
)
from rest_verl.weighting.policy_loss import compute_policy_loss_rest

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
GROUPS = np.array(["a", "a", "b", "b"], dtype=object)
WEIGHTS = torch.tensor([[2.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 2.0], [1.0, 1.0, 0.0, 0.0], [0.25, 0.5, 1.0, 2.25]])


def rewards(*scores):
    """Token-level rewards, on the last token of each row."""
    values = torch.zeros(len(scores), 4)
    values[:, -1] = torch.tensor(scores)
    return values


def test_the_estimator_is_registered_by_its_name():
    assert get_adv_estimator_fn("rest") is compute_rest_advantage


def test_advantages_are_those_of_grpo_times_the_weights_and_returns_are_not():
    # Groups (3, 1) and (-2, 2): mean 2 and 0, standard deviation sqrt(2) and sqrt(8).
    advantages, returns = compute_rest_advantage(
        token_level_rewards=rewards(3.0, 1.0, -2.0, 2.0),
        response_mask=MASK,
        index=GROUPS,
        token_weights=WEIGHTS,
    )
    scores = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]]) / 2**0.5
    torch.testing.assert_close(returns, scores * MASK, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(advantages, scores * MASK * WEIGHTS, rtol=1e-5, atol=1e-6)


def test_weights_of_one_leave_grpo_as_it_is():
    arguments = {"token_level_rewards": rewards(3.0, 1.0, -2.0, 2.0), "response_mask": MASK, "index": GROUPS}
    plain, _ = get_adv_estimator_fn("grpo")(**arguments)
    weighted, _ = compute_rest_advantage(**arguments, token_weights=torch.ones(4, 4))
    assert torch.equal(weighted, plain)


@pytest.mark.parametrize("base", ["rloo", "reinforce_plus_plus_baseline"])
def test_any_other_estimator_can_be_reshaped(base):
    arguments = {
        "token_level_rewards": rewards(3.0, 1.0, -2.0, 2.0),
        "response_mask": MASK,
        "index": GROUPS,
        "config": None,
    }
    plain, plain_returns = get_adv_estimator_fn(base)(**arguments)
    weighted, returns = compute_rest_advantage(**arguments, token_weights=WEIGHTS, base_estimator=base)
    assert torch.equal(weighted, plain * WEIGHTS)
    assert torch.equal(returns, plain_returns)


@pytest.mark.parametrize("base", sorted(set(ADV_ESTIMATOR_REGISTRY) - {"rest"}))
def test_the_estimators_that_are_refused_at_start_up_are_those_that_verls_trainer_cannot_feed(base):
    """verl's V1 trainer, on the fields that its `_compute_advantage` reads. `gdpo` is ours there."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        settings = compose("ppo_trainer", ["+algorithm.gdpo_reward_keys=[format]"]).algorithm
    scores = rewards(3.0, 1.0, -2.0, 2.0)
    read = dict.fromkeys(("rollout_log_probs", "old_log_probs", "ref_log_prob", "values"), torch.zeros(4, 4))
    data = DataProto.from_dict(
        tensors={**read, "response_mask": MASK, "token_level_scores": scores, "token_level_rewards": scores},
        non_tensors={"uid": GROUPS},
    )
    given = data, ["a_0_0", "a_1_0", "b_0_0", "b_1_0"], base
    if base in NOT_IN_V1 or base == "gdpo":
        with pytest.raises((AssertionError, KeyError, TypeError), match=r"prompts|sum_pi_squared|reward_baselines"):
            compute_advantage_for_multi_trajectories(*given, config=settings)
    else:
        compute_advantage_for_multi_trajectories(*given, config=settings)
        assert data.batch["advantages"].shape == MASK.shape


def test_without_weights_the_error_names_the_override():
    with pytest.raises(RuntimeError, match=r"Set trainer\.v1\.trainer_mode=rest_sync"):
        compute_rest_advantage(token_level_rewards=rewards(1.0, 0.0, 1.0, 0.0), response_mask=MASK, index=GROUPS)


def test_reshaping_keeps_the_sign_and_removes_what_weighs_nothing():
    reshaped = reshape_advantages(torch.tensor([[1.0, -2.0, 3.0]]), torch.tensor([[0.5, 2.0, 0.0]]))
    assert reshaped.tolist() == [[0.5, -4.0, 0.0]]


def fields(*decided):
    return {"reward_extra_info": {EVENTS: write_events(decided), "acc": 1.0}}


def test_tokens_are_counted_over_what_the_policy_generated():
    """Two user turns in one row, with a tool's text between them; the other trajectory earned nothing anywhere."""
    generated = torch.tensor([[1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]])
    keys, rewards = ["p_0_0", "p_1_0"], torch.tensor([1.0, 0.0])
    groups = trajectories_of(keys, generated, rewards, [fields((1, 1.0), (3, 0.0)), fields()])
    found = credit_advantages(groups, generated, lam=1.0, by_std=False)
    assert found.tolist() == [[1, 1, 0, 0, 0, 0, 0], [-1, -1, -1, 0, 0, 0, 0]]
    assert credit_metrics(groups) == {
        "rest/credit/events": 1.5,
        "rest/credit/decided": 0.5,
        "rest/credit/outcome": 0.0,
    }


def test_rows_of_single_turns_are_one_trajectory():
    """With per_turn, in whatever order verl has them: the last row of a trajectory has its events."""
    generated = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    keys = ["p_0_1", "p_1_0", "p_0_0"]
    extra = [fields((0, 1.0)), fields(), {"reward_extra_info": {}}]
    groups = trajectories_of(keys, generated, torch.tensor([1.0, 0.0, 1.0]), extra)
    assert [one.rows for one in groups[0]] == [[2, 0], [1]]
    found = credit_advantages(groups, generated, lam=1.0, by_std=False)
    assert found.tolist() == [[0, 0, 0], [-1, -1, -1], [1, 0, 0]]


def test_events_are_placed_in_their_rows_and_sum_to_the_score():
    """Tokens of a row count masked ones: the tool's text between the turns. The end has what is left of the score."""
    generated = torch.tensor([[1, 1, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]])
    groups = trajectories_of(
        ["p_0_0", "p_1_0"], generated, torch.tensor([1.5, 0.25]), [fields((1, 1.0), (2, -0.5)), {}]
    )
    assert event_places(groups, generated) == [[(1, 1.0), (4, -0.5), (5, 1.0)], [(2, 0.25)]]


def test_events_of_a_trajectory_lie_in_the_rows_of_its_turns():
    """With per_turn; the second trajectory generated nothing, and has nowhere to place an event."""
    generated = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    extra = [fields((1, 1.0), (3, 2.0)), {}, {"reward_extra_info": {}}]
    groups = trajectories_of(["p_0_1", "p_1_0", "p_0_0"], generated, torch.tensor([3.0, 0.0, 3.0]), extra)
    assert event_places(groups, generated) == [[(1, 2.0)], [], [(2, 1.0)]]


def test_prompts_are_groups_of_their_own():
    keys, generated = ["p_0_0", "q_0_0", "p_1_0", "q_1_0"], torch.ones(4, 1)
    groups = trajectories_of(keys, generated, torch.tensor([1.0, 5.0, 0.0, 3.0]), [{}] * 4)
    assert credit_advantages(groups, generated, 1.0, False)[:, 0].tolist() == [1.0, 2.0, -1.0, -2.0]


def test_an_event_beyond_the_trajectory_is_an_error():
    with pytest.raises(ValueError, match=r"events at tokens \[3\]: they must be in order and from 0 to 2"):
        trajectories_of(["p_0_0"], torch.ones(1, 3), torch.ones(1), [fields((3, 1.0))])


def actor(**settings):
    return ActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **settings)


# Five tokens of one row; the last one was written by a tool. verl clips at 0.2; negative advantages beyond ratio 3.
RATIOS = [1.5, 1.1, 0.5, 4.0, 7.0]
ADVANTAGES = torch.tensor([[2.0, 2.0, -1.0, -1.0, 5.0]])
GENERATED = torch.tensor([[True, True, True, True, False]])
LOSS_WEIGHTS = torch.tensor([[2.0, 0.5, 1.0, 0.25, 3.0]])
LOG_PROB = torch.tensor([[-0.5, -1.0, -1.5, -2.0, -3.0]])
OLD_LOG_PROB = LOG_PROB - torch.tensor([RATIOS]).log()
# -2 x 1.2 (clipped), -2 x 1.1, +1 x 0.8 (clipped), +1 x 3 (dual clip)
SURROGATE = [-2.4, -2.2, 0.8, 3.0]


def loss_and_metrics(**settings):
    return compute_policy_loss_rest(
        OLD_LOG_PROB, LOG_PROB, ADVANTAGES, GENERATED, "token-mean", actor(**settings), rollout_is_weights=LOSS_WEIGHTS
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
        OLD_LOG_PROB, log_prob, ADVANTAGES, GENERATED, "token-mean", actor(), rollout_is_weights=LOSS_WEIGHTS
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
    arguments = (OLD_LOG_PROB, LOG_PROB, ADVANTAGES, GENERATED, "token-mean", actor())
    loss, metrics = compute_policy_loss_rest(*arguments, rollout_is_weights=torch.ones_like(LOSS_WEIGHTS))
    vanilla, vanilla_metrics = get_policy_loss_fn("vanilla")(*arguments)
    assert torch.equal(loss, vanilla)
    assert {key: metrics[key] for key in vanilla_metrics} == vanilla_metrics
    assert metrics["actor/rest/pg_clipfrac"] == pytest.approx(metrics["actor/pg_clipfrac"])
    assert metrics["actor/rest/ppo_kl"] == pytest.approx(metrics["actor/ppo_kl"])


def test_a_batch_without_weight_has_loss_and_metrics_zero():
    loss, metrics = compute_policy_loss_rest(
        OLD_LOG_PROB,
        LOG_PROB,
        ADVANTAGES,
        GENERATED,
        "token-mean",
        actor(),
        rollout_is_weights=torch.zeros_like(LOSS_WEIGHTS),
    )
    assert float(loss) == 0.0
    assert (metrics["actor/rest/pg_clipfrac"], metrics["actor/rest/ppo_kl"]) == (0.0, 0.0)


def test_without_weights_the_error_names_the_overrides():
    with pytest.raises(RuntimeError, match=r"loss_mode=rest got no token weights.*rest\.apply_in=loss"):
        compute_policy_loss_rest(OLD_LOG_PROB, LOG_PROB, ADVANTAGES, GENERATED, "token-mean", actor())

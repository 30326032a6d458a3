"""The advantage estimator `rest`."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from verl import DataProto
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, get_adv_estimator_fn
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from rest_verl.plugin.run_checks import NOT_IN_V1
from rest_verl.weighting.advantage import compute_rest_advantage, reshape_advantages

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

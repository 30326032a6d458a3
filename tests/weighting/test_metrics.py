"""What is logged each step."""

import math

import pytest
import torch

from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.metrics import group_metrics, rename_actor_metrics, reward_metrics, weight_metrics
from rest_verl.weighting.step_batch import StepBatch

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region

REGIONS = torch.tensor([[FORMAT, THINK, THINK, NAME], [OTHER, OTHER, THINK, OTHER], [OTHER] * 4], dtype=torch.int8)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
WEIGHTS = torch.tensor([[1.0, 0.5, 0.5, 2.0], [1.0, 1.0, 0.0, 0.0], [0.0] * 4])
ENTROPY = torch.tensor([[0.25, 1.0, 2.0, 0.5], [3.0, 4.0, 9.0, 9.0], [9.0] * 4])


def test_weights_and_entropy_by_region():
    metrics = weight_metrics(StepBatch(1, TaggedBatch(REGIONS, MASK), ENTROPY, weights=WEIGHTS))
    assert metrics == pytest.approx(
        {
            "rest/tokens/other": 2.0,
            "rest/tokens/think": 2.0,
            "rest/tokens/response": 0.0,
            "rest/tokens/format": 1.0,
            "rest/tokens/args": 0.0,
            "rest/tokens/name": 1.0,
            "rest/weight/other": 1.0,
            "rest/weight/think": 0.5,
            "rest/weight/format": 1.0,
            "rest/weight/name": 2.0,
            "rest/entropy/other": 3.5,
            "rest/entropy/think": 1.5,
            "rest/entropy/format": 0.25,
            "rest/entropy/name": 0.5,
            # Of the two rows with tokens, the second has no tagged one: its only tagged token is masked.
            "rest/rows_untagged": 0.5,
            # (1 + .5 + .5 + 2 + 1 + 1)^2 / (6 (1 + .25 + .25 + 4 + 1 + 1))
            "rest/weight_ess": 36 / (6 * 7.5),
            # ascending .5 .5 1 1 1 2 with ranks -5 -3 -1 1 3 5: (-4 + 3 + 10) / (6 * 6)
            "rest/weight_gini": 9 / 36,
            "rest/weight_max": 2.0,
        }
    )


def test_without_entropy_none_is_logged():
    assert not any(
        "entropy" in key for key in weight_metrics(StepBatch(1, TaggedBatch(REGIONS, MASK), weights=WEIGHTS))
    )


def test_an_empty_batch_is_logged_as_zeros():
    metrics = weight_metrics(
        StepBatch(1, TaggedBatch(REGIONS, torch.zeros_like(MASK)), ENTROPY, weights=torch.zeros(3, 4))
    )
    assert set(metrics.values()) == {0.0}
    assert {"rest/rows_untagged", "rest/weight_ess", "rest/tokens/think"} <= set(metrics)


def test_reward_components_are_averaged_over_trajectories_that_have_them():
    rows = [
        {"reward_extra_info": {"acc": 1.0, "legal": 1, "note": "text"}},
        {"reward_extra_info": {"acc": 0.0}},
        {},
    ]
    expected = {"rest/reward/acc": 0.5, "rest/reward/legal": 1.0, "rest/not_finite/reward": 0.0}
    assert reward_metrics(rows) == expected


def test_groups_without_spread_are_counted_as_shares():
    """Of four groups one is all right, one all wrong though its format differs, one differs, one has no partner."""
    groups = {
        "right": [{"score": 4.0, "format": 1.0, "acc": 1.0}] * 3,
        "wrong": [{"score": 0.0, "format": 0.0, "acc": 0.0}, {"score": 1.0, "format": 1.0, "acc": 0.0}],
        "mixed": [{"score": 4.0, "format": 1.0, "acc": 1.0}, {"score": 1.0, "format": 1.0, "acc": 0.0}],
        "alone": [{"score": 4.0, "format": 1.0, "acc": 1.0}],
    }
    rows = [(uid, {"reward_extra_info": row}) for uid, members in groups.items() for row in members]
    assert group_metrics(*zip(*rows, strict=True)) == {
        "rest/groups/no_spread": 1 / 3,
        "rest/groups/no_spread_in/format": 2 / 3,
        "rest/groups/no_spread_in/acc": 2 / 3,
        "rest/groups/all_right": 1 / 3,
        "rest/groups/all_wrong": 1 / 3,
    }


def test_a_group_with_a_value_missing_or_nan_is_left_out():
    rows = [{"score": 1.0, "acc": 1.0, "note": "x"}, {"score": math.nan}]
    assert group_metrics(["a", "a"], [{"reward_extra_info": row} for row in rows]) == {}
    assert group_metrics(["a", "a"], [{}, {}]) == {}


def test_what_the_agent_loop_counted_is_logged_under_its_own_name():
    logged = reward_metrics([{"reward_extra_info": {"acc": 1.0, "rollout/calls": calls}} for calls in (1.0, 4.0)])
    assert logged == {"rest/reward/acc": 1.0, "rest/rollout/calls": 2.5, "rest/not_finite/reward": 0.0}


def test_what_the_policy_loss_reports_is_logged_beside_the_rest():
    metrics = {"actor/pg_loss": 1.0, "actor/rest/ppo_kl": 2.0, "rest/weight_ess": 3.0}
    rename_actor_metrics(metrics)
    assert metrics == {"actor/pg_loss": 1.0, "rest/ppo_kl": 2.0, "rest/weight_ess": 3.0}

"""GDPO and routing, against numbers worked out by hand and against verl's own function."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage

from rest_verl.core.components import normalised_components, routed_advantages
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.components import Components
from rest_verl.weighting.step_batch import RowKey, StepBatch

ROOT = 0.5**0.5
ALL = torch.ones(2, len(Region), dtype=torch.bool)


def test_each_component_is_normalised_in_its_group():
    """Groups (0, 1) and (2, 3): components 1 and 0 are ±1/sqrt(2) apart from their means in units of the deviation."""
    components = torch.tensor([[1.0, 5.0], [0.0, 5.0], [2.0, 0.0], [6.0, 8.0]])
    found = normalised_components(components, torch.tensor([0, 0, 1, 1]), [1.0, 2.0])
    expected = torch.tensor([[ROOT, 0.0], [-ROOT, 0.0], [-ROOT, -2 * ROOT], [ROOT, 2 * ROOT]])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.1, 0.3, 1000 / 7])
def test_rounding_of_equal_components_is_no_advantage(value):
    """Seven trajectories that score alike: in single precision their mean is not quite their value."""
    regions = torch.zeros(7, 3, dtype=torch.int8)
    extra = [{"reward_extra_info": {"correctness": value, "format": 1.0}}] * 7
    keys = [RowKey("p", session, 0) for session in range(7)]
    batch = StepBatch(1, TaggedBatch(regions, torch.ones(7, 3)), extra_fields=extra, keys=keys)
    found = Components(["correctness", "format"], [1.0, 1.0], {}, by_std=True).advantages(batch)
    assert found.dtype == torch.float32 and found.abs().max() < 1e-5


def test_without_the_deviation_a_component_keeps_its_unit():
    found = normalised_components(torch.tensor([[1.0], [4.0]]), torch.tensor([7, 7]), [0.5], by_std=False)
    assert found.tolist() == [[-0.75], [0.75]]


def test_a_value_that_is_not_finite_leaves_the_others_as_they_are():
    components = torch.tensor([[1.0], [torch.nan], [0.0]])
    found = normalised_components(components, torch.tensor([0, 0, 0]), [1.0])
    torch.testing.assert_close(found, torch.tensor([[ROOT], [0.0], [-ROOT]]), atol=1e-5, rtol=0)


def test_terms_reach_the_regions_of_the_matrix_alone():
    """A = (3, 1) and (-3, -1), two trained tokens each: no mean, variance 4 * 16 / 3."""
    components = torch.tensor([[3.0, 1.0], [-3.0, -1.0]])
    regions = torch.tensor([[Region.NAME, Region.FORMAT, Region.NAME], [Region.FORMAT, Region.THINK, Region.NAME]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    reach = ALL.clone()
    reach[0, Region.FORMAT] = reach[1, Region.NAME] = reach[:, Region.THINK] = False
    scale = (64 / 3) ** -0.5
    expected = torch.tensor([[3.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]) * scale
    torch.testing.assert_close(routed_advantages(components, regions.to(torch.int8), mask, reach), expected)


def test_nothing_to_train_on_has_no_advantage():
    regions = torch.zeros(1, 3, dtype=torch.int8)
    for mask in ([[0, 0, 0]], [[1, 0, 0]]):
        assert not routed_advantages(torch.ones(1, 2), regions, torch.tensor(mask), ALL).any()


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 2), st.integers(1, 4)), min_size=2),
    st.booleans(),
    st.tuples(st.floats(0, 2), st.floats(0, 2)),
)
def test_all_to_all_is_verls_gdpo(rows, by_std, weights):
    """Groups of one included; values rounded, since verl's float32 sums differ from ours in their last bits."""
    values = torch.tensor([[round(first, 1), round(second, 1)] for first, second, *_ in rows])
    groups = torch.tensor([group for _, _, group, _ in rows])
    mask = torch.tensor([[1] * length + [0] * (4 - length) for *_, length in rows])
    if mask.sum() < 2:
        return
    regions = torch.arange(mask.numel()).reshape(mask.shape).remainder(len(Region)).to(torch.int8)
    found = routed_advantages(normalised_components(values, groups, weights, by_std), regions, mask, ALL)
    expected, _ = compute_gdpo_outcome_advantage(
        token_level_rewards=torch.zeros(mask.shape),
        response_mask=mask.float(),
        index=groups.numpy(),
        norm_adv_by_std_in_grpo=by_std,
        config=OmegaConf.create({"gdpo_reward_keys": ["a", "b"], "gdpo_reward_weights": list(weights)}),
        non_tensor_batch={"a": values[:, 0].numpy(), "b": values[:, 1].numpy()},
        batch={
            "prompts": torch.zeros(len(rows), 1),
            "attention_mask": torch.cat([torch.ones(len(rows), 1).long(), mask], 1),
        },
    )
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("scale", [0.1, 1e3])
def test_the_scale_of_a_component_has_no_part(scale):
    values = torch.tensor(np.linspace(0, 1, 8).reshape(4, 2))
    groups = torch.tensor([0, 0, 1, 1])
    scaled = values * torch.tensor([scale, 1.0])
    found = [normalised_components(one, groups, [1.0, 1.0]) for one in (values, scaled)]
    torch.testing.assert_close(*found, atol=2e-3, rtol=2e-3)

"""From regions to weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.regions import Region
from rest_verl.core.weights import (
    BatchScale,
    blend,
    clamp_positive,
    effective_share,
    gini,
    normalise_positive,
    normalise_rows,
    per_region,
    scheduled_weights,
    structural_weights,
)

ONE_EACH = {
    Region.OTHER: 0.0,
    Region.THINK: 0.6,
    Region.RESPONSE: 0.1,
    Region.FORMAT: 1.0,
    Region.ARGS: 0.7,
    Region.NAME: 1.2,
}


def test_weights_follow_their_schedules_and_negative_ones_count_as_zero():
    schedules = {Region.NAME: lambda step: 100.0 + step, Region.RESPONSE: lambda step: step - 2.5}
    assert scheduled_weights(schedules, 2) == {Region.NAME: 102.0, Region.RESPONSE: 0.0}


def test_positive_weights_are_clamped_and_zero_stays_zero():
    weights = torch.tensor([[100.0, 1e-9, 0.5, 0.0]])
    assert clamp_positive(weights, 0.001953125, 8.0).tolist() == [[8.0, 0.001953125, 0.5, 0.0]]


def test_a_token_has_the_value_of_its_region():
    regions = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int8)
    values = per_region(regions, ONE_EACH)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.tensor([[0.0, 0.6, 0.1], [1.0, 0.7, 1.2]]), rtol=0, atol=1e-7)


def test_structural_weights_have_mean_one_over_tokens_and_the_ratio_of_the_inverse_variances():
    variance, tokens = torch.tensor([0.15, 0.35, 0.75, 0.5]), torch.tensor([30, 10, 5, 0])
    weights = structural_weights(variance, tokens, alpha=1.0, eps=0.05)
    torch.testing.assert_close(weights[:3] / weights[0], torch.tensor([1.0, 0.5, 0.25]))
    assert float((weights * tokens).sum()) == pytest.approx(45.0)


@pytest.mark.parametrize(("alpha", "ratio"), [(2.0, 0.25), (1.0, 0.5), (0.0, 1.0), (-1.0, 2.0)])
def test_alpha_is_the_exponent_and_its_sign_the_camp(alpha, ratio):
    weights = structural_weights(torch.tensor([0.15, 0.35]), torch.tensor([1, 1]), alpha, eps=0.05)
    assert float(weights[1] / weights[0]) == pytest.approx(ratio)


def test_structural_weights_of_certain_tokens_are_finite():
    assert structural_weights(torch.zeros(2), torch.tensor([3, 0]), alpha=1.0, eps=0.05).tolist() == [1.0, 1.0]
    assert torch.isfinite(structural_weights(torch.zeros(2), torch.tensor([0, 0]), alpha=1.0, eps=0.05)).all()


def test_the_blend_leads_from_structure_to_targets():
    structural, targets = torch.tensor([4.0, 0.25]), torch.tensor([1.0, 4.0])
    assert blend(structural, targets, 0.0).tolist() == [4.0, 0.25]
    assert blend(structural, targets, 0.5).tolist() == [2.0, 1.0]
    assert blend(structural, targets, 1.0).tolist() == [1.0, 4.0]


def test_a_target_of_zero_switches_a_region_off_as_soon_as_the_curriculum_moves():
    assert blend(torch.tensor([4.0]), torch.tensor([0.0]), 0.0).tolist() == [4.0]
    assert blend(torch.tensor([4.0]), torch.tensor([0.0]), 0.01).tolist() == [0.0]


def test_rows_are_scaled_to_sum_to_their_number_of_tokens():
    weights = torch.tensor([[1.0, 0.5, 7.0, 0.0], [2.0, 2.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]])
    scaled = normalise_rows(weights, mask)
    assert scaled.tolist() == [[2.0, 1.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]]


def test_a_row_without_weight_counts_all_its_tokens_alike():
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]])
    scaled = normalise_rows(torch.tensor([[0.0, 5.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0]]), mask)
    assert scaled.tolist() == [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


rows = st.lists(
    st.tuples(st.just(0.0) | st.floats(0.001953125, 8, width=32), st.sampled_from([0, 1])), min_size=1, max_size=50
)


@given(row=rows)
def test_normalised_rows_sum_to_their_tokens_are_finite_and_keep_ratios(row):
    weights, mask = torch.tensor([[weight for weight, _ in row]]), torch.tensor([[bit for _, bit in row]])
    scaled = normalise_rows(weights, mask)
    assert torch.isfinite(scaled).all() and (scaled >= 0).all()
    assert (scaled[mask == 0] == 0).all()
    tokens = int(mask.sum())
    assert float(scaled.sum()) == pytest.approx(tokens, rel=1e-5)
    if (total := float((weights * mask).sum())) > 0:
        torch.testing.assert_close(scaled, weights * mask * (tokens / total), rtol=1e-5, atol=1e-6)


def test_normalising_one_row_does_not_depend_on_the_others():
    weights = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(6, 9, generator=torch.Generator().manual_seed(1)) < 0.7).long()
    alone = torch.cat([normalise_rows(weights[i : i + 1], mask[i : i + 1]) for i in range(6)])
    assert torch.equal(normalise_rows(weights, mask), alone)


@pytest.mark.parametrize(
    ("weights", "mask", "share"),
    [
        ([[1.0, 1.0, 1.0, 1.0]], [[1, 1, 1, 1]], 1.0),
        ([[3.0, 3.0], [3.0, 0.0]], [[1, 1], [1, 0]], 1.0),
        ([[4.0, 0.0, 0.0, 0.0]], [[1, 1, 1, 1]], 0.25),
        ([[1.0, 3.0]], [[1, 1]], 16 / 20),
        ([[0.0, 0.0]], [[1, 1]], 0.0),
        ([[0.0, 0.0]], [[0, 0]], 0.0),
    ],
)
def test_effective_share_of_tokens(weights, mask, share):
    assert effective_share(torch.tensor(weights), torch.tensor(mask)) == pytest.approx(share)


def test_positive_normalisation_gives_weighted_tokens_mean_one_in_each_row_up_to_one_common_factor():
    weights = torch.tensor([[1.0, 3.0, 0.0, 0.0], [5.0, 5.0, 5.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    # mean 1 over positive tokens: [.5, 1.5], [1, 1, 1], nothing; their sum 5 becomes that of the mask, 9
    expected = torch.tensor([[0.5, 1.5, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0] * 4]) * (9 / 5)
    torch.testing.assert_close(normalise_positive(weights, mask), expected)


@given(
    batch=st.lists(st.lists(st.just(0.0) | st.floats(0.001953125, 8, width=32), min_size=5, max_size=5), min_size=1)
)
def test_positive_normalisation_keeps_the_total_of_the_batch(batch):
    weights, mask = torch.tensor(batch), torch.tensor([[1, 1, 0, 1, 1]] * len(batch))
    scaled = normalise_positive(weights, mask)
    assert float(scaled.sum()) == pytest.approx(float(mask.sum()), rel=1e-4)
    assert (scaled >= 0).all() and (scaled[mask == 0] == 0).all()


def plain_gini(values):
    """Mean absolute difference over twice the mean."""
    return sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))


@given(row=st.lists(st.just(0.0) | st.floats(0.001953125, 8, width=32), min_size=1, max_size=40).filter(any))
def test_the_gini_coefficient_is_the_mean_difference_over_twice_the_mean(row):
    weights = torch.tensor([[*row, 0.0, 0.0]])
    mask = torch.ones(weights.shape, dtype=torch.bool)
    mask[0, -2:] = False
    assert gini(weights, mask) == pytest.approx(plain_gini(row), abs=0.002)


@pytest.mark.parametrize(
    ("weights", "value"), [([2.0, 2.0, 2.0], 0.0), ([0.0, 0.0, 0.0, 4.0], 0.75), ([0.0, 0.0], 0.0), ([1.0, 3.0], 0.25)]
)
def test_gini_coefficients(weights, value):
    assert gini(torch.tensor([weights]), torch.ones(1, len(weights), dtype=torch.bool)) == pytest.approx(value)


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_a_batch_without_a_token_has_zero_share_and_zero_gini(shape):
    weights, mask = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    assert (gini(weights, mask), effective_share(weights, mask)) == (0, 0)


def test_one_constant_scales_a_batch_whatever_its_rows_hold():
    weights, mask = torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([[1, 1], [1, 0]])
    # the first step takes its own mean, 6 over 3 tokens
    torch.testing.assert_close(BatchScale(0.9)(1, weights, mask), weights / 2)


def test_the_constant_is_known_before_the_batch():
    """A step is scaled by the steps before it, and the batches of one step by the same constant."""
    one, mask = torch.ones(1, 2), torch.ones(1, 2, dtype=torch.long)
    scale = BatchScale(decay=0.75)
    scale(1, 4 * one, mask)
    assert torch.equal(scale(2, 8 * one, mask), 2 * one)
    assert torch.equal(scale(2, 12 * one, mask), 3 * one)
    # the second step has mean 10: 4 + (10 - 4) / 4
    torch.testing.assert_close(scale(3, 11 * one, mask), 2 * one)


def test_a_batch_without_weights_has_no_scale():
    zeros, mask = torch.zeros(1, 3), torch.tensor([[1, 1, 0]])
    scale = BatchScale(0.9)
    assert torch.equal(scale(1, zeros, mask), mask.float())
    assert torch.equal(scale(2, 5 * mask.float(), mask), mask.float())
    assert torch.equal(scale(3, zeros, mask), mask.float())
    assert scale.latest() == 5.0


def test_uniform_weights_stay_exactly_one():
    mask = torch.tensor([[1, 1, 0]])
    scale = BatchScale(0.9)
    assert all(torch.equal(scale(step, mask.float(), mask), mask.float()) for step in range(1, 50))

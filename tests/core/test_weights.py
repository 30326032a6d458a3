"""From regions to weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.regions import Region
from rest_verl.core.weights import effective_share, normalise_rows, region_weights, token_weights

ONE_EACH = {
    Region.OTHER: 0.0,
    Region.THINK: 0.6,
    Region.RESPONSE: 0.1,
    Region.FORMAT: 1.0,
    Region.ARGS: 0.7,
    Region.NAME: 1.2,
}


def test_positive_weights_are_clamped_and_others_are_zero():
    schedules = {
        Region.NAME: lambda step: 100.0 + step,
        Region.ARGS: lambda step: 1e-9,
        Region.THINK: lambda step: 0.25 * step,
        Region.RESPONSE: lambda step: step - 2.5,
        Region.OTHER: lambda step: 0.0,
    }
    assert region_weights(schedules, 2, 1e-3, 8.0) == {
        Region.NAME: 8.0,
        Region.ARGS: 1e-3,
        Region.THINK: 0.5,
        Region.RESPONSE: 0.0,
        Region.OTHER: 0.0,
    }


def test_a_token_has_the_weight_of_its_region_where_the_mask_is_1():
    regions = torch.tensor([[0, 1, 2, 3, 4, 5], [5, 5, 5, 0, 0, 0]], dtype=torch.int8)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0]])
    weights = token_weights(regions, mask, ONE_EACH)
    assert weights.dtype == torch.float32
    expected = torch.tensor([[0.0, 0.6, 0.1, 1.0, 0.7, 1.2], [1.2, 0.0, 1.2, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-7)


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
        ([[3.0, 3.0], [3.0, 9.0]], [[1, 1], [1, 0]], 1.0),
        ([[4.0, 0.0, 0.0, 0.0]], [[1, 1, 1, 1]], 0.25),
        ([[1.0, 3.0]], [[1, 1]], 16 / 20),
        ([[0.0, 0.0]], [[1, 1]], 0.0),
        ([[1.0, 1.0]], [[0, 0]], 0.0),
    ],
)
def test_effective_share_of_tokens(weights, mask, share):
    assert effective_share(torch.tensor(weights), torch.tensor(mask)) == pytest.approx(share)

"""Counts and means by region."""

import pytest
import torch

from rest_verl.core.regions import Region, TaggedBatch

BATCH = TaggedBatch(
    torch.tensor([[3, 1, 1, 0], [1, 5, 1, 1]], dtype=torch.int8), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
)
VALUES = torch.tensor([[0.5, 1.0, 2.0, 99.0], [6.0, 0.25, float("nan"), 99.0]])


def test_only_generated_tokens_count():
    assert BATCH.counts.tolist() == [0, 3, 0, 1, 0, 1]


def test_means_are_over_the_generated_tokens_of_a_region_in_the_whole_batch():
    assert BATCH.means(VALUES) == {Region.FORMAT: 0.5, Region.THINK: 3.0, Region.NAME: 0.25}


def test_the_mean_over_several_regions_weighs_each_by_its_tokens():
    means = BATCH.means(VALUES)
    assert BATCH.mean_over(means, [Region.THINK, Region.NAME, Region.ARGS]) == pytest.approx((9.0 + 0.25) / 4)
    assert BATCH.mean_over(means, [Region.ARGS]) is None


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (2, 0)])
def test_a_batch_without_tokens_has_no_means(shape):
    nothing = torch.zeros(shape)
    batch = TaggedBatch(nothing.to(torch.int8), nothing.bool())
    assert batch.means(nothing) == {}
    assert batch.counts.tolist() == [0] * len(Region)


def test_sums_of_many_tokens_keep_double_precision():
    values = torch.full((1, 1_000_001), 0.1)
    values[0, 0] = 1e6
    means = TaggedBatch(torch.ones_like(values, dtype=torch.int8), torch.ones_like(values).bool()).means(values)
    assert means[Region.THINK] == pytest.approx((1e6 + 1e6 * float(torch.tensor(0.1))) / 1_000_001, rel=1e-9)

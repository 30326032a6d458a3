"""Entropy by region."""

import pytest
import torch

from rest_verl.core.entropy import region_means
from rest_verl.core.regions import Region


def test_means_are_over_the_generated_tokens_of_a_region_in_the_whole_batch():
    regions = torch.tensor([[3, 1, 1, 0], [1, 5, 1, 1]], dtype=torch.int8)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    values = torch.tensor([[0.5, 1.0, 2.0, 99.0], [6.0, 0.25, 99.0, 99.0]])
    means = region_means(values, regions, mask)
    assert means == {Region.FORMAT: 0.5, Region.THINK: 3.0, Region.NAME: 0.25}


def test_a_batch_without_tokens_has_no_means():
    nothing = torch.zeros(2, 3)
    assert region_means(nothing, nothing.to(torch.int8), nothing) == {}


def test_sums_of_many_tokens_keep_double_precision():
    values = torch.full((1, 1_000_001), 0.1)
    values[0, 0] = 1e6
    means = region_means(values, torch.ones_like(values, dtype=torch.int8), torch.ones_like(values))
    assert means[Region.THINK] == pytest.approx((1e6 + 1e6 * float(torch.tensor(0.1))) / 1_000_001, rel=1e-9)

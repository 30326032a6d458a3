import math

import numpy as np
import pytest
from evidence.intervals import Interval, difference_interval, mean_interval, ratio_interval
from hypothesis import given
from hypothesis import strategies as st


def test_the_interval_of_two_values_spans_them():
    # of the four ways to draw two of them, one in four is twice the lower and one in four twice the higher
    assert mean_interval([1.0, 3.0]) == Interval(2.0, 1.0, 3.0)


def test_one_value_decides_nothing():
    assert mean_interval([5.0]) == Interval(5.0, -math.inf, math.inf)
    assert mean_interval([5.0]).verdict() == {"estimate": 5.0, "low": None, "high": None, "verdict": "undecided"}
    assert ratio_interval([1.0], [4.0]) == Interval(0.25, -math.inf, math.inf)


def test_equal_values_and_equal_ratios_have_an_interval_of_a_point():
    assert mean_interval([0.0, 0.0]) == Interval(0.0, 0.0, 0.0)
    found = ratio_interval([0.1 * 3, 0.7 * 3, 1.3 * 3], [0.1, 0.7, 1.3])  # equal but for rounding
    assert found.low == found.mean == found.high == pytest.approx(3.0)


def test_differences_are_paired():
    # pairs differ by 1 or 2, while the values range over a hundred
    found = difference_interval([101.0, 5.0, 58.0, 22.0, 82.0, 46.0], [100.0, 3.0, 57.0, 20.0, 81.0, 44.0])
    assert found.mean == pytest.approx(1.5)
    assert 1.0 <= found.low < 1.5 < found.high <= 2.0


def test_a_ratio_is_that_of_paired_totals():
    # (1 + 30) / (10 + 100) = 31/110; the mean of 1/10 and 30/100 would be 0.2
    found = ratio_interval([1.0, 30.0], [10.0, 100.0])
    assert [found.mean, found.low, found.high] == pytest.approx([31 / 110, 0.1, 0.3])
    # every pair has a ratio near 2: drawn side by side, long and short ones leave it well known
    found = ratio_interval([2.02, 99.0, 4.0, 161.0, 10.1, 40.0], [1.0, 50.0, 2.0, 80.0, 5.0, 20.0])
    assert 1.95 < found.low < 2.0 < found.high < 2.05


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [(-1, 1, "undecided"), (0, 1, "undecided"), (-1, 0, "undecided"), (0.1, 1, "above"), (-1, -0.1, "below")],
)
def test_the_side_of_a_value_follows_from_the_ends(low, high, side):
    middle = Interval((low + high) / 2, low, high)
    assert middle.side() == side
    assert Interval(middle.mean + 1, low + 1, high + 1).verdict(of=1.0)["verdict"] == side


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "no value"),
        (lambda: mean_interval([1.0, math.nan]), "values: nan is not finite"),
        (lambda: difference_interval([1.0], [1.0, 2.0]), "1 values against 2"),
        (lambda: ratio_interval([1.0, 1.0], [1.0, 0.0]), r"theirs=0\.0: .* above 0"),
    ],
)
def test_samples_without_a_mean_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=8))
def test_an_interval_lies_within_the_values(values):
    found = mean_interval(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_an_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    # a skewed distribution of mean 1: what durations look like
    found = [mean_interval(random.gamma(4.0, 0.25, size=30)) for _ in range(200)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in found)
    assert 180 <= covered <= 198  # 95 % of 200 is 190; three standard deviations are 9

import math

import numpy as np
import pytest
from evidence.intervals import Interval, difference_interval, mean_interval, ratio_interval
from hypothesis import given
from hypothesis import strategies as st


def test_the_interval_of_two_values_reaches_from_one_to_the_other():
    # of the four ways to draw two of them, one in four is twice the lower and one in four twice the higher
    assert mean_interval([1.0, 3.0]) == Interval(2.0, 1.0, 3.0)


def test_a_sample_of_many_gets_the_interval_of_the_normal_distribution():
    sample = np.random.default_rng(3).normal(10.0, 2.0, size=400)
    found = mean_interval(sample)
    half = 1.96 * sample.std(ddof=1) / math.sqrt(400)
    assert found.mean == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.1 * half)


def test_one_value_has_an_interval_without_ends_and_decides_nothing():
    alone = mean_interval([5.0])
    assert alone == Interval(5.0, -math.inf, math.inf) and alone.undecided
    assert ratio_interval([1.0], [4.0]) == Interval(0.25, -math.inf, math.inf)


def test_values_that_are_all_the_same_have_an_interval_of_one_point():
    assert mean_interval([0.1, 0.1, 0.1]) == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert mean_interval([0.0, 0.0]) == Interval(0.0, 0.0, 0.0)


def test_ratios_that_are_the_same_but_for_rounding_have_an_interval_of_one_point():
    found = ratio_interval([0.1 * 3, 0.7 * 3, 1.3 * 3], [0.1, 0.7, 1.3])
    assert found.low == found.mean == found.high == pytest.approx(3.0)


def test_a_difference_is_known_where_the_values_themselves_scatter():
    # pairs differ by 1 or 2, while the values range over a hundred
    theirs = [100.0, 3.0, 57.0, 20.0, 81.0, 44.0]
    ours = [101.0, 5.0, 58.0, 22.0, 82.0, 46.0]
    found = difference_interval(ours, theirs)
    assert found.mean == pytest.approx(1.5)
    assert 1.0 <= found.low < 1.5 < found.high <= 2.0 and not found.undecided


def test_a_ratio_is_that_of_the_totals_and_not_the_mean_of_ratios():
    # (1 + 30) / (10 + 100) = 31/110; the mean of 1/10 and 30/100 would be 0.2
    found = ratio_interval([1.0, 30.0], [10.0, 100.0])
    assert found.mean == pytest.approx(31 / 110)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.3))


def test_a_ratio_draws_pairs_and_not_each_side_by_itself():
    # every pair has a ratio near 2, so that long and short ones together leave it well known
    theirs = [1.0, 50.0, 2.0, 80.0, 5.0, 20.0]
    ours = [2.02, 99.0, 4.0, 161.0, 10.1, 40.0]
    found = ratio_interval(ours, theirs)
    assert 1.95 < found.low < 2.0 < found.high < 2.05


@pytest.mark.parametrize(
    ("low", "high", "undecided"),
    [(-1.0, 1.0, True), (0.0, 1.0, True), (-1.0, 0.0, True), (0.1, 1.0, False), (-1.0, -0.1, False)],
)
def test_what_holds_0_is_undecided(low, high, undecided):
    assert Interval(0.0, low, high).undecided is undecided


def test_the_same_values_give_the_same_interval():
    assert mean_interval([1.0, 2.0, 4.0, 8.0]) == mean_interval([1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "no value"),
        (lambda: mean_interval([1.0, math.nan]), "values: nan is not finite"),
        (lambda: difference_interval([1.0], [1.0, 2.0]), "1 values against 2"),
        (lambda: ratio_interval([1.0, 1.0], [1.0]), "2 values against 1"),
        (lambda: ratio_interval([1.0, 1.0], [1.0, 0.0]), r"theirs=0\.0: .* above 0"),
        (lambda: ratio_interval([math.inf], [1.0]), "ours: inf is not finite"),
    ],
)
def test_what_has_no_mean_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=8))
def test_an_interval_lies_within_the_values(values):
    found = mean_interval(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    # a skewed distribution of mean 1: what durations look like
    found = [mean_interval(random.gamma(4.0, 0.25, size=30)) for _ in range(200)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in found)
    assert 180 <= covered <= 198  # 95 % of 200 is 190; three standard deviations are 9

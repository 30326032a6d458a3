import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.commands.plot.panels import curve

values = st.dictionaries(st.integers(0, 20), st.one_of(st.floats(-100, 100), st.just(math.nan)), max_size=20)


def test_a_line_is_the_mean_of_the_seeds_and_its_band_reaches_from_the_lowest_to_the_highest():
    drawn = curve([{1: 1.0, 2: 5.0}, {2: 1.0, 1: 3.0}, {1: 8.0, 2: 0.0}])
    assert (drawn.steps, drawn.mean, drawn.low, drawn.high) == ([1, 2], [4.0, 2.0], [1.0, 0.0], [8.0, 5.0])
    assert drawn.seeds == 3


def test_a_step_that_one_seed_has_not_reached_is_left_out():
    drawn = curve([{1: 0.0, 2: 0.0, 3: 0.0}, {1: 10.0, 2: 10.0}])
    assert (drawn.steps, drawn.mean) == ([1, 2], [5.0, 5.0])


def test_a_value_that_is_not_finite_makes_a_gap():
    drawn = curve([{1: 1.0, 2: math.nan, 3: 3.0}, {1: 1.0, 2: 2.0, 3: 5.0}])
    assert drawn.steps == [1, 2, 3]
    assert [drawn.mean[0], drawn.mean[2]] == [1.0, 4.0]
    assert all(math.isnan(line[1]) for line in (drawn.mean, drawn.low, drawn.high))


def test_smoothing_takes_the_mean_of_a_value_and_those_before_it_and_keeps_gaps():
    drawn = curve([{1: 3.0, 2: 5.0, 4: math.nan, 5: 11.0, 7: 1.0}], smooth=3)
    assert drawn.steps == [1, 2, 4, 5, 7]
    assert drawn.mean[:2] == [3.0, 4.0] and math.isnan(drawn.mean[2])
    assert drawn.mean[3:] == [8.0, 6.0]


@given(st.lists(values, min_size=1, max_size=4), st.integers(1, 5))
def test_every_line_lies_within_its_band_and_has_a_gap_exactly_where_a_seed_has_one(seeds, smooth):
    drawn = curve(seeds, smooth)
    assert drawn.steps == [step for step in range(21) if all(step in seed for seed in seeds)]
    for step, mean, low, high in zip(drawn.steps, drawn.mean, drawn.low, drawn.high, strict=True):
        gap = any(math.isnan(seed[step]) for seed in seeds)
        assert math.isnan(mean) == math.isnan(low) == math.isnan(high) == gap
        assert gap or low - 1e-9 <= mean <= high + 1e-9
        if smooth == 1 and not gap:
            assert mean == pytest.approx(statistics.fmean(seed[step] for seed in seeds))

"""Schedules over training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.curriculum import ramp


@pytest.mark.parametrize(
    ("start", "slope", "limit", "values"),
    [
        (0.6, 0.002, 1.2, {0: 0.6, 1: 0.602, 50: 0.7, 299: 1.198, 300: 1.2, 301: 1.2, 10_000: 1.2}),
        (2.0, -1 / 150, 1.0, {0: 2.0, 75: 1.5, 150: 1.0, 151: 1.0, 10_000: 1.0}),
        (-2.0, 1 / 75, -1.0, {0: -2.0, 30: -1.6, 75: -1.0, 76: -1.0}),
        (-2.0, -1 / 150, -3.0, {0: -2.0, 75: -2.5, 150: -3.0, 400: -3.0}),
        (0.5, 0.0, 0.5, {0: 0.5, 1000: 0.5}),
        (1.0, 0.5, 1.0, {0: 1.0, 7: 1.0}),
        (1.0, -0.5, 1.0, {0: 1.0, 7: 1.0}),
    ],
)
def test_a_ramp_leaves_its_start_by_its_slope_and_stays_at_its_limit(start, slope, limit, values):
    schedule = ramp(start, slope, limit)
    assert {step: schedule(step) for step in values} == pytest.approx(values)


@pytest.mark.parametrize("limit", [1.0, 3.0])
def test_a_ramp_without_slope_stays_at_its_start_wherever_its_limit_is(limit):
    assert [ramp(2.0, 0.0, limit)(step) for step in (0, 1, 1000)] == [2.0, 2.0, 2.0]


@given(
    start=st.floats(-10, 10),
    rise=st.floats(0, 10),
    slope=st.floats(1e-6, 5),
    sign=st.sampled_from([1, -1]),
    steps=st.lists(st.integers(0, 10**6), min_size=2, max_size=5),
)
def test_a_ramp_is_monotone_and_stays_between_start_and_limit(start, rise, slope, sign, steps):
    schedule = ramp(start, sign * slope, start + sign * rise)
    values = [sign * schedule(step) for step in sorted(steps)]
    assert values == sorted(values)
    assert all(sign * start - 1e-9 <= value <= sign * start + rise + 1e-9 for value in values)

"""Schedules and curricula over training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.curriculum import Progress, get_curriculum, position, ramp, register_curriculum

BUILT_IN = ("constant", "linear", "cosine", "exponential", "step", "adaptive")


def at(x, now=None, first=None):
    return Progress(step=1, total_steps=10, position=x, structure_entropy=now, structure_entropy_first=first)


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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
        ("linear", {0.0: 0.0, 0.25: 0.25, 1.0: 1.0}),
        ("cosine", {0.0: 0.0, 1 / 3: 0.25, 0.5: 0.5, 2 / 3: 0.75, 1.0: 1.0}),
        ("exponential", {0.0: 0.0, 0.5: 0.9241418, 0.2: 0.6364086, 1.0: 1.0}),
        ("step", {0.0: 0.0, 0.999: 0.0, 1.0: 1.0}),
    ],
)
def test_a_curriculum_passes_through_its_values(name, values):
    curriculum = get_curriculum(name)
    assert {x: curriculum(at(x)) for x in values} == pytest.approx(values)


@pytest.mark.parametrize(
    ("now", "first", "lam"),
    [(2.0, 2.0, 0.0), (0.5, 2.0, 0.75), (0.0, 2.0, 1.0), (3.0, 2.0, 0.0), (None, None, 0.0), (0.0, 0.0, 1.0)],
)
def test_the_adaptive_curriculum_follows_the_fall_of_the_structure_entropy(now, first, lam):
    assert get_curriculum("adaptive")(at(0.5, now, first)) == lam


@given(name=st.sampled_from(BUILT_IN), xs=st.lists(st.floats(0, 1), min_size=2))
def test_built_in_curricula_rise_within_zero_and_one(name, xs):
    values = [get_curriculum(name)(at(x, now=2 - x, first=2.0)) for x in sorted(xs)]
    assert values == sorted(values)
    assert all(0.0 <= value <= 1.0 for value in values)


def test_the_position_is_the_share_of_the_interval_that_has_passed():
    assert [position(now, 10, 30) for now in (0, 10, 15, 30, 99)] == [0.0, 0.0, 0.25, 1.0, 1.0]


def test_an_unknown_curriculum_is_answered_with_the_nearest_and_a_name_is_taken_once():
    with pytest.raises(ValueError, match="unknown curriculum 'lineer': did you mean 'linear'"):
        get_curriculum("lineer")
    with pytest.raises(ValueError, match="'linear' is already registered"):
        register_curriculum("linear")

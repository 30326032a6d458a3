"""What is said of repeated measurements: intervals of means, differences and ratios, and the noise of gradients."""

import math

import numpy as np
import pytest
from evidence.gradients import SCHEMES, VECTORS, Batch
from evidence.intervals import Interval, difference_interval, mean_interval, ratio_interval
from evidence.noise import (
    cosine,
    inner_products,
    interval,
    log_ratio,
    log_ratios,
    order_found,
    point_found,
    predictions,
    ratio_verdict,
    signal,
    snr,
    trace,
)
from hypothesis import given
from hypothesis import strategies as st
from variance import order, predicted, together, verdicts

from rest_verl.core.regions import Region

THINK, NAME, ARGS = (int(Region[name]) for name in ("THINK", "NAME", "ARGS"))


def products_of(gradients):
    """(R, D) gradients of one kind to their (R, R) inner products."""
    return inner_products([gradient[None] for gradient in np.asarray(gradients, dtype=float)])[0, 0]


def by_region(**values):
    found = np.zeros(len(Region))
    for name, value in values.items():
        found[Region[name]] = value
    return found


def batch(gradients=None, tokens=None, entropy=None, variance=None, squares=None):
    none = np.zeros(len(Region))
    return Batch(
        np.zeros((len(VECTORS), 3), np.float32) if gradients is None else gradients,
        *(none if one is None else one for one in (tokens, entropy, variance)),
        squares=np.zeros((2, len(SCHEMES), len(Region))) if squares is None else squares,
        accuracy=0.5,
    )


def scaled_batches(count=14):
    """Batches whose gradients are those of uniform, times a number of each scheme; all of it is the THINK region's."""
    random = np.random.default_rng(0)
    scales = np.array([1.0, 2.0, 1.0, 0.5, 3.0, *(region is Region.THINK for region in Region)])
    squares = np.zeros((2, len(SCHEMES), len(Region)))
    squares[:, :, THINK] = scales[: len(SCHEMES)] ** 2
    per_token = by_region(THINK=10, FORMAT=5), by_region(THINK=20, FORMAT=1), by_region(THINK=6, FORMAT=1)
    drawn = [np.outer(scales, 1.0 + random.normal(size=20)).astype(np.float32) for _ in range(count)]
    return [batch(gradients, *per_token, squares) for gradients in drawn]


def test_inner_products_add_up_over_all_parameters(monkeypatch):
    monkeypatch.setattr("evidence.noise.CHUNK", 4)
    gradients = np.random.default_rng(0).normal(size=(5, 3, 10)).astype(np.float32)
    exact = np.einsum("rkd,sld->klrs", gradients.astype(float), gradients.astype(float))
    np.testing.assert_allclose(inner_products(list(gradients)), exact, rtol=1e-12)


def test_trace_and_signal_are_those_worked_out_by_hand():
    # 1, 2 and 6: the variance is (4 + 1 + 9) / 2 = 7, and pairs of different ones have the mean (2 + 6 + 12) / 3
    own = products_of([[1], [2], [6]])
    assert (trace(own), signal(own), snr(own)) == pytest.approx((7, 20 / 3, 20 / 21))
    assert trace(products_of([[1, 0], [2, 4], [6, 8]])) == pytest.approx(7 + 16)
    assert signal(products_of([[1], [-1]])) == -1


def test_a_cosine_is_to_the_mean_of_the_other_batches():
    own = products_of([[1, 0], [0, 1], [2, 0]])
    # to the sums of the others: (1,0) with (2,1); (0,1) with (3,0); (2,0) with (1,1)
    assert cosine(own, own, own) == pytest.approx((2 / 5**0.5 + 0 + 1 / 2**0.5) / 3)
    with_it, without = products_of([[1, 0], [0, 0], [1, 1]]), products_of([[1, 0], [1, 1]])
    assert cosine(with_it, with_it, with_it) == pytest.approx(cosine(without, without, without))


def test_a_ratio_of_signals_that_are_noise_is_not_known():
    gradients = np.random.default_rng(2).normal(size=(20, 50))
    own = products_of(gradients)
    assert log_ratio(snr, own, own) is None and log_ratio(snr, products_of(gradients + 5), own) is None
    assert log_ratio(snr, products_of(gradients + 5), products_of(gradients + 4)) is not None
    noisy = [np.outer(np.ones(len(VECTORS)), one) for one in np.random.default_rng(1).normal(size=(12, 30))]
    found = log_ratios(inner_products(noisy))["paper"]
    assert found["snr"] is None and found["trace"] == pytest.approx(np.zeros(12), abs=1e-9)


def test_intervals_of_variance_cover_the_truth_as_they_say():
    random, size, batches, trials = np.random.default_rng(0), 40, 30, 120
    spread = 1 / np.arange(1, size + 1) ** 0.5  # few directions hold most of the noise, as in life
    mean, weights = 0.3 * spread, np.linspace(0.5, 1.5, size)
    traces = [np.sum((scale * spread) ** 2) for scale in (1.0, weights)]
    signals = [np.sum((scale * mean) ** 2) for scale in (1.0, weights)]
    true = {"trace": traces[1], "snr": signals[1] / traces[1], "trace ratio": traces[1] / traces[0]}
    covered = dict.fromkeys(true, 0)
    for _ in range(trials):
        gradients = mean + spread * random.normal(size=(batches, size))
        ours, theirs = products_of(gradients * weights), products_of(gradients)
        ratio = ratio_verdict([log_ratio(trace, ours, theirs)])
        found = {"trace": interval(trace, ours).ends(), "snr": interval(snr, ours).ends(), "trace ratio": ratio}
        for name, value in true.items():
            covered[name] += found[name]["low"] <= value <= found[name]["high"]
    # 95 % of 120 are 114, with a standard deviation of 2.4
    assert all(count >= 106 for count in covered.values()), covered


def test_scaling_the_gradient_changes_variance_and_not_snr():
    batches = scaled_batches()
    point = {"step": 0, **point_found(inner_products([one.gradients for one in batches]), batches)}
    for name, factor in {"paper": 4, "entropy": 1, "token_low": 0.25, "token_high": 9}.items():
        one = point["schemes"][name]
        assert one["trace_ratio"]["estimate"] == pytest.approx(factor, rel=1e-5)
        assert one["snr_ratio"]["estimate"] == pytest.approx(1, rel=1e-5)
        assert one["predicted"] == pytest.approx({"region": factor, "token": factor})
    shares = {name: one["estimate"] for name, one in point["trace_shares"].items()}
    assert shares == pytest.approx({"think": 1, "format": 0})
    found = verdicts([point], together([point]))
    sides = [found["schemes"][name]["trace"]["verdict"] for name in ("paper", "token_low", "token_high")]
    assert sides == ["above", "below", "above"]
    assert found["between_regions"] == {"0": pytest.approx(0, abs=1e-6)}


def test_a_point_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="no batch has a gradient"):
        point_found(inner_products([batch().gradients] * 4), [batch()] * 4)


def test_predictions_use_the_regions_or_the_tokens_variance():
    squares = np.zeros((2, len(SCHEMES), len(Region)))
    squares[0, :2, [THINK, NAME]] = [[2, 2], [1, 3]]  # sums of w^2 A^2: uniform has 2 and 1, paper 2 and 3
    squares[1, :2, THINK] = [1.0, 2.0]  # and of w^2 A^2 V
    point = [batch(tokens=by_region(THINK=4, NAME=2), variance=by_region(THINK=2, NAME=0.5), squares=squares)]
    found = predictions(point)["paper"]  # V_r: 0.5 and 0.25
    assert found["region"] == pytest.approx((0.5 * 2 + 0.25 * 3) / (0.5 * 2 + 0.25 * 1))
    assert found["token"] == pytest.approx(2.0)


def test_a_prediction_is_held_against_what_was_measured():
    ratio = {"estimate": 2.0, "low": 1.5, "high": 2.5, "verdict": "above"}
    points = [{"schemes": {"paper": {"predicted": {"region": value}, "trace_ratio": ratio}}} for value in (1.5, 2.2)]
    assert predicted("paper", "region", points) == pytest.approx({"least": -0.25, "most": 0.1, "right_side": True})
    points[0]["schemes"]["paper"]["predicted"]["region"] = 0.9
    assert not predicted("paper", "region", points)["right_side"]


def test_the_order_of_entropies_is_judged_pair_by_pair():
    full = by_region(FORMAT=2, NAME=2, ARGS=2)
    found = order_found(
        [
            batch(tokens=full, entropy=by_region(FORMAT=0.2, NAME=0.4, ARGS=0.2)),
            batch(tokens=full, entropy=by_region(FORMAT=0.4, NAME=0.8, ARGS=0.6)),
            batch(tokens=by_region(FORMAT=2), entropy=by_region(FORMAT=9.0)),
        ]
    )
    assert [found["format<name"][end] for end in ("estimate", "low", "high")] == pytest.approx([0.15, 0.1, 0.2])
    assert found["name<args"]["verdict"] == "below" and found["args<think"] is None
    assert order(found) == "does not hold"
    assert order({"a<b": {"verdict": "above"}, "b<c": None}) == "undecided"
    assert order({"a<b": {"verdict": "above"}, "b<c": {"verdict": "above"}}) == "holds"


def test_points_together_have_the_geometric_mean_of_ratios():
    found = ratio_verdict([np.log([2.0] * 5), np.log([8.0] * 5)])
    assert [found[end] for end in ("estimate", "low", "high")] == pytest.approx([4, 4, 4])
    assert ratio_verdict([np.log([2.0] * 5), None])["verdict"] == "undecided"


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

import numpy as np
import pytest
from evidence.gradients import SCHEMES, VECTORS, Batch
from evidence.noise import inner_products
from evidence.variance_found import log_ratios, mean_by_region, order_found, point_found, predictions, together

from rest_verl.core.regions import Region

THINK, NAME, ARGS, FORMAT = (int(Region[name]) for name in ("THINK", "NAME", "ARGS", "FORMAT"))


def by_region(**values):
    found = np.zeros(len(Region))
    for name, value in values.items():
        found[Region[name]] = value
    return found


def batch(gradients=None, tokens=None, entropy=None, variance=None, squares=None, accuracy=0.5):
    none = np.zeros(len(Region))
    return Batch(
        np.zeros((len(VECTORS), 3), np.float32) if gradients is None else gradients,
        none if tokens is None else tokens,
        none if entropy is None else entropy,
        none if variance is None else variance,
        np.zeros((4, len(SCHEMES), len(Region))) if squares is None else squares,
        accuracy,
    )


def scaled_batches(count=14):
    """Batches whose gradients are those of uniform, times a number of each scheme; all of it is the THINK region's."""
    random = np.random.default_rng(0)
    scales = np.array([1.0, 2.0, 1.0, 0.5, 3.0, *(region is Region.THINK for region in Region)])
    squares = np.zeros((4, len(SCHEMES), len(Region)))
    squares[:, :, THINK] = scales[: len(SCHEMES)] ** 2
    return [
        batch(
            np.outer(scales, 1.0 + random.normal(size=20)).astype(np.float32),
            by_region(THINK=10, FORMAT=5),
            by_region(THINK=20, FORMAT=1),
            by_region(THINK=6, FORMAT=1),
            squares,
        )
        for _ in range(count)
    ]


def test_a_scheme_that_scales_the_gradient_changes_the_variance_and_not_the_signal_to_noise():
    batches = scaled_batches()
    found = point_found(inner_products([one.gradients for one in batches]), batches)["schemes"]
    for name, factor in {"paper": 4, "entropy": 1, "token_low": 0.25, "token_high": 9}.items():
        assert found[name]["trace_ratio"] == pytest.approx([factor] * 3, rel=1e-5)
        assert found[name]["snr_ratio"] == pytest.approx([1] * 3, rel=1e-5)
        assert found[name]["cosine"] == pytest.approx(found["uniform"]["cosine"], rel=1e-5)
        assert found[name]["predicted"]["region_advantage"] == pytest.approx(factor)
    assert "trace_ratio" not in found["uniform"]


def test_a_point_has_the_means_and_shares_of_its_regions():
    batches = scaled_batches()
    found = point_found(inner_products([one.gradients for one in batches]), batches)
    assert found["accuracy"] == 0.5 and found["tokens"] == 15
    assert set(found["regions"]) == {"think", "format"}
    think = found["regions"]["think"]
    assert think["tokens"] == pytest.approx(2 / 3)
    assert think["entropy"] == pytest.approx(2.0) and think["variance"] == pytest.approx(0.6)
    assert think["trace_share"] == pytest.approx([1, 1, 1], rel=1e-5)
    assert think["predicted_share"] == 1 and found["regions"]["format"]["predicted_share"] == 0


def test_a_point_without_a_gradient_is_refused():
    batches = [batch() for _ in range(4)]
    with pytest.raises(ValueError, match="no batch has a gradient"):
        point_found(inner_products([one.gradients for one in batches]), batches)


def test_predictions_use_the_regions_mean_or_the_tokens_own_variance():
    squares = np.zeros((4, len(SCHEMES), len(Region)))
    squares[0, :2, [THINK, NAME]] = [[1, 1], [1, 3]]  # sums of w^2: uniform has 1 and 1, paper 1 and 3
    squares[1, :2, [THINK, NAME]] = [[2, 2], [1, 3]]
    squares[2, :2, THINK] = [1.0, 0.5]
    squares[3, :2, THINK] = [1.0, 2.0]
    point = [batch(tokens=by_region(THINK=4, NAME=2), variance=by_region(THINK=2, NAME=0.5), squares=squares)]
    found = predictions(point)["paper"]  # V_r: 0.5 and 0.25
    assert found["region"] == pytest.approx((0.5 + 0.25 * 3) / (0.5 + 0.25))
    assert found["region_advantage"] == pytest.approx((0.5 * 2 + 0.25 * 3) / (0.5 * 2 + 0.25))
    assert found["token"] == pytest.approx(0.5) and found["token_advantage"] == pytest.approx(2.0)


def test_a_regions_mean_counts_tokens_and_not_batches():
    point = [
        batch(tokens=by_region(NAME=1), entropy=by_region(NAME=4.0)),
        batch(tokens=by_region(NAME=3), entropy=by_region(NAME=0.0)),
    ]
    assert mean_by_region(point, "entropy")[NAME] == 1.0
    assert mean_by_region(point, "entropy")[ARGS] == 0.0


def test_the_order_of_regions_is_compared_where_a_batch_has_both():
    full = by_region(FORMAT=2, NAME=2, ARGS=2)
    point = [
        batch(tokens=full, entropy=by_region(FORMAT=0.2, NAME=0.4, ARGS=0.2)),
        batch(tokens=full, entropy=by_region(FORMAT=0.4, NAME=0.8, ARGS=0.6)),
        batch(tokens=by_region(FORMAT=2), entropy=by_region(FORMAT=9.0)),
    ]
    name_over_format, args_over_name, think_over_args = order_found(point)
    assert name_over_format == pytest.approx([0.15, 0.1, 0.2])
    assert args_over_name == pytest.approx([-0.1, -0.1, -0.1])
    assert think_over_args is None


def test_points_together_have_the_geometric_mean_of_their_ratios():
    assert together([np.log([2.0] * 5), np.log([8.0] * 5)]) == pytest.approx([4, 4, 4])
    assert together([np.log([2.0] * 5), None]) is None


def test_signals_that_are_noise_give_no_ratio():
    random = np.random.default_rng(1)
    batches = [np.outer(np.ones(len(VECTORS)), random.normal(size=30)) for _ in range(12)]
    found = log_ratios(inner_products(batches))["paper"]
    assert found["snr"] is None and found["trace"] == pytest.approx(np.zeros(12), abs=1e-9)

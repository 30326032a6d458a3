import numpy as np
import pytest
from evidence import noise
from evidence.noise import (
    cosine,
    inner_products,
    interval,
    left_out,
    log_ratio,
    pseudo_values,
    ratio,
    signal,
    snr,
    trace,
)


def products_of(gradients):
    """(R, D) gradients of one kind to their (R, R) inner products."""
    return inner_products([gradient[None] for gradient in np.asarray(gradients, dtype=float)])[0, 0]


def test_inner_products_of_all_kinds_and_batches_add_up_over_all_parameters(monkeypatch):
    monkeypatch.setattr(noise, "CHUNK", 4)
    gradients = np.random.default_rng(0).normal(size=(5, 3, 10)).astype(np.float32)
    exact = np.einsum("rkd,sld->klrs", gradients.astype(float), gradients.astype(float))
    np.testing.assert_allclose(inner_products(list(gradients)), exact, rtol=1e-12)


def test_the_trace_is_the_sample_variance_and_the_signal_is_free_of_it():
    # 1, 2 and 6: the variance is (4 + 1 + 9) / 2 = 7, and pairs of different ones have the mean (2 + 6 + 12) / 3
    own = products_of([[1], [2], [6]])
    assert trace(own) == pytest.approx(7)
    assert signal(own) == pytest.approx(20 / 3)
    assert snr(own) == pytest.approx(20 / 21)


def test_traces_of_parameters_add_up():
    own = products_of([[1, 0], [2, 4], [6, 8]])
    assert trace(own) == pytest.approx(7 + 16)


def test_gradients_that_point_apart_have_a_signal_below_zero():
    assert signal(products_of([[1], [-1]])) == -1


def test_a_cosine_is_to_the_mean_of_the_other_batches_only():
    gradients = [[1, 0], [0, 1], [2, 0]]
    own = products_of(gradients)
    # to the sums of the others: (1,0) with (2,1); (0,1) with (3,0); (2,0) with (1,1)
    expected = (2 / 5**0.5 + 0 + 1 / 2**0.5) / 3
    assert cosine(own, own, own) == pytest.approx(expected)


def test_a_cosine_to_another_kind_pairs_with_the_other_kinds_gradients():
    ours, theirs = np.array([[1.0, 0], [0, 1], [2, 0]]), np.array([[1.0, 1], [1, 0], [0, 3]])
    products = inner_products([np.stack(pair) for pair in zip(ours, theirs, strict=True)])
    others = [theirs[[1, 2]].sum(0), theirs[[0, 2]].sum(0), theirs[[0, 1]].sum(0)]
    expected = np.mean(
        [one @ other / np.linalg.norm(one) / np.linalg.norm(other) for one, other in zip(ours, others, strict=True)]
    )
    assert cosine(products[0, 0], products[0, 1], products[1, 1]) == pytest.approx(expected)


def test_a_batch_without_a_gradient_has_no_cosine():
    with_it, without = products_of([[1, 0], [0, 0], [1, 1]]), products_of([[1, 0], [1, 1]])
    assert cosine(with_it, with_it, with_it) == pytest.approx(cosine(without, without, without))


def test_a_statistic_is_taken_of_all_batches_and_without_each():
    own = products_of([[1], [2], [6], [3]])
    values = left_out(trace, own)
    assert values[0] == pytest.approx(np.var([1, 2, 6, 3], ddof=1))
    assert values[1:] == pytest.approx([np.var(rest, ddof=1) for rest in ([2, 6, 3], [1, 6, 3], [1, 2, 3], [1, 2, 6])])


def test_pseudo_values_of_a_mean_are_the_values():
    own = products_of([[1], [2], [6]])
    assert pseudo_values(left_out(lambda one: one.trace() / len(one), own)) == pytest.approx([1, 4, 36])


def test_a_scheme_that_doubles_every_gradient_has_four_times_the_trace_without_doubt():
    gradients = np.random.default_rng(1).normal(size=(8, 5))
    found = ratio(log_ratio(trace, products_of(2 * gradients), products_of(gradients)))
    assert [found.mean, found.low, found.high] == pytest.approx([4, 4, 4])


def test_a_ratio_of_signals_that_are_noise_is_not_known():
    gradients = np.random.default_rng(2).normal(size=(20, 50))
    own = products_of(gradients)
    assert log_ratio(snr, own, own) is None
    assert log_ratio(snr, products_of(gradients + 5), own) is None
    assert log_ratio(snr, products_of(gradients + 5), products_of(gradients + 4)) is not None


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    size, batches, trials = 40, 30, 120
    spread = (
        1 / np.arange(1, size + 1) ** 0.5
    )  # standard deviations: few directions hold most of the noise, as in life
    mean, weights = 0.3 * spread, np.linspace(0.5, 1.5, size)
    traces = [np.sum((scale * spread) ** 2) for scale in (1.0, weights)]
    signals = [np.sum((scale * mean) ** 2) for scale in (1.0, weights)]
    true = {
        "trace": traces[1],
        "snr": signals[1] / traces[1],
        "trace ratio": traces[1] / traces[0],
        "snr ratio": signals[1] * traces[0] / (signals[0] * traces[1]),
    }
    covered = dict.fromkeys(true, 0)
    for _ in range(trials):
        gradients = mean + spread * random.normal(size=(batches, size))
        ours, theirs = products_of(gradients * weights), products_of(gradients)
        found = {"trace": interval(trace, ours), "snr": interval(snr, ours)}
        for name, statistic in (("trace ratio", trace), ("snr ratio", snr)):
            found[name] = ratio(pseudo_values(np.log(left_out(statistic, ours) / left_out(statistic, theirs))))
        for name, value in true.items():
            covered[name] += found[name].low <= value <= found[name].high
    # 95 % of 120 are 114, with a standard deviation of 2.4
    assert all(count >= 106 for count in covered.values()), covered

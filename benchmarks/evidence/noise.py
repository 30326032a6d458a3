"""How noisy gradients are, from nothing but the inner products of many of them.

For independent gradients g_1 .. g_R with mean m and covariance C:

    trace C    mean of <g_r, g_r> less mean of <g_r, g_s>, r != s
    |m|^2      mean of <g_r, g_s>, r != s
    SNR        |m|^2 / trace C

The first two are unbiased. Intervals come from leaving out one gradient at a time, which makes a pseudo-value of each
(R times the estimate from all, less R - 1 times the estimate without it), and from the bootstrap interval of their
mean. Drawing the gradients themselves anew would pair some of them with themselves, as if noise were signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evidence.intervals import Interval, mean_interval

CHUNK = 1 << 14  # parameters at a time: all of them in double precision would not fit


def inner_products(gradients: Sequence[np.ndarray]) -> np.ndarray:
    """Inner products of all pairs, in double precision.

    Args:
        gradients: R arrays (K, D) float: K gradients of each of R batches.

    Returns:
        (K, K, R, R) float64: at [k, l, r, s] that of gradient k of batch r and gradient l of batch s.
    """
    batches, (kinds, size) = len(gradients), gradients[0].shape
    total = np.zeros((batches * kinds, batches * kinds))
    for begin in range(0, size, CHUNK):
        part = np.concatenate([gradient[:, begin : begin + CHUNK] for gradient in gradients]).astype(np.float64)
        total += part @ part.T
    return total.reshape(batches, kinds, batches, kinds).transpose(1, 3, 0, 2)


def signal(own: np.ndarray) -> float:
    """|m|^2, which may come out below 0. Its argument, as below, is (R, R): inner products of one kind of gradient."""
    batches = len(own)
    return float((own.sum() - own.trace()) / (batches * (batches - 1)))


def trace(own: np.ndarray) -> float:
    """The trace of the covariance."""
    return float(own.trace() / len(own)) - signal(own)


def snr(own: np.ndarray) -> float:
    """The signal-to-noise ratio of the gradient of one batch."""
    return signal(own) / trace(own)


def cosine(own: np.ndarray, cross: np.ndarray, other: np.ndarray) -> float:
    """Mean cosine of a batch's gradient to the mean gradient, of the same or of another kind, of all other batches.

    Batches without a gradient, in which no response was better than another to its prompt, have no cosine and are left
    out.

    Args:
        own: (R, R), of the gradients themselves.
        cross: (R, R), of them with those of the other kind.
        other: (R, R), of the other kind.
    """
    products = cross.sum(axis=1) - cross.diagonal()
    lengths = other.sum() - 2 * other.sum(axis=1) + other.diagonal()
    there = own.diagonal() > 0
    return float(np.mean(products[there] / np.sqrt(own.diagonal()[there] * lengths[there])))


def left_out(statistic: Callable[..., float], *products: np.ndarray) -> np.ndarray:
    """A statistic of all batches, and of all but each.

    Args:
        statistic: of arrays like `products`.
        products: (R, R) each, R >= 3.

    Returns:
        (R + 1,) float64: the one of all batches stands first.
    """
    without = [
        statistic(*(np.delete(np.delete(own, batch, 0), batch, 1) for own in products))
        for batch in range(len(products[0]))
    ]
    return np.array([statistic(*products), *without])


def pseudo_values(values: np.ndarray) -> np.ndarray:
    """Of what `left_out` gives: (R,) float64 whose mean is the estimate and whose spread is that of the batches."""
    batches = len(values) - 1
    return batches * values[0] - (batches - 1) * values[1:]


def interval(statistic: Callable[..., float], *products: np.ndarray) -> Interval:
    """A statistic with its interval."""
    return mean_interval(pseudo_values(left_out(statistic, *products)).tolist())


def log_ratio(statistic: Callable[[np.ndarray], float], ours: np.ndarray, theirs: np.ndarray) -> np.ndarray | None:
    """Pseudo-values of the logarithm of a ratio of two statistics from the same batches.

    Returns:
        (R,) float64; None where one of the two cannot be told from 0, so that a ratio says nothing.
    """
    sides = [left_out(statistic, side) for side in (ours, theirs)]
    if any(side.min() <= 0 or mean_interval(pseudo_values(side).tolist()).low <= 0 for side in sides):
        return None
    return pseudo_values(np.log(sides[0] / sides[1]))


def ratio(logarithms: np.ndarray) -> Interval:
    """The ratio that pseudo-values of its logarithm stand for."""
    found = mean_interval(logarithms.tolist())
    return Interval(*(float(np.exp(value)) for value in (found.mean, found.low, found.high)))

"""How noisy gradients are, from nothing but the inner products of many of them: by scheme and by region.

For independent gradients g_1 .. g_R with mean m and covariance C:

    trace C    mean of <g_r, g_r> less mean of <g_r, g_s>, r != s
    |m|^2      mean of <g_r, g_s>, r != s
    SNR        |m|^2 / trace C

The first two are unbiased. Intervals come from leaving out one gradient at a time, which makes a pseudo-value of each
(R times the estimate from all, less R - 1 times the estimate without it), and from the bootstrap interval of their
mean. Resampling the gradients themselves would pair some of them with themselves, as if noise were signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from evidence.gradients import SCHEMES, UNIFORM, VECTORS, Batch
from evidence.intervals import Interval, difference_interval, mean_interval

from rest_verl.core.regions import Region

CHUNK = 1 << 14  # parameters at a time: all of them in double precision would not fit
ORDER = ("format", "name", "args", "think")  # of rising entropy, as the paper says


def inner_products(gradients: Sequence[np.ndarray]) -> np.ndarray:
    """Inner products of all pairs of K gradients (K, D) of each of R batches: (K, K, R, R) float64, at [k, l, r, s]
    that of gradient k of batch r and gradient l of batch s."""
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

    Batches without a gradient, in which no response was better than another to its prompt, are left out. All are
    (R, R): products of the gradients themselves, of them with those of the other kind, and of the other kind."""
    products = cross.sum(axis=1) - cross.diagonal()
    lengths = other.sum() - 2 * other.sum(axis=1) + other.diagonal()
    there = own.diagonal() > 0
    return float(np.mean(products[there] / np.sqrt(own.diagonal()[there] * lengths[there])))


def left_out(statistic: Callable[..., float], *products: np.ndarray) -> np.ndarray:
    """A statistic of all batches, which stands first, and of all but each: (R + 1,) float64 from (R, R) each."""
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
    """Pseudo-values of the logarithm of a ratio of two statistics from the same batches, (R,) float64; None where one
    of the two cannot be told from 0, so that a ratio says nothing."""
    sides = [left_out(statistic, side) for side in (ours, theirs)]
    if any(side.min() <= 0 or mean_interval(pseudo_values(side).tolist()).low <= 0 for side in sides):
        return None
    return pseudo_values(np.log(sides[0] / sides[1]))


def ratio_verdict(logarithms: Sequence[np.ndarray | None]) -> dict[str, Any]:
    """The geometric mean of ratios, given by pseudo-values of their logarithms, with its side of 1; undecided, without
    an estimate, where one of them is not known. Batches of different points are independent, so that any may be paired
    with any."""
    known = [part for part in logarithms if part is not None]
    if len(known) < len(logarithms):
        return {"estimate": None, "low": None, "high": None, "verdict": "undecided"}
    found = mean_interval(np.mean(known, axis=0).tolist())
    return Interval(*(float(np.exp(value)) for value in (found.mean, found.low, found.high))).verdict(of=1.0)


def log_ratios(products: np.ndarray) -> dict[str, dict[str, np.ndarray | None]]:
    """Of each scheme, pseudo-values of the logarithms of its trace and of its signal-to-noise ratio over those of
    `uniform`; None where a signal cannot be told from noise."""
    own = {name: products[index, index] for index, name in enumerate(SCHEMES)}
    return {
        name: {"trace": log_ratio(trace, own[name], own[UNIFORM]), "snr": log_ratio(snr, own[name], own[UNIFORM])}
        for name in SCHEMES[1:]
    }


def point_found(products: np.ndarray, point: Sequence[Batch]) -> dict[str, Any]:
    """What R batches of one point say, with the inner products of their gradients (len(VECTORS), len(VECTORS), R, R).
    Raises `ValueError` where no batch has a gradient."""
    own = {name: products[index, index] for index, name in enumerate(VECTORS)}
    if not own[UNIFORM].any():
        raise ValueError("no batch has a gradient: to every prompt all responses score alike")
    logs, predicted = log_ratios(products), predictions(point)
    schemes: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(SCHEMES):
        schemes[name] = {
            "trace": interval(trace, own[name]).ends(),
            "snr": interval(snr, own[name]).ends(),
            "cosine": interval(lambda one: cosine(one, one, one), own[name]).ends(),
            "cosine_uniform": interval(cosine, own[name], products[index, 0], own[UNIFORM]).ends(),
        }
        if name != UNIFORM:
            schemes[name] |= {f"{quantity}_ratio": ratio_verdict([values]) for quantity, values in logs[name].items()}
            schemes[name]["predicted"] = predicted[name]
    shares = [region.label for region in Region if any(batch.tokens[region] for batch in point)]
    return {
        "parameters": point[0].gradients.shape[1],
        "logarithms": {
            name: {quantity: None if one is None else one.tolist() for quantity, one in both.items()}
            for name, both in logs.items()
        },
        "accuracy": float(np.mean([batch.accuracy for batch in point])),
        "schemes": schemes,
        "trace_shares": {name: interval(_share, own[name], own[UNIFORM]).ends() for name in shares},
        "order": order_found(point),
    }


def predictions(point: Sequence[Batch]) -> dict[str, dict[str, float]]:
    """The trace of each scheme over that of `uniform` if the noise of tokens were independent, with a variance
    proportional to V times the squared advantage: V as the mean of the token's `region`, or of the `token` itself."""
    by_advantage, by_variance = np.sum([batch.squares for batch in point], axis=0)
    tokens, variance = (np.sum([getattr(one, name) for one in point], axis=0) for name in ("tokens", "variance"))
    totals = {"region": by_advantage @ (variance / np.maximum(tokens, 1)), "token": by_variance.sum(axis=-1)}
    return {
        name: {kind: float(total[index] / total[0]) for kind, total in totals.items()}
        for index, name in enumerate(SCHEMES)
    }


def order_found(point: Sequence[Batch]) -> dict[str, dict[str, Any] | None]:
    """For each pair of neighbours in `ORDER`, how much higher the mean entropy of the second is, over the batches that
    have both; None without any."""
    found: dict[str, dict[str, Any] | None] = {}
    for lower, higher in pairwise(ORDER):
        pair = [Region[lower.upper()], Region[higher.upper()]]
        means = [batch.entropy[pair] / batch.tokens[pair] for batch in point if batch.tokens[pair].all()]
        low, high = np.reshape(means, (-1, 2)).T.tolist()
        found[f"{lower}<{higher}"] = difference_interval(high, low).verdict() if means else None
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return trace(part) / trace(whole)

"""What the gradients of one policy say of the schemes and the regions: from batches to the numbers of the result file.

An interval is a list of the estimate and its two ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import numpy as np

from evidence.gradients import SCHEMES, UNIFORM, VECTORS, Batch
from evidence.intervals import Interval, difference_interval
from evidence.noise import cosine, interval, log_ratio, ratio, snr, trace
from rest_verl.core.regions import Region

ORDER = ("format", "name", "args", "think")  # of rising entropy, as the paper says


def log_ratios(products: np.ndarray) -> dict[str, dict[str, np.ndarray | None]]:
    """Of each scheme, pseudo-values of the logarithms of its trace and of its signal-to-noise ratio over those of
    `uniform`; None where a signal cannot be told from noise."""
    own = {name: products[index, index] for index, name in enumerate(SCHEMES)}
    return {
        name: {"trace": log_ratio(trace, own[name], own[UNIFORM]), "snr": log_ratio(snr, own[name], own[UNIFORM])}
        for name in SCHEMES[1:]
    }


def together(logarithms: Sequence[np.ndarray | None]) -> list[float] | None:
    """The geometric mean of the ratios of all points, with its interval; None where one of them is not known. The
    batches of different points are independent, so that any may stand beside any."""
    known = [part for part in logarithms if part is not None]
    return listed(ratio(np.mean(known, axis=0))) if len(known) == len(logarithms) else None


def point_found(products: np.ndarray, point: Sequence[Batch]) -> dict[str, Any]:
    """What the batches of one point say.

    Args:
        products: (len(VECTORS), len(VECTORS), R, R), inner products of their gradients.
        point: the R batches.

    Raises:
        ValueError: no batch has a gradient.
    """
    own = {name: products[index, index] for index, name in enumerate(VECTORS)}
    if not own[UNIFORM].any():
        raise ValueError("no batch has a gradient: to every prompt all responses score alike")
    logs, predicted = log_ratios(products), predictions(point)
    schemes: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(SCHEMES):
        ours, cross = own[name], products[index, 0]
        schemes[name] = {
            "trace": listed(interval(trace, ours)),
            "snr": listed(interval(snr, ours)),
            "cosine": listed(interval(lambda one: cosine(one, one, one), ours)),
            "cosine_uniform": listed(interval(cosine, ours, cross, own[UNIFORM])),
        }
        if name != UNIFORM:
            schemes[name] |= {f"{quantity}_ratio": together([values]) for quantity, values in logs[name].items()}
            schemes[name]["predicted"] = predicted[name]
    tokens = np.sum([batch.tokens for batch in point], axis=0)
    return {
        "accuracy": float(np.mean([batch.accuracy for batch in point])),
        "tokens": float(tokens.sum() / len(point)),
        "schemes": schemes,
        "regions": regions_found(own, point),
        "order": order_found(point),
    }


def predictions(point: Sequence[Batch]) -> dict[str, dict[str, float]]:
    """The trace of each scheme over that of `uniform` if the noise of tokens were independent, with a variance
    proportional to V: of the token's region or of the token, times its squared advantage or not."""
    squares = np.sum([batch.squares for batch in point], axis=0)
    by_region = mean_by_region(point, "variance")
    totals = {
        "region": squares[0] @ by_region,
        "region_advantage": squares[1] @ by_region,
        "token": squares[2].sum(axis=-1),
        "token_advantage": squares[3].sum(axis=-1),
    }
    return {
        name: {kind: float(total[index] / total[0]) for kind, total in totals.items()}
        for index, name in enumerate(SCHEMES)
    }


def regions_found(own: dict[str, np.ndarray], point: Sequence[Batch]) -> dict[str, dict[str, Any]]:
    """Of each region with a token: its share of tokens, mean entropy and V, and its share of the gradient's variance,
    measured and as V_t predicts it."""
    tokens = np.sum([batch.tokens for batch in point], axis=0)
    entropy, variance = mean_by_region(point, "entropy"), mean_by_region(point, "variance")
    predicted = np.sum([batch.squares[3, 0] for batch in point], axis=0)
    return {
        region.label: {
            "tokens": float(tokens[region] / tokens.sum()),
            "entropy": float(entropy[region]),
            "variance": float(variance[region]),
            "trace_share": listed(interval(_share, own[region.label], own[UNIFORM])),
            "predicted_share": float(predicted[region] / predicted.sum()),
        }
        for region in Region
        if tokens[region]
    }


def order_found(point: Sequence[Batch]) -> list[list[float] | None]:
    """For each region of `ORDER` but the first, how much higher its mean entropy is than that of the one before, over
    the batches that have both; None without any."""
    found: list[list[float] | None] = []
    for pair in pairwise(Region[name.upper()] for name in ORDER):
        means = [batch.entropy[[*pair]] / batch.tokens[[*pair]] for batch in point if batch.tokens[[*pair]].all()]
        lower, higher = np.reshape(means, (-1, 2)).T
        found.append(listed(difference_interval(higher.tolist(), lower.tolist())) if means else None)
    return found


def mean_by_region(point: Sequence[Batch], quantity: str) -> np.ndarray:
    """Mean over the tokens of all batches: (len(Region),) float64; 0 for a region without a token."""
    tokens = np.sum([batch.tokens for batch in point], axis=0)
    return np.sum([getattr(batch, quantity) for batch in point], axis=0) / np.maximum(tokens, 1)


def listed(found: Interval) -> list[float]:
    """An interval as it stands in the result file."""
    return list(astuple(found))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return trace(part) / trace(whole)

"""Seconds of the driver as a line in responses and tokens, and what that line means for a cluster. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

Size = tuple[int, int]  # responses, tokens of each


@dataclass(frozen=True)
class Line:
    """What a batch costs: so much a batch, a response and a token.

    Attributes:
        batch, response, token: seconds (or bytes), 0 or more.
        error: the largest relative error over the sizes that it was fitted to; of a sum, the largest of its parts.
    """

    batch: float
    response: float
    token: float
    error: float = 0.0

    def at(self, responses: float, tokens: float) -> float:
        """The cost of a batch of so many responses with so many tokens in all."""
        return self.batch + self.response * responses + self.token * tokens

    def __add__(self, other: Line) -> Line:
        return Line(
            self.batch + other.batch,
            self.response + other.response,
            self.token + other.token,
            max(self.error, other.error),
        )


def fit(sizes: Sequence[Size], costs: Sequence[float]) -> Line:
    """The line whose relative errors have the least squares, with no cost below 0.

    Args:
        sizes: responses, and tokens of each; three or more that are not in proportion.
        costs: of each size, above 0.
    """
    responses, each = np.array(sizes, dtype=float).T
    columns = np.stack([np.ones(len(sizes)), responses, responses * each], axis=1)
    scale = columns.max(axis=0)  # as large as each other, or the least of them would count as 0
    measured = np.array(costs)
    found, _ = nnls(columns / scale / measured[:, None], np.ones(len(sizes)))
    error = np.abs(columns / scale @ found / measured - 1).max()
    batch, response, token = (found / scale).tolist()
    return Line(batch, response, token, float(error))


@dataclass(frozen=True)
class Load:
    """What a training run does, however many GPUs it has: the batch grows with the cluster, the step takes as long.

    Attributes:
        name: of the model.
        tokens_per_gpu_second: tokens of a batch, divided by the seconds of a step and by the GPUs.
        step_seconds: of a step without ResT.
        response_tokens: mean length of a response.
    """

    name: str
    tokens_per_gpu_second: float
    step_seconds: float
    response_tokens: float

    def batch(self, gpus: float) -> tuple[float, float]:
        """Responses and tokens of a step. All tokens count as those of responses, which is more than there are."""
        tokens = gpus * self.tokens_per_gpu_second * self.step_seconds
        return tokens / self.response_tokens, tokens


def share(line: Line, load: Load, gpus: float) -> float:
    """What a part of the driver's work adds to a step, as a share of the step without it."""
    return line.at(*load.batch(gpus)) / load.step_seconds


def gpus_at(line: Line, load: Load, limit: float) -> float:
    """How many GPUs the share reaches a limit at: infinite where it never does, 0 where it starts beyond."""
    left = limit * load.step_seconds - line.batch
    growth = line.response * load.batch(1)[0] + line.token * load.batch(1)[1]
    if left <= 0:
        return 0.0
    return left / growth if growth > 0 else math.inf

"""The arithmetic of scaling.py: a line through measured costs, and what follows from it for a cluster by three numbers
of a run. Those of `LOADS` are published ones (NVIDIA NeMo RL 0.4, docs/about/performance-summary.md, GRPO on policy on
H100).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Line:
    """What a batch costs: seconds per batch, response and token, 0 or more each."""

    batch: float
    response: float
    token: float

    def at(self, responses: float, tokens: float) -> float:
        """Seconds of a batch with that many responses and tokens in all."""
        return self.batch + self.response * responses + self.token * tokens

    def __add__(self, other: Line) -> Line:
        return Line(self.batch + other.batch, self.response + other.response, self.token + other.token)


def fit(sizes: Sequence[Sequence[int]], costs: Sequence[float]) -> Line:
    """The line of least squares of relative errors, with no cost below 0.

    Args:
        sizes: responses, and tokens of each; three or more that are not in proportion.
        costs: of each size, above 0.
    """
    responses, each = np.array(sizes, dtype=float).T
    columns = np.stack([np.ones(len(sizes)), responses, responses * each], axis=1)
    scale = columns.max(axis=0)  # as large as each other, or the smallest of them would count as 0
    found, _ = nnls(columns / scale / np.array(costs)[:, None], np.ones(len(sizes)))
    return Line(*(found / scale).tolist())


@dataclass(frozen=True)
class Load:
    """What a training run does, however many GPUs it has: the batch grows with the cluster, the step takes as long.
    Tokens are those of a batch divided by the seconds of a step and by the GPUs; the step is one without ResT."""

    name: str
    tokens_per_gpu_second: float
    step_seconds: float
    response_tokens: float  # on average

    @property
    def numbers(self) -> list[str]:
        """Its name and numbers, for a table."""
        return [self.name, *(f"{x:,g}" for x in (self.tokens_per_gpu_second, self.step_seconds, self.response_tokens))]

    def batch(self, gpus: float) -> tuple[float, float]:
        """Responses and tokens of a step. All tokens count as those of responses, which is more than there are."""
        tokens = gpus * self.tokens_per_gpu_second * self.step_seconds
        return tokens / self.response_tokens, tokens


LOADS = (
    Load("Llama 3.1 8B", 1562, 97.7, 1060),
    Load("Qwen3-30B-A3B", 925, 225, 3154),
    Load("Qwen3-32B", 540, 393, 3206),
    Load("Qwen3-235B-A22B", 45.7, 506, 5671),
    Load("DeepSeek V3", 11, 154, 745),
)


def share(line: Line, load: Load, gpus: float) -> float:
    """What a part of the driver's work adds to a step, as a share of the step without it."""
    return line.at(*load.batch(gpus)) / load.step_seconds


def gpus_at(line: Line, load: Load, limit: float) -> float:
    """The number of GPUs at which the share reaches a limit: infinite if it never does, 0 if it starts above."""
    begins = share(line, load, 0)
    more = share(line, load, 1) - begins
    if begins >= limit:
        return 0.0
    return (limit - begins) / more if more > 0 else math.inf

"""Scorers: how the rows of a data source are read and scored, one short module each, and the registry by source.

A scorer is registered for a pattern of data sources (`bfcl_*`). Of several patterns that fit, the longest counts; `*`,
which fits all, scores ground truths in the rlla format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rest_verl.bfcl.scorer import read_bfcl, score_bfcl
from rest_verl.common.registry import Registry
from rest_verl.reward.response import Response
from rest_verl.reward.scorers.apibank import score_apibank
from rest_verl.reward.scorers.rlla import score_rlla
from rest_verl.reward.tool_reward import RewardAtStep
from rest_verl.reward.truth import read_ground_truth


@dataclass(frozen=True)
class Scorer:
    """A scorer as it is registered.

    Attributes:
        score: from a response, the ground truth as `read` gives it, and the run's reward, to components by name:
            `score` is the reward, `acc` what validation reports first, each further one is logged.
        read: from `reward_model.ground_truth` of a row to what `score` takes; ValueError where it cannot be read:
            such rows are skipped and counted.
    """

    score: Callable[[Response, Any, RewardAtStep], dict[str, float]]
    read: Callable[[Any], Any]


_SCORERS: Registry[Scorer] = Registry(
    "scorer",
    {
        "*": Scorer(score_rlla, read_ground_truth),
        "apibank_*": Scorer(score_apibank, read_ground_truth),
        "bfcl_*": Scorer(score_bfcl, read_bfcl),
    },
)


def _as_it_is(ground_truth: Any) -> Any:
    return ground_truth


def register_scorer(pattern: str, read: Callable[[Any], Any] = _as_it_is) -> Callable[[Callable], Callable]:
    """Register a scorer: a decorator for its function; see `Scorer` for the arguments.

    Args:
        pattern: data sources that it scores, as in `shop_*`.
        read: how it reads ground truths; without one it gets them as the row has them.

    Raises:
        ValueError: the pattern is taken.
    """
    _SCORERS.check_free(pattern)

    def register(score: Callable[[Response, Any, RewardAtStep], dict[str, float]]) -> Callable:
        _SCORERS.add(pattern, Scorer(score, read))
        return score

    return register


def get_scorer(data_source: str) -> Scorer:
    """Return the scorer of a data source."""
    fitting = [pattern for pattern in _SCORERS.names() if fnmatchcase(data_source, pattern)]
    return _SCORERS.get(max(fitting, key=len))

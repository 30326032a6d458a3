"""The uncertainty of scores, and whether two models differ: means, standard errors and a paired bootstrap.

The questions are the random sample; answers to one question with several seeds are not additional questions. So the
answers to a question are averaged first, and the standard error of a category is sd / sqrt(n) over these averages. A
group is a weighted sum of independent categories: its variance is the sum of weight^2 * variance.

Intervals are Wilson's (1927), which have a width at 0 and 100 % too, where the standard error is 0. Several seeds
count as the number of questions that would give the variance of the averages, at least n and at most n * seeds. A
group's bounds lie as far from its mean as the root of the sum of (weight * distance)^2 over its parts (Zou and Donner,
2008, https://doi.org/10.1002/sim.3095).

To compare two models, the questions are resampled within each category, the same for both, and every score is
recomputed on each resample: the spread of the differences shows the effect of the choice of questions alone. If a
side has several runs (trainings with different seeds), these are resampled too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
Z = 1.959964  # quantile (1 + LEVEL) / 2 of the normal distribution


@dataclass(frozen=True)
class Outcomes:
    """The results of one run in one category.

    Attributes:
        ids: ids of the questions.
        accuracy: [question, seed], each in [0, 1].
        repeats: number of independent answers in each value; several where it is itself estimated from some.
    """

    ids: tuple[str, ...]
    accuracy: NDArray[np.float64]
    repeats: int = 1

    def question_means(self) -> NDArray[np.float64]:
        """The mean over seeds, [question]."""
        return self.accuracy.mean(axis=1)


@dataclass(frozen=True)
class Estimate:
    """A score.

    Attributes:
        mean: in [0, 1].
        standard_error: of the mean; None if a category has a single question.
        questions: number of questions.
        low, high: bounds of its interval at LEVEL, in [0, 1].
    """

    mean: float
    standard_error: float | None
    questions: int
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much better the second of two models is.

    Attributes:
        base, other: the score of each model, in [0, 1].
        mean: other - base.
        low, high: bounds that contain LEVEL of the resampled differences.
        ahead: share of resamples in which the second model is ahead; a tie counts half.
        p_value: twice the share of resamples on the smaller side of 0, with ties counted on both sides; at most 1,
            and never 0, since an additional tie is counted.
    """

    base: float
    other: float
    mean: float
    low: float
    high: float
    ahead: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def estimate(outcomes: Outcomes) -> Estimate:
    """Return the score of a category."""
    answers = outcomes.question_means()
    n, mean, variance = len(answers), float(answers.mean()), float(answers.var())
    error = float(answers.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    # the variance of one seed is mean * (1 - mean), and that of averages over seeds is smaller
    one_seed, seeds = mean * (1 - mean), outcomes.accuracy.shape[1] * outcomes.repeats
    more = min(seeds, one_seed / variance) if variance > 0 else seeds if 0 < mean < 1 else 1
    return Estimate(mean, error, n, *wilson(mean, n * more))


def wilson(mean: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share.

    Args:
        mean: share of right answers, in [0, 1].
        n: number of independent answers, which need not be whole.

    Returns:
        its bounds at LEVEL, within [0, 1].
    """
    square = Z**2 / n
    middle = (mean + square / 2) / (1 + square)
    half = math.sqrt(max(mean * (1 - mean), 0.0) * square + square**2 / 4) / (1 + square)
    return min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half))


def combine(estimates: Mapping[str, Estimate], weights: Mapping[str, float]) -> Estimate:
    """Return a group's score.

    Args:
        estimates: by category; those without a weight are ignored.
        weights: by category.
    """
    parts = [(weight, estimates[category]) for category, weight in weights.items()]
    errors = [weight * part.standard_error for weight, part in parts if part.standard_error is not None]
    mean = math.fsum(weight * part.mean for weight, part in parts)
    return Estimate(
        mean=mean,
        standard_error=math.hypot(*errors) if len(errors) == len(parts) else None,
        questions=sum(part.questions for _, part in parts),
        low=max(0.0, mean - math.hypot(*(weight * (part.mean - part.low) for weight, part in parts))),
        high=max(mean, min(1.0, mean + math.hypot(*(weight * (part.high - part.mean) for weight, part in parts)))),
    )


Run = Mapping[str, Outcomes]  # by category


def paired_bootstrap(
    base: Sequence[Run],
    other: Sequence[Run],
    scores: Mapping[str, Mapping[str, float]],
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Compare two models on the same questions.

    Args:
        base, other: the runs of each model, at least one each; all have the same categories and questions.
        scores: what to compare, by name: the weight of each category in it.
        resamples: number of resamples.
        seed: random seed; the same seed gives the same bounds.

    Raises:
        ValueError: a side has no run, or the questions differ.
    """
    runs = [*base, *other]
    if not base or not other:
        raise ValueError("nothing to compare: each side needs at least one run")
    categories = _same_categories(runs)
    rng = np.random.default_rng(seed)
    side = np.concatenate(
        [-_draw_run_weights(rng, len(base), resamples), _draw_run_weights(rng, len(other), resamples)], axis=1
    )
    differences = {}
    for category in categories:
        answers = np.stack([run[category].question_means() for run in runs], axis=1)  # question x run
        differences[category] = (_resampled_means(rng, answers, resamples) * side).sum(axis=1)
    return {
        name: _difference(
            _mean_score(base, weights),
            _mean_score(other, weights),
            np.asarray(sum(weight * differences[category] for category, weight in weights.items())),
        )
        for name, weights in scores.items()
    }


def _same_categories(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    for run in runs[1:]:
        if different := sorted(first.keys() ^ run.keys()):
            raise ValueError(f"only one run has answers to {', '.join(different)}; compare runs on the same questions")
        for category, outcomes in first.items():
            if outcomes.ids != run[category].ids:
                odd = sorted(set(outcomes.ids) ^ set(run[category].ids))
                raise ValueError(
                    f"the questions of {category} differ ({len(odd)} are only in one run, such as "
                    f"{', '.join(odd[:3])}); compare runs with the same --limit"
                )
    return sorted(first)


def _draw_run_weights(rng: np.random.Generator, runs: int, resamples: int) -> NDArray[np.float64]:
    """The weight of each run of a side in each resample, [resample, run]; 1 if there is one run."""
    return rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs


def _resampled_means(rng: np.random.Generator, answers: NDArray[np.float64], resamples: int) -> NDArray[np.float64]:
    """The mean of each run over questions drawn with replacement, [resample, run].

    Questions with the same outcomes in all runs form one case: the number of times that a resample contains each case
    is multinomial, exactly as if questions were drawn one by one, at a cost that does not grow with their number.
    """
    cases, counts = np.unique(answers, axis=0, return_counts=True)
    drawn = rng.multinomial(len(answers), counts / len(answers), size=resamples)
    return drawn @ cases / len(answers)


def _mean_score(runs: Sequence[Run], weights: Mapping[str, float]) -> float:
    scores = [
        math.fsum(weight * float(run[category].question_means().mean()) for category, weight in weights.items())
        for run in runs
    ]
    return math.fsum(scores) / len(scores)


def _difference(base: float, other: float, resampled: NDArray[Any]) -> Difference:
    resampled = np.where(np.abs(resampled) < 1e-12, 0.0, resampled)  # exact ties, apart from rounding
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    above, below, n = int((resampled > 0).sum()), int((resampled < 0).sum()), len(resampled)
    return Difference(
        base=base,
        other=other,
        mean=other - base,
        low=float(low),
        high=float(high),
        ahead=(n + above - below) / (2 * n),
        p_value=min(1.0, 2 * (n + 1 - max(above, below)) / (n + 1)),
    )

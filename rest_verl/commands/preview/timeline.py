"""A run's weights and reward bounds over its training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rest_verl.commands.preview.assumed import Assumed
from rest_verl.commands.preview.run import Run
from rest_verl.commands.preview.weights import Moment, Weights, follows_entropy, weigh
from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import RestConfig
from rest_verl.config.reward import RewardConfig
from rest_verl.core.regions import Region
from rest_verl.weighting.schemes import get_scheme

# Shares of the first structure entropy at which weights are shown if lam follows it.
ENTROPY_LEFT = (1.0, 0.75, 0.5, 0.25, 0.0)
POINTS = 200  # per curve
BY_STEPS = ("linear", "cosine", "exponential", "step")  # curricula that need no run length with unit=step
BOUNDS = ("format_min", "format_max", "correctness_min", "correctness_max")


@dataclass(frozen=True)
class Timeline:
    """A run's weights over its training.

    Attributes:
        run: the run.
        assumed: the batch that is weighed.
        steps: the steps to show.
        last: the last step of the curves.
        shown: the weights at `steps`, or at the shares `ENTROPY_LEFT` if lam follows the measured entropy; empty if
            the run weights no tokens.
        curve: the weights at close steps from 1 to `last`.
    """

    run: Run
    assumed: Assumed
    steps: list[int]
    last: int
    shown: list[Weights]
    curve: list[Weights]

    @property
    def has_reward(self) -> bool:
        """Whether the bounds of `rest.reward` apply to the run."""
        return self.run.reward_manager == "rest_tool"


def timeline(run: Run, assumed: Assumed, steps: Sequence[int] | None) -> Timeline:
    """Preview a run.

    Args:
        steps: the steps to show; None for the first, the last and the quarters between them.

    Raises:
        ValueError: a step lies outside the run; the run's length is needed but unknown; or as `weigh` does.
    """
    rest, total = run.rest, run.total_steps
    if rest.weights_from == "state":
        assumed = assumed.by_state()
    weighted, rewarded = run.estimator == "rest", run.reward_manager == "rest_tool"
    if weighted and total is None and _needs_total_steps(rest):
        raise ValueError(
            f"rest.curriculum.kind={rest.curriculum.kind} moves over a fraction of training, and the run's length "
            "depends on its data: give --total-steps (trainer.total_epochs * rows of data.train_files / "
            "data.train_batch_size)"
        )
    for step in steps or ():
        if step < 1 or (total is not None and step > total):
            raise ValueError(f"--steps {step}: expected 1 to {total or 'the last step of the run'}")
    last = total or max([*(steps or ()), last_move(rest, weighted, rewarded)])
    shown = sorted(set(steps)) if steps else sorted({max(1, round(last * quarter / 4)) for quarter in range(5)})
    table: list[Moment] = []
    curve: list[Moment] = []
    if weighted and follows_entropy(rest):
        table = [Moment(last, last, left) for left in ENTROPY_LEFT]
        curve = [Moment(last, last, 1 - point / POINTS) for point in range(POINTS + 1)]
    elif weighted:
        table = [Moment(step, total or last, 1.0) for step in shown]
        curve = [Moment(step, total or last, 1.0) for step in curve_steps(last)]
    weigh_at = [[weigh(rest, assumed, moment) for moment in moments] for moments in (table, curve)]
    return Timeline(run, assumed, shown, last, *weigh_at)


def curve_steps(last: int) -> list[int]:
    """Up to `POINTS` + 1 steps from 1 to the last."""
    return sorted({1 + round((last - 1) * point / POINTS) for point in range(POINTS + 1)})


def reward_bounds(reward: RewardConfig, step: int) -> dict[str, float]:
    """Bounds of each part of the reward and of their sum at a step: `<part>_min` and `<part>_max`."""
    bounds = {key: getattr(reward, key).schedule()(step) for key in BOUNDS}
    bounds |= {"length_min": reward.length.min, "length_max": reward.length.max}
    for end in ("min", "max"):
        bounds[f"score_{end}"] = sum(bounds[f"{part}_{end}"] for part in ("format", "correctness", "length"))
    return bounds


def last_move(rest: RestConfig, weighted: bool, rewarded: bool) -> int:
    """The last step at which a setting scheduled by steps changes; 1 if there is none."""
    ends = [end for _, _, end in moving_ramps(rest, weighted, rewarded)]
    if weighted and "curriculum" in get_scheme(rest.scheme).reads and rest.curriculum.unit == "step":
        ends.append(math.ceil(rest.curriculum.end))
    return max([1, *ends])


def moving_ramps(rest: RestConfig, weighted: bool, rewarded: bool) -> Iterator[tuple[str, Ramp, int]]:
    """Key, ramp and last step of every setting that changes during the run."""
    ramps: dict[str, Ramp] = {}
    if weighted and "weights" in get_scheme(rest.scheme).reads:
        names = [region.label for region in Region]
        ramps |= {f"rest.weights.{name}": getattr(rest.weights, name) for name in names}
    if rewarded:
        ramps |= {f"rest.reward.{key}": getattr(rest.reward, key) for key in BOUNDS}
        if rest.reward.length.min != rest.reward.length.max:
            ramps["rest.reward.length.words"] = rest.reward.length.words
    for key, ramp in ramps.items():
        if ramp.limit is not None and ramp.limit != ramp.start and ramp.slope != 0:
            # rounded, since (1 - 0.6) / 0.002 may be slightly more than 200
            yield key, ramp, ramp.begin + math.ceil(round((ramp.limit - ramp.start) / ramp.slope, 6))


def _needs_total_steps(rest: RestConfig) -> bool:
    """Whether lam at a step depends on the length of the run."""
    settings = rest.curriculum
    if "curriculum" not in get_scheme(rest.scheme).reads or settings.kind in ("constant", "adaptive"):
        return False
    return settings.unit == "fraction" or settings.kind not in BY_STEPS

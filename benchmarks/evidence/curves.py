"""What is said of learning curves: final accuracy, the area under a curve, steps to an accuracy, collapses, and paired
differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evidence.intervals import Interval, difference_interval
from evidence.loop import Validation

COLLAPSE = 0.05


@dataclass(frozen=True)
class Run:
    """A run of a study.

    Attributes:
        variant: name of what was trained with.
        seed: runs of two variants with one seed are a pair.
        validations: in order of their steps; the first is before training.
    """

    variant: str
    seed: int
    validations: Sequence[Validation]

    @property
    def final(self) -> float:
        """Accuracy at the last validation."""
        return self.validations[-1].accuracy

    @property
    def final_unseen(self) -> float:
        """The same over unseen combinations."""
        return self.validations[-1].unseen

    @property
    def mean(self) -> float:
        """Mean accuracy over training: the area under the curve by the share of training, by trapezoids."""
        steps = [validation.step for validation in self.validations]
        return float(np.trapezoid([validation.accuracy for validation in self.validations], steps) / steps[-1])

    @property
    def collapsed(self) -> bool:
        """Whether it ends below where it started, by more than `COLLAPSE`."""
        return self.final < self.validations[0].accuracy - COLLAPSE

    def steps_to(self, accuracy: float) -> float | None:
        """Steps until an accuracy is reached first, with a straight line between validations; None if it never is."""
        before = self.validations[0]
        if before.accuracy >= accuracy:
            return float(before.step)
        for after in self.validations[1:]:
            if after.accuracy >= accuracy:
                share = (accuracy - before.accuracy) / (after.accuracy - before.accuracy)
                return before.step + share * (after.step - before.step)
            before = after
        return None


def of_variant(runs: Sequence[Run], variant: str) -> dict[int, Run]:
    """The runs of a variant by seed."""
    return {run.seed: run for run in runs if run.variant == variant}


def paired_difference(runs: Sequence[Run], variant: str, against: str, quantity: str) -> Interval:
    """Mean over seeds of variant minus the other, with its interval; `quantity` is a property of `Run`. A seed that
    only one of them has is left out."""
    ours, theirs = of_variant(runs, variant), of_variant(runs, against)
    seeds = sorted(ours.keys() & theirs.keys())
    return difference_interval(*([getattr(side[seed], quantity) for seed in seeds] for side in (ours, theirs)))


def target_accuracy(runs: Sequence[Run], baseline: str) -> float:
    """The accuracy that steps are counted to: halfway from the start to the baseline's mean final one."""
    found = of_variant(runs, baseline).values()
    start = float(np.mean([run.validations[0].accuracy for run in found]))
    return (start + float(np.mean([run.final for run in found]))) / 2


def mean_steps_to(runs: Sequence[Run], variant: str, accuracy: float) -> tuple[float | None, int]:
    """Mean steps to an accuracy over the runs of a variant that reach it (None if none does), and how many do."""
    reached = [found for run in of_variant(runs, variant).values() if (found := run.steps_to(accuracy)) is not None]
    return (float(np.mean(reached)) if reached else None), len(reached)

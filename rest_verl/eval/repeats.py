"""pass@k and pass^k: whether one of k answers to a question is right, and whether all k are.

Of n answers to a question, c of them right, the share of choices of k that hold a right one is
1 - C(n-c, k) / C(n, k) (Chen et al., 2021, https://arxiv.org/abs/2107.03374), and of those that hold no wrong one
C(c, k) / C(n, k) (Yao et al., 2024, https://arxiv.org/abs/2406.12045). Both are unbiased for k answers; with k = 1
both are the share that is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np

from rest_verl.eval.statistics import Outcomes, Run

_NAME = re.compile(r"pass([@^])([1-9][0-9]*)")


@dataclass(frozen=True)
class Measure:
    """pass@k or pass^k.

    Attributes:
        k: number of answers.
        every: whether all of them have to be right (pass^k), and not one (pass@k).
    """

    k: int
    every: bool

    @classmethod
    def parse(cls, name: str) -> Measure:
        """Read a name as it is shown.

        Raises:
            ValueError: it is none.
        """
        if (found := _NAME.fullmatch(name)) is None:
            raise ValueError(f"unknown measure {name!r}: allowed: pass@K and pass^K, such as pass@4 or pass^4")
        return cls(int(found[2]), found[1] == "^")

    def __str__(self) -> str:
        return f"pass{'^' if self.every else '@'}{self.k}"

    def share(self, right: int, answers: int) -> float:
        """Estimate of one question.

        Args:
            right: number of right answers, 0 to `answers`.
            answers: number of answers, at least k.
        """
        if self.every:
            return comb(right, self.k) / comb(answers, self.k)
        return 1.0 - comb(answers - right, self.k) / comb(answers, self.k)

    def of(self, run: Run) -> Run:
        """The estimates of a run by question, in place of its answers.

        Raises:
            ValueError: a question has fewer than k answers.
        """
        return {source: self._of(source, outcomes) for source, outcomes in run.items()}

    def _of(self, source: str, outcomes: Outcomes) -> Outcomes:
        answers = outcomes.accuracy.shape[1]
        if answers < self.k:
            raise ValueError(
                f"{self} needs {self.k} answers to each question and {source} has {answers}: ask with "
                f"--seeds {self.k} and a --temperature above 0"
            )
        right = (outcomes.accuracy == 1).sum(axis=1)
        shares = np.array([[self.share(int(count), answers)] for count in right])
        return Outcomes(outcomes.ids, shares, repeats=answers // self.k)


def measures(answers: int) -> Iterator[Measure]:
    """What to report of questions with this many answers each: k = 2, 4, 8, ... and all of them; nothing for one."""
    powers = [2**power for power in range(1, answers.bit_length()) if 2**power < answers]
    for k in [*powers, answers] if answers > 1 else []:
        yield Measure(k, every=False)
        yield Measure(k, every=True)

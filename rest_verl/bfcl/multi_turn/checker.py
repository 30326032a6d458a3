"""BFCL's verdict on a multi-turn trajectory, turn by turn while it runs.

After each turn of the user the calls that were due are run on instances of their own. The turn is right when the
trajectory's instances are in the same state as these, and when each result of a due call is among the results that
the trajectory has got so far, as often. A turn in which calls are due and none was made is wrong; one in which none
are due is not looked at. BFCL accepts a trajectory when it went through all turns and each is right.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from enum import Enum

from rest_verl.bfcl.multi_turn.executor import Executor
from rest_verl.core.tool_calls import ToolCall


class Verdict(Enum):
    """What became of a turn."""

    RIGHT = "right"
    NOT_DUE = "no call is due, so it is not looked at"
    NO_CALL = "calls are due and none was made"
    STATE = "the state is another one"
    RESULTS = "the result of a due call is missing"


class Checker:
    """Judges the turns of one trajectory, each once and in their order."""

    def __init__(self, due: Sequence[Sequence[ToolCall]], expected: Executor):
        """
        Args:
            due: the calls of each turn.
            expected: runs them; it must begin as the trajectory's executor does.
        """
        self._due = due
        self._expected = expected
        self._verdicts: list[Verdict] = []
        self._results: Counter[bytes] = Counter()  # of the whole trajectory, as digests: they may be long
        self._called = False

    def note_call(self, result: str | None) -> None:
        """Note that the trajectory made a call, and its result; None where there is no such tool."""
        self._called = True
        if result is not None:
            self._results[_digest(result)] += 1

    def judge_turn(self, acting: Executor) -> Verdict:
        """Judge the turn that ends here.

        Args:
            acting: what the trajectory acts on, as the turn left it.

        Raises:
            IndexError: all turns are judged.
        """
        due = self._due[len(self._verdicts)]
        wanted = Counter(_digest(self._expected.call(call.name, call.arguments)) for call in due)
        if not due:
            verdict = Verdict.NOT_DUE
        elif not self._called:
            verdict = Verdict.NO_CALL
        elif not _same_state(acting, self._expected):
            verdict = Verdict.STATE
        else:
            verdict = Verdict.RIGHT if wanted <= self._results else Verdict.RESULTS
        self._verdicts.append(verdict)
        self._called = False
        return verdict

    def score(self) -> dict[str, float]:
        """Score the trajectory by the turns judged so far; those that are not count as wrong.

        Returns:
            `score`, the share of right turns among those in which calls are due; `acc`, 1 where BFCL accepts the
            trajectory; `turns_right`, `turns_due`, and `turns_reached`, which counts all that were judged.
        """
        due = sum(bool(calls) for calls in self._due)
        right = self._verdicts.count(Verdict.RIGHT)
        reached = len(self._verdicts)
        return {
            "score": right / due,
            "acc": float(right == due and reached == len(self._due)),
            "turns_right": float(right),
            "turns_due": float(due),
            "turns_reached": float(reached),
        }


def _digest(result: str) -> bytes:
    return hashlib.blake2b(result.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _same_state(acting: Executor, expected: Executor) -> bool:
    # A directory that the model copied into itself has no end, but it is compared no deeper than what is due goes.
    states = acting.states()
    return all(
        key in states[name] and states[name][key] == value
        for name, state in expected.states().items()
        for key, value in state.items()
    )

"""BFCL's verdict on a multi-turn trajectory, turn by turn while it runs.

After each user turn, the calls that were due are run on separate instances. The turn is right if the trajectory's
instances have the same state as these and the results of all due calls are among the trajectory's results so far, with
multiplicity. A turn without calls is wrong if any are due; a turn in which none are due is not judged. BFCL accepts a
trajectory if it went through all turns and every judged turn is right.

So BFCL lets calls that only read be made blindly, as many as one likes: where the due calls only read, a turn is right
if the due ones are among them. The dense score, which training rewards, charges them; `acc` stays BFCL's:

    score = turns_right / turns_due * D / (D + surplus)      D: number of due calls of all turns

where surplus is the number of calls beyond those due, turn by turn, failed ones included: an extra call costs as much
as a missing one, as in the rules `strict`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from enum import Enum

from rest_verl.bfcl.multi_turn.executor import Executor
from rest_verl.core.tool_calls import ToolCall


class Verdict(Enum):
    """The verdict on a turn."""

    RIGHT = "right"
    NOT_DUE = "no call is due, so the turn is not judged"
    NO_CALL = "calls are due, but none was made"
    STATE = "the state differs"
    RESULTS = "the result of a due call is missing"


class Checker:
    """Judges the turns of one trajectory, each once and in order."""

    def __init__(self, due: Sequence[Sequence[ToolCall]], expected: Executor):
        """
        Args:
            due: the due calls of each turn.
            expected: runs them; it must start in the same state as the trajectory's executor.
        """
        self._due = due
        self._expected = expected
        self._verdicts: list[Verdict] = []
        self._results: Counter[bytes] = Counter()  # digests of the whole trajectory's results, which may be long
        self._called = 0  # calls of the running turn
        self._surplus = 0

    def note_call(self, result: str | None) -> None:
        """Record a call of the trajectory by its result; None if there is no such tool."""
        self._called += 1
        if result is not None:
            self._results[_digest(result)] += 1

    def judge_turn(self, acting: Executor) -> Verdict:
        """Judge the turn that just ended.

        Args:
            acting: the trajectory's executor, in its state after the turn.

        Raises:
            IndexError: all turns have been judged.
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
        self._surplus += max(self._called - len(due), 0)
        self._called = 0
        return verdict

    def turn_scores(self) -> list[float]:
        """What each judged turn is worth of `score`."""
        due = sum(bool(calls) for calls in self._due)
        return [float(verdict is Verdict.RIGHT) / due for verdict in self._verdicts]

    def score(self) -> dict[str, float]:
        """Score the trajectory by the turns judged so far; the others count as wrong.

        Returns:
            `score`, the share of right turns among those in which calls are due, less what surplus calls cost; `acc`,
            1 if BFCL accepts the trajectory; `turns_right`, `turns_due`, and `turns_reached`, the number of judged
            turns; `calls_surplus`, the number of calls beyond those due.
        """
        due = sum(bool(calls) for calls in self._due)
        right = self._verdicts.count(Verdict.RIGHT)
        reached = len(self._verdicts)
        due_calls = sum(map(len, self._due))
        return {
            "score": right / due * due_calls / (due_calls + self._surplus),
            "acc": float(right == due and reached == len(self._due)),
            "turns_right": float(right),
            "turns_due": float(due),
            "turns_reached": float(reached),
            "calls_surplus": float(self._surplus),
        }


def _digest(result: str) -> bytes:
    return hashlib.blake2b(result.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _same_state(acting: Executor, expected: Executor) -> bool:
    # A directory that the model copied into itself is infinite, but is compared only as deep as the expected state.
    states = acting.states()
    return all(
        key in states[name] and states[name][key] == value
        for name, state in expected.states().items()
        for key, value in state.items()
    )

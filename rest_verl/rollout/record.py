"""The record of a trajectory: a table of its turns, numbers for the metrics, and the reason for its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from rest_verl.config.rollout import RolloutConfig
from rest_verl.rollout.calls import ERRORS, Call

# Reasons for the end of a trajectory. `done`: the last turn has no call, and the user is done. `user_failed`: a user
# who is a model did not answer.
REASONS = ("done", "response_length", "assistant_turns", "user_turns", "steps", "calls", "seconds", "user_failed")


@dataclass
class GeneratedTurn:
    """One generation.

    Attributes:
        start: position of its first token in the response.
        user_turn: number of the user turn that it answers, from 0.
        seconds: duration in seconds.
        calls: its calls.
        state: name of the environment's state in which it was generated, if the environment names its states.
    """

    start: int
    user_turn: int
    seconds: float
    calls: list[Call]
    state: str | None = None


@dataclass
class Record:
    """The trajectory so far."""

    began: float = field(default_factory=time.monotonic)
    turns: list[GeneratedTurn] = field(default_factory=list)
    user_turn: int = 0
    tool_turns: int = 0
    ended_by: str | None = None
    user_numbers: Mapping[str, float] = field(default_factory=dict)  # what a user who is a model has cost

    @property
    def calls(self) -> list[Call]:
        """All calls, including those that were not run."""
        return [call for turn in self.turns for call in turn.calls]

    def seconds_left(self, max_seconds: float) -> float:
        """Remaining seconds of the trajectory, at least 0."""
        return max(0.0, self.began + max_seconds - time.monotonic())

    def fields(self, response_mask: Sequence[int], with_table: bool) -> dict[str, Any]:
        """Fields for the weights, the reward, the metrics and the records: `rest_turns`, `rest_rollout`, and where
        there are any `rest_states` and `rest_turn_table`.

        Args:
            response_mask: 1 for each generated token of the final response, 0 for all others.
            with_table: whether to add the turn table, which holds the texts of all calls and results.
        """
        table: list[dict[str, Any]] = []
        states: list[str] = []
        closed = [*response_mask, 0]
        for turn in self.turns:
            # The mask decides where a turn ends: a chat template may merge its last token into the next message.
            bounds = [turn.start, closed.index(0, turn.start)]
            calls = [call.row() for call in turn.calls]
            if turn.state is not None and bounds[0] < bounds[1]:
                states.append(turn.state)
            table.append({"tokens": bounds, "user_turn": turn.user_turn, "seconds": turn.seconds, "calls": calls})
        return (
            {"rest_turns": [row["tokens"] for row in table], "rest_rollout": self._numbers()}
            | ({"rest_states": states} if states else {})
            | ({"rest_turn_table": table} if with_table else {})
        )

    def decided(self, turn_scores: Sequence[float], bounds: Sequence[Sequence[int]]) -> list[list[float]]:
        """What was decided before the end, as [token, amount], with tokens counted over what the policy generated in
        the whole trajectory: each score of a user turn at the turn's last token, and each reward of a verl tool at the
        last token of the generation that called it.

        Args:
            turn_scores: of the user turns, in order; those left out have none.
            bounds: of each generated turn: `rest_turns`.
        """
        ends = list(accumulate(end - start for start, end in bounds))
        scored = [[self._tokens_until(number, ends) - 1, score] for number, score in enumerate(turn_scores)]
        rewarded = [
            [end - 1, call.reward]
            for turn, end in zip(self.turns, ends, strict=True)
            for call in turn.calls
            if call.reward is not None
        ]
        return sorted(one for one in scored + rewarded if one[0] >= 0)

    def _tokens_until(self, user_turn: int, ends: Sequence[int]) -> int:
        """Number of tokens generated up to the end of a user turn, given those up to the end of each generation."""
        return max((end for turn, end in zip(self.turns, ends, strict=True) if turn.user_turn <= user_turn), default=0)

    def _numbers(self) -> dict[str, float]:
        """Numbers that the run logs about the trajectory."""
        calls = self.calls
        errors = Counter(call.error for call in calls)
        numbers = {
            "user_turns": self.user_turn + 1,
            "assistant_turns": len(self.turns),
            "calls": len(calls),
            "calls_per_turn": len(calls) / len(self.turns),
            "tool_seconds": sum(call.seconds for call in calls),
        }
        numbers |= {f"tool_errors/{error}": errors[error] for error in ERRORS}
        numbers |= {f"simulated_user/{name}": number for name, number in self.user_numbers.items()}
        numbers |= {f"ended_by/{reason}": reason == self.ended_by for reason in REASONS}
        return {name: float(number) for name, number in numbers.items()}


@dataclass(frozen=True)
class Limits:
    """Limits of a trajectory.

    Attributes:
        rollout: limits from `rest.rollout`.
        assistant_turns, tool_turns, calls_per_turn: `max_assistant_turns`, `max_user_turns` (which also counts tool
            turns) and `max_parallel_calls` of verl's `multi_turn`; None for no limit.
    """

    rollout: RolloutConfig
    assistant_turns: int | None
    tool_turns: int | None
    calls_per_turn: int | None

    def reached(self, record: Record) -> str | None:
        """Name of the first limit that forbids another generation; None if none does."""
        rollout = self.rollout
        steps = sum(turn.user_turn == record.user_turn for turn in record.turns)
        reached = {
            "assistant_turns": self.assistant_turns and len(record.turns) >= self.assistant_turns,
            "user_turns": (rollout.max_user_turns and record.user_turn >= rollout.max_user_turns)
            or (self.tool_turns and record.tool_turns >= self.tool_turns),
            "steps": steps >= rollout.max_steps_per_turn,
            "calls": len(record.calls) > rollout.max_calls,
            "seconds": record.seconds_left(rollout.max_seconds) == 0,
        }
        return next((reason for reason, is_reached in reached.items() if is_reached), None)

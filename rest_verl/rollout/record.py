"""What is written down about a trajectory: a table of its turns, numbers for the metrics, and why it ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_verl.config.rollout import RolloutConfig
from rest_verl.rollout.calls import ERRORS, Call

# `done`: no further call, and the user is done.
REASONS = ("done", "response_length", "assistant_turns", "user_turns", "steps", "calls", "seconds")


@dataclass
class GeneratedTurn:
    """One generation.

    Attributes:
        start: its first token, counted in the response.
        user_turn: number of the user's message that it answers, from 0.
        seconds: that it took.
        calls: that it made.
    """

    start: int
    user_turn: int
    seconds: float
    calls: list[Call]


@dataclass
class Record:
    """The trajectory so far."""

    began: float = field(default_factory=time.monotonic)
    turns: list[GeneratedTurn] = field(default_factory=list)
    user_turn: int = 0
    tool_turns: int = 0
    ended_by: str | None = None

    @property
    def calls(self) -> list[Call]:
        """All calls, those included that were not run."""
        return [call for turn in self.turns for call in turn.calls]

    def seconds_left(self, max_seconds: float) -> float:
        """Of the trajectory; not below 0."""
        return max(0.0, self.began + max_seconds - time.monotonic())

    def fields(self, response_mask: Sequence[int]) -> dict[str, Any]:
        """What the reward, the viewer and the metrics read: `rest_turns`, `rest_turn_table`, `rest_rollout`.

        Args:
            response_mask: 1 for each generated token of the response, as it is trained on.
        """
        table = []
        closed = [*response_mask, 0]
        for turn in self.turns:
            # A turn ends where the mask says: a chat template may take its last token into the message that follows.
            bounds = [turn.start, closed.index(0, turn.start)]
            calls = [call.row() for call in turn.calls]
            table.append({"tokens": bounds, "user_turn": turn.user_turn, "seconds": turn.seconds, "calls": calls})
        return {
            "rest_turns": [row["tokens"] for row in table],
            "rest_turn_table": table,
            "rest_rollout": self._numbers(),
        }

    def _numbers(self) -> dict[str, float]:
        """What the run logs about the trajectory."""
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
        numbers |= {f"ended_by/{reason}": reason == self.ended_by for reason in REASONS}
        return {name: float(number) for name, number in numbers.items()}


@dataclass(frozen=True)
class Limits:
    """How far a trajectory may go.

    Attributes:
        rollout: our settings.
        assistant_turns, tool_turns, calls_per_turn: `max_assistant_turns`, `max_user_turns` (which counts tool turns
            too) and `max_parallel_calls` of verl's `multi_turn`; None for no limit.
    """

    rollout: RolloutConfig
    assistant_turns: int | None
    tool_turns: int | None
    calls_per_turn: int | None

    def reached(self, record: Record) -> str | None:
        """The limit that forbids another generation; None where there is none."""
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

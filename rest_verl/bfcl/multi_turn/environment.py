"""BFCL's multi-turn tasks for the agent loop: separate instances per trajectory, scored as BFCL does."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from rest_verl.bfcl.messages import TaskMessage
from rest_verl.bfcl.multi_turn.apis import API_CLASSES
from rest_verl.bfcl.multi_turn.checker import Checker
from rest_verl.bfcl.multi_turn.executor import Executor
from rest_verl.common.names import unknown_name
from rest_verl.config.ramp import STRICT
from rest_verl.core.tool_calls import ToolCall
from rest_verl.rollout.environment import Message, NoEnvironment, Opening, register_environment
from rest_verl.rollout.row_arguments import validated


@dataclass(frozen=True, config=STRICT)
class Task:
    """The arguments of the environment: the keys of `environment_kwargs`.

    Attributes:
        id: BFCL's own id.
        initial_config: initial scenario of each class.
        involved_classes: the API classes that can be called.
        turns: the messages of each user turn except for the first, which is in the prompt.
        ground_truth: the calls that are due in each turn.
        long_context: whether states and results are padded.
        held_out: by turn number (as text, since JSON has no other keys; the first turn is 0), the names that cannot be
            called before that turn.
    """

    id: str
    initial_config: dict[str, dict[str, Any]]
    involved_classes: list[str]
    turns: list[list[TaskMessage]]
    ground_truth: list[list[ToolCall]]
    long_context: bool
    held_out: dict[str, list[str]]

    def __post_init__(self) -> None:
        for name in self.involved_classes:
            if name not in API_CLASSES:
                raise ValueError(f"involved_classes: {unknown_name('API class of BFCL', name, API_CLASSES)}")
        if len(self.ground_truth) != len(self.turns) + 1:
            raise ValueError(
                f"ground_truth has {len(self.ground_truth)} turns and turns has {len(self.turns)}: the first turn is "
                "in the prompt, so turns must have one fewer"
            )
        if not any(self.ground_truth):
            raise ValueError("ground_truth has no call in any turn, so there is nothing to score")
        for turn in self.held_out:
            if not turn.isdecimal() or not 0 < int(turn) < len(self.ground_truth):
                raise ValueError(f"held_out: {turn!r} is not a later turn; allowed: 1 to {len(self.turns)} as text")


_TASK = TypeAdapter(Task)


def read_task(kwargs: Mapping[str, Any]) -> Task:
    """Read the JSON values of `environment_kwargs`.

    Raises:
        ValueError: keys are missing, unknown or invalid; the message names each.
    """
    return validated(_TASK, kwargs, "arguments of the environment bfcl_multi_turn")


class _Judged:
    """Instances that a trajectory acts on, and the verdict on it."""

    def __init__(self, task: Task):
        scenario = (task.involved_classes, task.initial_config, task.long_context)
        self._acting = Executor(*scenario)
        self.checker = Checker(task.ground_truth, Executor(*scenario))

    def names(self) -> frozenset[str]:
        return self._acting.names()

    def call(self, name: str, arguments: dict[str, Any], refused: bool = False) -> str:
        """Run a call and count it; KeyError if there is no such tool, or it is refused."""
        try:
            if refused:
                raise KeyError(name)
            result = self._acting.call(name, arguments)
        except KeyError:
            self.checker.note_call(None)
            raise
        self.checker.note_call(result)
        return result

    def judge_turn(self) -> None:
        self.checker.judge_turn(self._acting)


@register_environment("bfcl_multi_turn")
class BfclMultiTurn(NoEnvironment):
    """One task of BFCL. The prompt lists the tools; messages of later turns list those that the turn adds.

    Calls run in the event loop, since none takes long (`refuse_costly`).
    """

    def __init__(self, **task: Any):
        """
        Args:
            task: see `Task`.

        Raises:
            ValueError: keys are missing, unknown or invalid; the message names each.
        """
        super().__init__()
        self._task = read_task(task)
        self._turn = 0
        self._judged: _Judged | None = None
        self._on_leaderboard: _Judged | None = None

    async def reset(self) -> Opening:
        """Create the instances.

        Raises:
            ValueError: a due or held-out name is not a method of the involved classes.
            ModuleNotFoundError: bfcl_eval or mpmath is not installed; the message says how to install it.
        """
        task = self._task
        self._judged = _Judged(task)
        self._on_leaderboard = _Judged(task) if task.held_out else None
        named = {call.name for calls in task.ground_truth for call in calls}.union(*task.held_out.values())
        if unknown := named - self._judged.names():
            raise ValueError(f"{task.id}: {sorted(unknown)} are not methods of {', '.join(task.involved_classes)}")
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a call (`Executor.call`); KeyError also for a tool that a later turn adds."""
        if self._on_leaderboard is not None:
            with contextlib.suppress(KeyError):
                self._on_leaderboard.call(name, arguments)
        return self._running().call(name, arguments, refused=self._is_held_out(name))

    async def next_user_turn(self) -> Sequence[Message] | None:
        """Judge the turn that just ended and return the messages of the next one."""
        self._judge_turn()
        self._turn += 1
        if self._turn > len(self._task.turns):
            return None
        return [{"role": one.role, "content": one.content} for one in self._task.turns[self._turn - 1]]

    async def score(self) -> dict[str, float]:
        """Score the trajectory (`Checker.score`); an unfinished turn is judged by the calls made in it.

        `acc` is the leaderboard's: it runs a tool that a later turn adds if the model calls it before.
        """
        if self._turn < len(self._task.ground_truth):
            self._judge_turn()
        score = self._running().checker.score()
        return score if self._on_leaderboard is None else score | {"acc": self._on_leaderboard.checker.score()["acc"]}

    def turn_scores(self) -> list[float]:
        """Score the judged turns (`Checker.turn_scores`)."""
        return self._running().checker.turn_scores()

    async def close(self) -> None:
        self._judged = self._on_leaderboard = None

    def _running(self) -> _Judged:
        if self._judged is None:
            raise RuntimeError("the environment is closed or was never reset: call reset() first and close() last")
        return self._judged

    def _judge_turn(self) -> None:
        self._running().judge_turn()
        if self._on_leaderboard is not None:
            self._on_leaderboard.judge_turn()

    def _is_held_out(self, name: str) -> bool:
        return any(self._turn < int(turn) and name in names for turn, names in self._task.held_out.items())

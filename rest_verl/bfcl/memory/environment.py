"""BFCL's memory tasks for the agent loop: tools that act on a memory of the trajectory's own.

There are two kinds of tasks. A question is one request about what earlier conversations said; the scorer of the row's
data source judges the answer. A conversation is one of those earlier ones, in which the user tells things over many
turns and the policy decides what to remember. BFCL does not judge it; here its score is the share of the facts told in
it that the memory holds at its end. A fact is held if the memory mentions a value that BFCL accepts as the answer to
the question about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from rest_verl.bfcl.memory.judge import mentions
from rest_verl.bfcl.memory.store import Memory, MemoryStore, check_memory, text_of_memory
from rest_verl.bfcl.messages import TaskMessage
from rest_verl.config.ramp import STRICT
from rest_verl.rollout.environment import LeftToScorer, Message, NoEnvironment, Opening, register_environment
from rest_verl.rollout.row_arguments import validated


@dataclass(frozen=True, config=STRICT)
class Task:
    """The arguments of the environment: the keys of `environment_kwargs`.

    Attributes:
        backend: one of `store.BACKENDS`.
        memory: the memory at the start (`store`).
        turns: the messages of each user turn except for the first, which is in the prompt; empty for a question.
        facts: the accepted values of each fact that a conversation tells; None for a question.
    """

    backend: str
    memory: dict[str, Any]
    turns: list[list[TaskMessage]]
    facts: list[list[str]] | None

    def __post_init__(self) -> None:
        check_memory(self.backend, self.memory)
        if self.facts is not None and not (self.facts and all(self.facts)):
            raise ValueError("facts: a conversation has at least one fact, and each at least one accepted value")


_TASK = TypeAdapter(Task)


@register_environment("bfcl_memory")
class BfclMemory(NoEnvironment):
    """One task of BFCL's memory categories. The prompt lists the tools and shows the memory."""

    def __init__(self, **task: Any):
        """
        Args:
            task: see `Task`.

        Raises:
            ValueError: keys are missing, unknown or invalid; the message names each.
        """
        super().__init__()
        self._task = validated(_TASK, task, "arguments of the environment bfcl_memory")
        self._turn = 0
        self._store: MemoryStore | None = None
        self._held: list[float] = []  # share of the facts in the memory at the start and after each turn

    async def reset(self) -> Opening:
        """Fill the memory.

        Raises:
            ModuleNotFoundError: bfcl_eval or rank_bm25 is not installed; the message says how to install it.
        """
        self._store = MemoryStore(self._task.backend, self._task.memory)
        self._held = [self._share_held()]
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a tool (`MemoryStore.call`)."""
        return self._running().call(name, arguments)

    async def next_user_turn(self) -> Sequence[Message] | None:
        """Return the messages of the next turn."""
        self._turn += 1
        if self._turn > len(self._task.turns):
            return None
        self._held.append(self._share_held())
        return [{"role": one.role, "content": one.content} for one in self._task.turns[self._turn - 1]]

    async def score(self) -> dict[str, float] | LeftToScorer:
        """A question is left to the scorer; the score of a conversation is the share of its facts in the memory."""
        if self._task.facts is None:
            return LeftToScorer()
        self._held.append(self._share_held())
        held, due = self._held[-1], len(self._task.facts)
        return {"score": held, "acc": float(held == 1), "facts_held": round(held * due), "facts_due": float(due)}

    def turn_scores(self) -> list[float]:
        """What each turn of a conversation added to the share of facts in the memory."""
        return [after - before for before, after in zip(self._held, self._held[1:], strict=False)]

    def state(self) -> Memory:
        """The memory, with which a later conversation begins."""
        return self._running().memory()

    async def close(self) -> None:
        self._store = None

    def _share_held(self) -> float:
        if self._task.facts is None:
            return 0.0
        text = text_of_memory(self._running().memory())
        return sum(mentions(text, accepted) for accepted in self._task.facts) / len(self._task.facts)

    def _running(self) -> MemoryStore:
        if self._store is None:
            raise RuntimeError("the environment is closed or was never reset: call reset() first and close() last")
        return self._store

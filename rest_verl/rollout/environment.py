"""What a trajectory acts on: a small protocol, one instance a trajectory, and the registry by name.

A row names its environment (`extra_info.environment`) and what it is made with (`extra_info.environment_kwargs`, a
JSON object as text, so that rows of different environments have one schema). The agent loop makes one instance for
every trajectory and always closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rest_verl.common.registry import Registry

Message = dict[str, Any]  # {"role": ..., "content": ...}


@dataclass(frozen=True)
class Opening:
    """How a trajectory begins.

    Attributes:
        messages: appended to the row's prompt.
        tools: schemas for the model's chat template, {"type": "function", "function": {...}} each; none where the
            prompt describes the tools itself.
    """

    messages: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()


class ToolError(Exception):
    """A call that failed in a way that the model should read about; its text becomes the tool's message."""


class Environment(Protocol):
    """Tools with state, and the user who asks for things to be done with them.

    Methods run in the event loop that all trajectories of a worker share: work that blocks belongs in a thread
    (`rest_verl.rollout.waiting.call_in_thread`). The loop bounds the time of each call and of the whole trajectory,
    and turns an exception into a message of the tool that the model can read.
    """

    @property
    def parallel(self) -> bool:
        """Whether the calls of one turn may run at the same time."""
        ...

    async def reset(self) -> Opening:
        """Begin a trajectory. Called once, before anything else."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a tool and return what the model is to read.

        Args:
            name: as the model wrote it.
            arguments: JSON values.

        Raises:
            KeyError: there is no such tool; its argument is the name, as a look-up in a dict of tools raises it.
            TypeError: the arguments do not fit.
            ToolError: the call failed; so does any other exception, but its text may say more than the model should
                read.
        """
        ...

    async def next_user_turn(self) -> Sequence[Message] | None:
        """Return the user's next messages once the policy has made no further call, or None where the user is done."""
        ...

    async def score(self) -> dict[str, float]:
        """Score the trajectory: `score` in [0, 1] is the share of the correctness reward, `acc` what validation
        reports (1 where `score` is 1 if it is left out), each further number is logged. Called once, at the end,
        however the trajectory ended."""
        ...

    async def close(self) -> None:
        """Let go of everything. Always called, also after an error."""
        ...


@dataclass
class NoEnvironment:
    """Defaults to build on: one user turn, calls one after the other, nothing to let go of."""

    parallel: bool = field(default=False, init=False)

    async def next_user_turn(self) -> Sequence[Message] | None:
        return None

    async def close(self) -> None:
        return None


ENVIRONMENTS: Registry[Callable[..., Environment]] = Registry("environment", {})


def register_environment(name: str) -> Callable[[Callable[..., Environment]], Callable[..., Environment]]:
    """Register an environment: a decorator for its class, which is called with the row's `environment_kwargs`.

    Making one only checks what it is given: `rest-verl data check` makes one for every row, and neither resets nor
    closes it. What must be let go of belongs in `reset`.

    Raises:
        ValueError: the name is taken.
    """
    ENVIRONMENTS.check_free(name)

    def register(make: Callable[..., Environment]) -> Callable[..., Environment]:
        ENVIRONMENTS.add(name, make)
        return make

    return register

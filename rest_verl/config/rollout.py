"""The `rest.rollout` node: the limits of a trajectory in the agent loop `rest_tool_agent`, and what it becomes.

verl's own limits hold as well: `data.max_response_length` tokens, and `max_assistant_turns` and `max_parallel_calls`
of `actor_rollout_ref.rollout.multi_turn`.
"""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT


@dataclass(frozen=True, config=STRICT)
class RolloutConfig:
    """Limits and shape of a trajectory.

    Attributes:
        max_user_turns: messages of the user that are answered, the prompt's included; None for as many as the
            environment has.
        max_steps_per_turn: generations for one user turn; BFCL ends a dialogue after the 21st with calls.
        max_calls: calls of a trajectory.
        max_seconds: of a trajectory, generation included; asked before each generation and each call.
        call_seconds: of one call.
        max_result_length: characters of a call's result that the model gets to read.
        per_turn: whether each generated turn becomes a training sample of its own, with all that came before it as its
            prompt: the decomposition that the paper trains on.
    """

    max_user_turns: int | None = Field(default=None, gt=0)
    max_steps_per_turn: int = Field(default=20, gt=0)
    max_calls: int = Field(default=200, gt=0)
    max_seconds: float = Field(default=600.0, gt=0)
    call_seconds: float = Field(default=30.0, gt=0)
    max_result_length: int = Field(default=16_384, gt=0)
    per_turn: bool = False

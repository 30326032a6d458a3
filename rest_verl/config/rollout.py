"""The `rest.rollout` node: the limits of a trajectory in the agent loop `rest_tool_agent`, and its training samples.

verl's own limits apply as well: `data.max_response_length` tokens, and `max_assistant_turns` and `max_parallel_calls`
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
        max_user_turns: maximum number of user messages answered, including the prompt; None for all that the
            environment has.
        max_steps_per_turn: maximum number of generations per user turn; BFCL's leaderboard ends a dialogue after the
            21st with calls.
        max_calls: maximum number of calls per trajectory.
        max_seconds: time limit of a trajectory in seconds, including generation; checked before each generation and
            each call.
        call_seconds: time limit of one call in seconds.
        max_result_length: maximum length in characters of a call's result as the model reads it.
        per_turn: train on each generated turn as a sample of its own, with everything before it as the prompt, as the
            paper does.
    """

    max_user_turns: int | None = Field(default=None, gt=0)
    max_steps_per_turn: int = Field(default=21, gt=0)
    max_calls: int = Field(default=200, gt=0)
    max_seconds: float = Field(default=600.0, gt=0)
    call_seconds: float = Field(default=30.0, gt=0)
    max_result_length: int = Field(default=16_384, gt=0)
    per_turn: bool = False

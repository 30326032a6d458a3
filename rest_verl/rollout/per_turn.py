"""`rest.rollout.per_turn`: one training sample for each generated turn of a trajectory.

The prompt of a sample is everything before its turn. Together the samples hold each generated token once; their
prompts repeat the rest, so a step costs more. verl scores the last sample, gives its reward to all samples of the
trajectory, and groups their advantages by trajectory if the estimator is grpo.

A prompt may be longer than `data.max_prompt_length`: verl's V1 trainer keeps the length of each row and pads none to
that length. A sample is never longer than its whole trajectory.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

# Fields of the last sample only, which stands for the trajectory.
TRAJECTORY_FIELDS = (
    *("rest_turn_table", "rest_decided", "rest_environment", "rest_rollout", "rest_tools"),
    *("rest_states", "rest_turn_scores"),
)


def split_turns(output: AgentLoopOutput) -> list[AgentLoopOutput]:
    """Split a trajectory into one output for each generated turn, in order.

    Args:
        output: a whole trajectory, with `rest_turns` in its extra fields.

    Raises:
        ValueError: it holds images, videos or sounds, which cannot be assigned to turns.
    """
    media = [kind for kind, items in (output.multi_modal_data or {}).items() if items]
    if media:
        raise ValueError(
            f"rest.rollout.per_turn=true supports text only, but this trajectory holds {media}: set "
            "rest.rollout.per_turn=false"
        )
    bounds = [(start, end) for start, end in output.extra_fields["rest_turns"] if end > start]
    return [_turn(output, start, end, is_last=(start, end) == bounds[-1]) for start, end in bounds]


def _turn(output: AgentLoopOutput, start: int, end: int, is_last: bool) -> AgentLoopOutput:
    """The output of the turn with these bounds."""
    fields: dict[str, Any] = {
        key: value for key, value in output.extra_fields.items() if is_last or key not in TRAJECTORY_FIELDS
    }
    update: dict[str, Any] = {
        "prompt_ids": output.prompt_ids + output.response_ids[:start],
        "response_ids": output.response_ids[start:end],
        "response_mask": output.response_mask[start:end],
        "metrics": output.metrics if is_last else AgentLoopMetrics(),
        "extra_fields": fields | {"rest_turns": [[0, end - start]], "rest_per_turn": True},
    }
    if output.response_logprobs is not None:
        update["response_logprobs"] = output.response_logprobs[start:end]
    if output.routed_experts is not None:
        update["routed_experts"] = output.routed_experts[: len(output.prompt_ids) + end]
    return output.model_copy(update=update)

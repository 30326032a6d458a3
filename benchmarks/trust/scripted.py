"""An agent loop whose responses are given: what a model may write that no trained model would."""

from __future__ import annotations

import asyncio
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop


class ScriptedAgentLoop(SingleTurnAgentLoop):
    """verl's single-turn loop with its text exchanged after vLLM has generated.

    Args:
        text: instead of each response, before the token that ends it.
    """

    def __init__(self, *args: Any, text: str, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.text = text

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """As verl's, but for the response."""
        output = await super().run(sampling_params, **kwargs)
        tokenizer: Any = self.tokenizer  # verl has it as the factory that made it
        ids = tokenizer.encode(self.text, add_special_tokens=False)[: self.response_length - 1]
        output.response_ids = [*ids, tokenizer.eos_token_id]
        output.response_mask = [1] * len(output.response_ids)
        if output.response_logprobs is not None:
            output.response_logprobs = [-1.0] * len(output.response_ids)
        return output


class WaitingAgentLoop(SingleTurnAgentLoop):
    """A loop that waits for ever, as one does whose tool has no time limit."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Never returns."""
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")


class FailingAgentLoop(SingleTurnAgentLoop):
    """A loop whose every trajectory fails, as with a tool or a reward function that always raises."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Raises."""
        raise RuntimeError("as every trajectory here")

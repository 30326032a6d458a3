"""What runs inside verl's processes in place of verl's own agent loop, replay buffer and reward.

verl imports it by name or by path, in runs with this plugin and without it: nothing of rest_verl is imported here.

Two runs have the same rollouts, token for token, with `SeededAgentLoop` and `OrderedReplayBuffer`. verl's own
`rollout.full_determinism` gives all requests of a server one seed, so the n responses to a prompt would be the same
text. Here each response has its own seed, by step, row and place in the group; vLLM serves one request at a time
without reusing prefixes, so no number depends on what else is being served; and a batch is in the order of its
prompts, not of their arrival, so sums are taken in one order. `trust.runs.seeded_rollouts` configures all that.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

_BEGUN: Counter[tuple[int, int]] = Counter()  # responses to each row of a step in this worker


class SeededAgentLoop(SingleTurnAgentLoop):
    """verl's single-turn loop with a seed for each response."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """As verl's. Its first trainer numbers no responses, but begins them in order."""
        step, row = int(kwargs["global_steps"]), int(kwargs["index"])
        session = int(kwargs.get("session_id", _BEGUN[step, row]))
        _BEGUN[step, row] += 1
        place = (step * 100_003 + row) * 1_009 + session
        return await super().run({**sampling_params, "seed": place}, **kwargs)


class OrderedReplayBuffer(ReplayBuffer):
    """verl's replay buffer, with batches in the order in which their prompts were submitted."""

    def _materialize_batch(
        self, partition_id: str, selected_prompt_uids: list[str], partition_snapshot: dict[str, dict]
    ) -> KVBatchMeta:
        batch = super()._materialize_batch(partition_id, selected_prompt_uids, partition_snapshot)
        place = {uid: number for number, uid in enumerate(self.prompt_global_steps[partition_id])}  # as submitted

        def of(key: str) -> tuple[int, int, int]:
            uid, session, index = key.split("_")
            return place[uid], int(session), int(index)

        order = sorted(range(len(batch.keys)), key=lambda row: of(batch.keys[row]))
        keys, tags = [batch.keys[row] for row in order], [batch.tags[row] for row in order]
        return KVBatchMeta(partition_id=partition_id, keys=keys, tags=tags)


class ScriptedAgentLoop(SingleTurnAgentLoop):
    """verl's single-turn loop with its text replaced after vLLM has generated: what no trained model would write.

    Args:
        text: in place of each response, before the token that ends it.
    """

    def __init__(self, *args: Any, text: str, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.text = text

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """As verl's, except for the response."""
        output = await super().run(sampling_params, **kwargs)
        tokenizer: Any = self.tokenizer  # verl declares it as the factory that made it
        ids = tokenizer.encode(self.text, add_special_tokens=False)[: self.response_length - 1]
        output.response_ids = [*ids, tokenizer.eos_token_id]
        output.response_mask = [1] * len(output.response_ids)
        if output.response_logprobs is not None:
            output.response_logprobs = [-1.0] * len(output.response_ids)
        return output


class WaitingAgentLoop(SingleTurnAgentLoop):
    """A loop that waits for ever, like one whose tool has no time limit."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Never returns."""
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")


class FailingAgentLoop(SingleTurnAgentLoop):
    """A loop in which every trajectory fails, like one whose tool or reward function always raises."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Raises."""
        raise RuntimeError("as every trajectory here")


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None) -> float:
    """verl's `reward.custom_reward_function` of runs without ResT: how similar a response is to the right one, in
    [0, 1]. Writes down whether this plugin is in its process, which is what those runs have to prove."""
    Path(os.environ["REST_VERL_TRUST_REPORT"]).write_text(
        "with" if "rest_verl.plugin.hooks" in sys.modules else "without"
    )
    return SequenceMatcher(None, solution_str, ground_truth, autojunk=False).ratio()

"""Rollouts that two runs have in common, token for token.

verl's own `rollout.full_determinism` gives all requests of a server one seed, so that the n responses to a prompt are
the same text. Here each response has a seed of its own, by step, row and place in the group; vLLM serves one request
at a time without reusing prefixes, so that no number depends on what else is being served; and a batch is in the order
of its prompts, not of their arrival, so that sums are taken in one order. `trust.runs.seeded_rollouts` sets all that.
"""

from __future__ import annotations

from typing import Any

from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class SeededAgentLoop(SingleTurnAgentLoop):
    """verl's single-turn loop with a seed for each response."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """As verl's."""
        place = (int(kwargs["global_steps"]) * 100_003 + int(kwargs["index"])) * 1_009 + int(kwargs["session_id"])
        return await super().run({**sampling_params, "seed": place}, **kwargs)


class OrderedReplayBuffer(ReplayBuffer):
    """verl's replay buffer, whose batches follow the order in which their prompts were submitted."""

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

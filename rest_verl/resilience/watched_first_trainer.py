"""verl's first trainer with a watchdog: where it would wait forever, it ends with the reason.

It waits for a whole batch of rollouts at once, so that a death ends the run here, in a thread of its own, and
`rest.stall_seconds` limits the batch and each transfer of weights.
"""

from __future__ import annotations

from verl.trainer.ppo.ray_trainer import RayPPOTrainer

from rest_verl.resilience.interrupt import interrupt_when_stalled
from rest_verl.resilience.liveness import Liveness, Role, ask_actor, ask_vllm_engine
from rest_verl.resilience.watchdog import Guard, explain_failures


class WatchedFirstTrainer(RayPPOTrainer):
    """Watches every wait of the trainer: for rollouts, and for transfers of weights.

    Attributes:
        stall_seconds: longest time in seconds for a batch of rollouts, and for one transfer of weights; None disables.
            Set it before `init_workers`.
    """

    stall_seconds: float | None

    def init_workers(self) -> None:
        super().init_workers()
        self._guard = Guard(Liveness(self._roles), Liveness(self._servers), self.stall_seconds)
        assert self.checkpoint_manager is not None, "init_workers makes it"
        self._guard.watch_transfers(self.checkpoint_manager)
        self._guard.watch_rollouts(self.async_rollout_manager)

    def fit(self) -> None:
        with interrupt_when_stalled(self._guard.look), explain_failures(Liveness(self._roles)):
            super().fit()

    def _roles(self) -> list[Role]:
        return [
            Role("agent-loop worker", self.async_rollout_manager.agent_loop_workers),
            Role("reward worker", self.reward_loop_manager.reward_loop_workers),
            *self._servers(),
            Role("training worker", self.actor_rollout_wg.workers),
        ]

    def _servers(self) -> list[Role]:
        question = ask_vllm_engine if self.config.actor_rollout_ref.rollout.name == "vllm" else ask_actor
        return [Role("inference server", self.llm_server_manager.server_handles, question)]

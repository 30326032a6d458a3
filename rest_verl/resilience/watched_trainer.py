"""verl's trainer with a watchdog: where it would wait forever, it ends with the reason."""

from __future__ import annotations

import ray
import transfer_queue as tq
from verl.checkpoint_engine import CheckpointEngineManager
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1 import PPOTrainer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.workers.rollout.llm_server import LLMServerManager

from rest_verl.resilience.interrupt import interrupt_when_stalled
from rest_verl.resilience.liveness import Liveness, Role, ask_actor, ask_vllm_engine
from rest_verl.resilience.watchdog import Guard, Watchdog, explain_failures, watch


class WatchedTrainer(PPOTrainer):
    """Watches every wait of the trainer: for trajectories, for the transfer queue, and for transfers of weights.

    Attributes:
        stall_seconds: longest time in seconds without a new trajectory, and for one transfer of weights; None
            disables. Set it before `init`.
    """

    stall_seconds: float | None

    def _build_replay_buffer(self) -> ReplayBuffer:
        watchdog = Watchdog(Liveness(self._rollout_roles), self.stall_seconds, self.config.data.train_batch_size)
        return watch(super()._build_replay_buffer(), watchdog)

    def init(self) -> None:
        # Looked up once: Ray forgets the name of a dead actor.
        queue = _queue_roles()
        self._guard = Guard(Liveness(lambda: queue), Liveness(self._servers), self.stall_seconds)
        with interrupt_when_stalled(self._guard.look):
            super().init()

    def _setup(self) -> None:
        super()._setup()
        for manager in self._checkpoint_managers():
            self._guard.watch_transfers(manager)

    def fit(self, agent_loop_manager: AgentLoopManager) -> None:
        with interrupt_when_stalled(self._guard.look), explain_failures(Liveness(self._roles)):
            super().fit(agent_loop_manager)

    def _roles(self) -> list[Role]:
        return [*self._rollout_roles(), Role("training worker", self.actor_rollout_wg.workers)]

    def _rollout_roles(self) -> list[Role]:
        """Actors that produce trajectories."""
        return [
            Role("agent-loop worker", self.agent_loop_manager.agent_loop_workers),
            Role("reward worker", self.get_reward_handles() or []),
            *self._servers(),
        ]

    def _servers(self) -> list[Role]:
        return [self._server_role("inference server", self.llm_server_manager)]

    def _server_role(self, name: str, manager: LLMServerManager) -> Role:
        question = ask_vllm_engine if self.config.actor_rollout_ref.rollout.name == "vllm" else ask_actor
        return Role(name, manager.server_handles, question)

    def _checkpoint_managers(self) -> list[CheckpointEngineManager]:
        """Managers of the transfers of weights to inference servers."""
        return [self.checkpoint_manager]


def _queue_roles() -> list[Role]:
    """Actors of the transfer queue: an access waits for the controller without a limit, for a storage unit 3 x 200 s.

    The units have no public name; if the queue keeps them elsewhere, only the controller is watched.
    """
    controller = ray.get_actor("TransferQueueController", namespace="transfer_queue")
    storage = vars(tq.interface).get("_TQ_STORAGE") or {}
    units = storage.get("SimpleStorage", {}).values()
    return [Role("transfer queue's controller", [controller]), Role("transfer queue's storage unit", [*units])]

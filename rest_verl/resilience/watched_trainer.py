"""verl's trainer under watch: it ends with the reason where it would wait forever."""

from __future__ import annotations

import ray
import transfer_queue as tq
from verl.checkpoint_engine import CheckpointEngineManager
from verl.experimental.agent_loop import AgentLoopManager
from verl.trainer.ppo.v1 import PPOTrainer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.workers.rollout.llm_server import LLMServerManager

from rest_verl.resilience.interrupt import interrupted
from rest_verl.resilience.liveness import Liveness, Role, actor_itself, vllm_engine
from rest_verl.resilience.watchdog import Guard, Watchdog, explained, watch


class WatchedTrainer(PPOTrainer):
    """Looks at what each wait is for: trajectories, the transfer queue, weights on their way to inference servers.

    Attributes:
        stall_seconds: how long no trajectory may arrive, or a transfer of weights may take; None for ever. To be set
            before `init`.
    """

    stall_seconds: float | None

    def _build_replay_buffer(self) -> ReplayBuffer:
        watchdog = Watchdog(Liveness(self._rollout_roles), self.stall_seconds, self.config.data.train_batch_size)
        return watch(super()._build_replay_buffer(), watchdog)

    def init(self) -> None:
        # Once: of an actor that has died Ray knows no name.
        queue = _queue_roles()
        self._guard = Guard(Liveness(lambda: queue), Liveness(self._servers), self.stall_seconds)
        with interrupted(self._guard.look):
            super().init()

    def _setup(self) -> None:
        super()._setup()
        for manager in self._checkpoint_managers():
            self._guard.of_transfers(manager)

    def fit(self, agent_loop_manager: AgentLoopManager) -> None:
        with interrupted(self._guard.look), explained(Liveness(self._roles)):
            super().fit(agent_loop_manager)

    def _roles(self) -> list[Role]:
        return [*self._rollout_roles(), Role("training worker", self.actor_rollout_wg.workers)]

    def _rollout_roles(self) -> list[Role]:
        """What trajectories do not arrive without."""
        return [
            Role("agent-loop worker", self.agent_loop_manager.agent_loop_workers),
            Role("reward worker", self.get_reward_handles() or []),
            *self._servers(),
        ]

    def _servers(self) -> list[Role]:
        return [self._server_role("inference server", self.llm_server_manager)]

    def _server_role(self, name: str, manager: LLMServerManager) -> Role:
        question = vllm_engine if self.config.actor_rollout_ref.rollout.name == "vllm" else actor_itself
        return Role(name, manager.server_handles, question)

    def _checkpoint_managers(self) -> list[CheckpointEngineManager]:
        """What takes weights to inference servers."""
        return [self.checkpoint_manager]


def _queue_roles() -> list[Role]:
    """What an access to the transfer queue waits for: a controller without a limit, a storage unit three times 200 s.

    The units have no public name; a queue that keeps them elsewhere is watched without them.
    """
    controller = ray.get_actor("TransferQueueController", namespace="transfer_queue")
    storage = vars(tq.interface).get("_TQ_STORAGE") or {}
    units = storage.get("SimpleStorage", {}).values()
    return [Role("transfer queue's controller", [controller]), Role("transfer queue's storage unit", [*units])]

"""verl's registries, and the names that this plugin registers in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Registry:
    """One of verl's registries.

    Attributes:
        module, path: location: a module, and the path of an attribute in it.
        names: names that this plugin registers there.
    """

    module: str
    path: str
    names: tuple[str, ...] = ()

    def entries(self) -> Mapping[Any, Any]:
        """Entries by name. Imports its package and its module: our hooks act on the import of either."""
        import_module(self.module.rpartition(".")[0])
        found: Any = import_module(self.module)
        for part in self.path.split("."):
            found = getattr(found, part)
        return found


REGISTRIES = {
    "advantage estimator": Registry("verl.trainer.ppo.core_algos", "ADV_ESTIMATOR_REGISTRY", ("rest",)),
    "policy loss": Registry("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY", ("rest",)),
    "reward manager": Registry(
        "verl.experimental.reward_loop.reward_manager.registry", "REWARD_MANAGER", ("rest_tool",)
    ),
    "agent loop": Registry("verl.experimental.agent_loop.agent_loop", "_agent_loop_registry", ("rest_tool_agent",)),
    "trainer mode": Registry(
        "verl.trainer.ppo.v1.trainer_base",
        "TRAINER_REGISTRY",
        ("rest_sync", "rest_colocate_async", "rest_separate_async"),
    ),
    "platform": Registry("verl.plugin.platform.platform_manager", "PlatformRegistry._platforms", ("cpu",)),
}

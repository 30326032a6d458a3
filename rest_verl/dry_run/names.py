"""Whether every name that a run chooses stands in verl's registry: verl looks most of them up in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rest_verl.core.suggest import unknown_name


def unknown_names(config: DictConfig) -> Iterator[str]:
    """One line for each name that is not registered."""
    from verl.utils.import_utils import import_external_libs

    # as verl's workers do: such a module may register names
    import_external_libs(config.actor_rollout_ref.model.external_lib)
    agent = config.actor_rollout_ref.rollout.agent
    chosen = [
        ("algorithm.adv_estimator", "estimator", _names("verl.trainer.ppo.core_algos", "ADV_ESTIMATOR_REGISTRY")),
        (
            "actor_rollout_ref.actor.policy_loss.loss_mode",
            "policy loss",
            _names("verl.trainer.ppo.core_algos", "POLICY_LOSS_REGISTRY"),
        ),
        ("trainer.v1.trainer_mode", "mode", _names("verl.trainer.ppo.v1", "trainer_base", "TRAINER_REGISTRY")),
        (
            "actor_rollout_ref.rollout.name",
            "engine",
            [name for name, _ in _names("verl.workers.rollout.base", "_ROLLOUT_REGISTRY")],
        ),
    ]
    if config.reward.reward_manager.source == "register":
        managers = _names("verl.experimental.reward_loop.reward_manager", "registry", "REWARD_MANAGER")
        chosen.append(("reward.reward_manager.name", "reward manager", managers))
    if agent.agent_loop_config_path is None:
        loops = _names("verl.experimental.agent_loop", "agent_loop", "_agent_loop_registry")
        chosen.append(("actor_rollout_ref.rollout.agent.default_agent_loop", "agent loop", loops))
    for key, kind, names in chosen:
        given = str(OmegaConf.select(config, key))
        if given not in names:
            yield f"{key}: {unknown_name(kind, given, names)}"


def _names(module: str, *path: str) -> Iterable[Any]:
    """The keys of a registry; importing its package first lets our plugin add to it."""
    found: Any = import_module(module)
    for part in path:
        found = getattr(found, part)
    return list(found)

"""Whether every name that a run chooses stands in verl's registry: verl looks most of them up in a worker."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rest_verl.common.suggest import unknown_name
from rest_verl.plugin.registries import REGISTRIES, Registry

_ENGINES = Registry("verl.workers.rollout.base", "_ROLLOUT_REGISTRY")  # by engine and mode


def unknown_names(config: DictConfig) -> Iterator[str]:
    """One line for each name that is not registered."""
    from verl.utils.import_utils import import_external_libs

    # as verl's workers do: such a module may register names
    import_external_libs(config.actor_rollout_ref.model.external_lib)
    agent = config.actor_rollout_ref.rollout.agent
    chosen: list[tuple[str, str, Collection[Any]]] = [
        ("algorithm.adv_estimator", "estimator", REGISTRIES["advantage estimator"].entries()),
        ("actor_rollout_ref.actor.policy_loss.loss_mode", "policy loss", REGISTRIES["policy loss"].entries()),
        ("trainer.v1.trainer_mode", "mode", REGISTRIES["trainer mode"].entries()),
        ("actor_rollout_ref.rollout.name", "engine", [name for name, _ in _ENGINES.entries()]),
    ]
    if config.reward.reward_manager.source == "register":
        chosen.append(("reward.reward_manager.name", "reward manager", REGISTRIES["reward manager"].entries()))
    if agent.agent_loop_config_path is None:
        loops = REGISTRIES["agent loop"].entries()
        chosen.append(("actor_rollout_ref.rollout.agent.default_agent_loop", "agent loop", loops))
    for key, kind, names in chosen:
        given = str(OmegaConf.select(config, key))
        if given not in names:
            yield f"{key}: {unknown_name(kind, given, names)}"

"""Checks of what a run credits its tokens with, before Ray starts: by turn, by span, by component of the reward."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from rest_verl.common.names import unknown_name
from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.reward.tool_reward import COMPONENTS
from rest_verl.weighting.components import Components

# Keys of verl that every check of a run reads.
ESTIMATOR = "algorithm.adv_estimator"
MODE = "trainer.v1.trainer_mode"
USE_V1 = "trainer.use_v1"
MANAGER = "reward.reward_manager.name"

_CUSTOM = "reward.custom_reward_function.path"
_COMPONENTS = "algorithm.gdpo_reward_keys"


def check_credit(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    """Check the settings that say what a token is credited with, against each other and verl's.

    Args:
        config: whole config of the run.
        rest: its settings of ResT.
        reshaped: whether ResT's trainer runs, and not verl's alone.

    Raises:
        ConfigError: the first contradiction.
    """
    _check_per_turn(config, rest, reshaped)
    _check_by_events(config, rest, reshaped)
    if reshaped and rest.base_estimator == "gdpo":
        _check_components(config, rest)


def _check_per_turn(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    if not rest.rollout.per_turn:
        return
    manager, estimator = OmegaConf.select(config, MANAGER), OmegaConf.select(config, ESTIMATOR)
    if not OmegaConf.select(config, USE_V1):
        raise ConfigError(
            f"rest.rollout.per_turn=True makes each turn a separate output, but with {USE_V1}=False verl takes one "
            f"output of a trajectory: set rest.rollout.per_turn=False, or {USE_V1}=True"
        )
    if manager != "rest_tool":
        raise ConfigError(
            f"rest.rollout.per_turn=True makes each turn a separate output, but {MANAGER}={manager} scores only the "
            f"last one: set {MANAGER}=rest_tool"
        )
    base = rest.base_estimator if reshaped else estimator
    if base not in (("grpo", "gdpo") if reshaped else ("grpo",)):
        key = "rest.base_estimator" if reshaped else ESTIMATOR
        raise ConfigError(
            f"rest.rollout.per_turn=True makes each turn a separate sample, but {key}={base} would take its baseline "
            f"over turns, so that long trajectories count more: verl groups samples by trajectory for grpo only. Set "
            f"{key}=grpo, or rest.rollout.per_turn=False"
        )


def _check_by_events(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    if rest.credit == "trajectory":
        return
    if not reshaped:
        raise ConfigError(
            f"rest.credit={rest.credit} is computed by a rest trainer mode, but {ESTIMATOR}="
            f"{OmegaConf.select(config, ESTIMATOR)}: set {ESTIMATOR}=rest {MODE}=rest_sync"
        )
    if OmegaConf.select(config, MANAGER) != "rest_tool":
        raise ConfigError(
            f"rest.credit={rest.credit} needs to know what was earned where, but {MANAGER}="
            f"{OmegaConf.select(config, MANAGER)} does not say it: set {MANAGER}=rest_tool"
        )
    if OmegaConf.select(config, _CUSTOM) is not None:
        raise ConfigError(
            f"{_CUSTOM} scores whole trajectories, so rest.credit={rest.credit} cannot tell what was earned where: "
            "remove it, or set rest.credit=trajectory"
        )


def _check_components(config: DictConfig, rest: RestConfig) -> None:
    """The components of rest.base_estimator=gdpo."""
    found = Components.of_run(config)
    of_rest = OmegaConf.select(config, MANAGER) == "rest_tool" and OmegaConf.select(config, _CUSTOM) is None
    if OmegaConf.select(config, _COMPONENTS) is None and not of_rest:
        raise ConfigError(
            f"rest.base_estimator=gdpo normalises each component of the reward, but only your reward function knows "
            f"them: set +{_COMPONENTS}=[names of the numbers that it returns]"
        )
    if len(found.weights) != len(found.names):
        raise ConfigError(
            f"algorithm.gdpo_reward_weights={found.weights} has not one weight for each of {_COMPONENTS}="
            f"{found.names}: set as many"
        )
    if of_rest and not rest.modules:  # a scorer of one's own may return others
        for name in found.names:
            if name not in COMPONENTS:
                raise ConfigError(f"{_COMPONENTS}: {unknown_name('component', name, COMPONENTS)}")
    for name in rest.credit_matrix:
        if name not in found.names:
            raise ConfigError(f"rest.credit_matrix: {unknown_name('component', name, found.names)}")
    if OmegaConf.select(config, "algorithm.use_kl_in_reward"):
        raise ConfigError(
            "algorithm.use_kl_in_reward=True puts a penalty into the reward that no component of "
            "rest.base_estimator=gdpo has: set actor_rollout_ref.actor.use_kl_loss=True instead"
        )

"""Read the previewed run's settings from overrides or from the config file of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rest_verl.config.rest import RestConfig
from rest_verl.plugin.run_checks import check_run


@dataclass(frozen=True)
class Run:
    """A run's settings that a preview needs.

    Attributes:
        rest: its ResT settings.
        estimator: `algorithm.adv_estimator`; tokens are weighted if it is `rest`.
        reward_manager: `reward.reward_manager.name`; the bounds of `rest.reward` apply if it is `rest_tool`.
        total_steps: number of global steps of the run; None if it depends on the data.
    """

    rest: RestConfig
    estimator: str
    reward_manager: str
    total_steps: int | None


def compose(overrides: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """The config of a verl command, and what else `rest-verl check` finds wrong with it. Imports verl: seconds.

    Args:
        overrides: Hydra overrides, as on the command line of `python -m verl.trainer.main_ppo`.

    Raises:
        DryRunError: an override is wrong, or a value has the wrong type.
    """
    from rest_verl.commands.check.compose import DryRunError, after_main, compose_sound
    from rest_verl.commands.check.key_types import wrong_keys
    from rest_verl.commands.check.run import problems_of

    composed = compose_sound(after_main(overrides))
    found = problems_of(composed)
    if composed.config is None or composed.problems or wrong_keys(composed.config, composed.base):
        raise DryRunError(found)
    return composed.config, found


def read_config(path: Path) -> DictConfig:
    """Read the config that Hydra wrote to `.hydra/config.yaml` in an earlier run.

    Raises:
        ValueError: it is not YAML, or not the config of a verl run.
    """
    import yaml

    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: not YAML: {error}") from None
    if not isinstance(config, DictConfig) or OmegaConf.select(config, "algorithm.adv_estimator") is None:
        raise ValueError(
            f"--config {path}: not the config of a verl run: it has no algorithm.adv_estimator. Give a run's "
            ".hydra/config.yaml, or overrides instead"
        )
    return config


def read_run(config: DictConfig, total_steps: int | None) -> Run:
    """Extract a run's settings from its config, with the checks of the run itself.

    Args:
        config: the whole config.
        total_steps: replaces `trainer.total_training_steps`, which is often unset.

    Raises:
        ConfigError: the run would be refused.
    """
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    return Run(
        rest=rest,
        estimator=str(OmegaConf.select(config, "algorithm.adv_estimator")),
        reward_manager=str(OmegaConf.select(config, "reward.reward_manager.name")),
        total_steps=total_steps or OmegaConf.select(config, "trainer.total_training_steps"),
    )

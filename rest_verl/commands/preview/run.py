"""The run that is previewed: from overrides, or from the config file of an earlier run, to what the preview reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rest_verl.config.rest import RestConfig
from rest_verl.plugin.run_checks import check_run


@dataclass(frozen=True)
class Run:
    """What a preview reads of a run.

    Attributes:
        rest: its settings of ResT.
        estimator: `algorithm.adv_estimator`; tokens are weighted where it is `rest`.
        reward_manager: `reward.reward_manager.name`; the bounds of `rest.reward` hold where it is `rest_tool`.
        total_steps: global steps of the whole run; None where only its data tells.
    """

    rest: RestConfig
    estimator: str
    reward_manager: str
    total_steps: int | None


def compose(overrides: Sequence[str]) -> DictConfig:
    """The config of a verl command. Imports verl: seconds.

    Args:
        overrides: Hydra overrides, as on the command line of `python -m verl.trainer.main_ppo`.

    Raises:
        DryRunError: Hydra would refuse one of them.
    """
    from rest_verl.commands.check.compose import compose_run

    return compose_run(overrides)[0]


def read_config(path: Path) -> DictConfig:
    """The config that an earlier run wrote down, as Hydra does in `.hydra/config.yaml`.

    Raises:
        ValueError: it is not YAML, or not the config of a run of verl.
    """
    import yaml

    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: not YAML: {error}") from None
    if not isinstance(config, DictConfig) or OmegaConf.select(config, "algorithm.adv_estimator") is None:
        raise ValueError(
            f"--config {path}: no config of a run of verl, for it has no algorithm.adv_estimator: give the "
            ".hydra/config.yaml of one, or overrides instead"
        )
    return config


def read_run(config: DictConfig, total_steps: int | None) -> Run:
    """What the preview reads of a run's config, checked as the run itself would check it.

    Args:
        config: the whole config.
        total_steps: instead of `trainer.total_training_steps`, which is often left open.

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

"""What verl itself says about a run's settings, in one line each: its validation, and dataclasses it makes later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rest_verl.commands.check.problem import DryRunError
from rest_verl.config.rest import ConfigError

# Settings that verl turns into dataclasses in its workers. Not those of the model: that loads it.
LATER = ("actor_rollout_ref.rollout", "trainer.v1.separate_async.hybrid_rollout")


def missing_values(config: DictConfig) -> Iterator[str]:
    """One line for each mandatory value that the run needs and does not have."""
    for key in sorted(OmegaConf.missing_keys(config)):
        if key.startswith("reward.reward_model.") and not config.reward.reward_model.enable:
            continue
        yield f"{key} has no value: set {'vllm, sglang or trtllm' if key.endswith('rollout.name') else 'one'}"


def validate(verls_main: Callable[[DictConfig], Any], config: DictConfig) -> None:
    """Call verl's main, whose validation begins with ours.

    Raises:
        DryRunError: it refuses the config.
    """
    try:
        verls_main(config)
    except ConfigError as error:
        raise DryRunError(str(error).split("\n")) from None
    except Exception as error:
        # verl asserts, raises and divides by what it was given: any of it means that the run would end here
        raise DryRunError([_told(error)]) from None


def refused_dataclasses(config: DictConfig) -> Iterator[str]:
    """One line for each group of settings that verl's dataclass refuses."""
    from verl.utils.config import omega_conf_to_dataclass

    for key in LATER:
        try:
            omega_conf_to_dataclass(OmegaConf.select(config, key))
        except Exception as error:
            yield f"{key}: {_told(error)}"


def _told(error: Exception) -> str:
    """What verl's error says; Hydra and OmegaConf wrap it into words of their own."""
    wrapped = isinstance(error, HydraException | OmegaConfBaseException)
    cause = error.__cause__ if wrapped and error.__cause__ is not None else error
    return f"verl refuses the config ({type(cause).__name__}): {cause}"

"""What happens in the driver, between Hydra and Ray: validation with a message instead of a traceback."""

from __future__ import annotations

from hydra.errors import CompactHydraException
from omegaconf import DictConfig
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

from rest_verl.config.rest import ConfigError
from rest_verl.plugin.run_checks import check_run


class RunConfigError(CompactHydraException, ConfigError):
    """A `ConfigError` that Hydra prints as one message; HYDRA_FULL_ERROR=1 shows where it was raised."""


def check(config: DictConfig) -> None:
    """Validate the config of a run.

    Raises:
        RunConfigError: the settings do not fit together.
    """
    try:
        check_run(config, ADV_ESTIMATOR_REGISTRY)
    except ConfigError as error:
        raise RunConfigError(str(error)) from None

"""Hydra callback of `+platform=cpu`: sets the platform of the driver, which imports verl before Hydra reads the
command line. Workers get VERL_PLATFORM through Ray's runtime environment, from the same preset."""

from __future__ import annotations

import os
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class UseCPU(Callback):
    """Sets the preset's environment variables in the driver and selects the platform."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        os.environ.update(config.ray_kwargs.ray_init.runtime_env.env_vars)
        from verl.plugin.platform import set_platform

        from rest_verl.cpu.cpu import PlatformCPU

        set_platform(PlatformCPU())

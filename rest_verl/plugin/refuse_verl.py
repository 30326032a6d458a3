"""Hydra callback of every preset: a run that asks for ResT ends before it starts where verl is of another version.

Outside of the range the plugin registers nothing, and some versions of verl know no plugins at all. Without this a run
would end much later, with an error about something else, or train something else.
"""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rest_verl.plugin.version import UnsupportedVerl, check_verl


class RefuseVerl(Callback):
    """Ends the process with status 1 and one line."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_verl()
        except UnsupportedVerl as error:
            # Hydra makes a warning of any other exception of a callback
            raise SystemExit(str(error)) from None

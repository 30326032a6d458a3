"""Environments by name: those that come with this package, which register themselves here, and those of users."""

from __future__ import annotations

from collections.abc import Callable

import rest_verl.bfcl.multi_turn.environment  # noqa: F401
from rest_verl.rollout.environment import ENVIRONMENTS, Environment


def get_environment(name: str) -> Callable[..., Environment]:
    """Return what makes an environment; ValueError names the nearest and all known ones."""
    return ENVIRONMENTS.get(name)

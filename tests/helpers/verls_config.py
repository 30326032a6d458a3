"""verl's config with overrides, as its main composes it, for tests that ask for hundreds.

Hydra needs half a second for each. What presets and other groups give is composed once and copied; settings, which
Hydra applies last too, are then put into the copy.
"""

import pickle
from functools import cache

import verl  # noqa: F401  loads the plugin
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

GROUPS = ("rest", "platform")  # besides those whose names have a slash, such as `rest/reward`


def composed(*overrides: str) -> DictConfig:
    """verl's config with overrides. Raises what Hydra raises, for a setting that does not exist too."""
    groups, settings = [], []
    for text, override in zip(overrides, OverridesParser.create().parse_overrides([*overrides]), strict=True):
        key = override.key_or_group
        is_group = "/" in key or key in GROUPS or override.is_delete() or override.is_sweep_override()
        (groups if is_group else settings).append((text, override))
    config = pickle.loads(_pickled(tuple(text for text, _ in groups)))
    for _, override in settings:
        if not override.is_add() and not override.is_force_add() and not _exists(config, override.key_or_group):
            return _by_hydra(overrides)
        with open_dict(config):
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def _exists(config: DictConfig, key: str) -> bool:
    above, _, name = key.rpartition(".")
    node = OmegaConf.select(config, above) if above else config
    return isinstance(node, DictConfig) and name in [*node]  # `in` alone is false where a value is missing


@cache
def _pickled(groups: tuple[str, ...]) -> bytes:
    return pickle.dumps(_by_hydra(groups))


def _by_hydra(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [*overrides])

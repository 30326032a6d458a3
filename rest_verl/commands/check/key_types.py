"""Check the type of each value: verl itself does so late, or never.

The expected type is that of the field of verl's dataclass if the node names one, else that of verl's default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict

from rest_verl.commands.check.overrides import unknown_key

# No text: verl accepts most of it as it is, and a name may look like a number.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", dict: "a node with keys"}


def wrong_values(config: DictConfig, base: DictConfig) -> Iterator[str]:
    """One line for each value of the wrong type and each key that verl's dataclass does not have.

    Args:
        config: a run's config.
        base: verl's config without the run's overrides.
    """
    yield from wrong_keys(config, base).values()


def wrong_keys(config: DictConfig, base: DictConfig) -> dict[str, str]:
    """The lines of `wrong_values` by their keys.

    Args:
        config: a run's config.
        base: verl's config without the run's overrides.
    """
    found = {}
    for key, name, node, before in _changed(config, base):
        owner = _dataclass_of(node)
        if owner and name not in before and name not in _hints(owner):
            found[key] = f"+{key}: in {key.rpartition('.')[0]}: {unknown_key(name, _hints(owner))}"
            continue
        value = _value(node, name)
        default = _value(before, name)
        kind, optional = _kind(owner, name, default)
        if kind is None or _fits(value, kind) or (value is None and optional):
            continue
        found[key] = f"{key}={_as_text(value)}: expected {KINDS[kind]}{_default_hint(default)}"
    return found


def without(config: DictConfig, base: DictConfig, keys: Iterable[str]) -> DictConfig:
    """A copy of a run's config with verl's own values of these keys, and without those that verl does not have."""
    changed = deepcopy(config)
    with open_dict(changed):
        for key in keys:
            above, _, name = key.rpartition(".")
            node = OmegaConf.select(changed, above) if above else changed
            before = OmegaConf.select(base, above) if above else base
            if name in before:
                node[name] = deepcopy(before._get_node(name))
            else:
                del node[name]
    return changed


def unread_keys(config: DictConfig, base: DictConfig) -> Iterator[str]:
    """Keys added to a node of verl that has no dataclass, so that nothing tells whether anybody reads them."""
    for key, name, node, before in _changed(config, base):
        if name not in before and before and not _dataclass_of(node) and not key.startswith("ray_kwargs."):
            yield key


def _changed(
    config: DictConfig, base: DictConfig, above: str = ""
) -> Iterator[tuple[str, str, DictConfig, DictConfig]]:
    """(key, last part of the key, node, the same node of `base`) of each value that differs. Skips `rest`, whose own
    validation says more, and interpolated values."""
    for name in map(str, config):
        key = f"{above}{name}"
        if name == "_target_" or key == "rest" or OmegaConf.is_interpolation(config, name):
            continue
        value, before = _value(config, name), _value(base, name)
        if isinstance(value, DictConfig) and isinstance(before, DictConfig):
            yield from _changed(value, before, f"{key}.")
        elif name not in base or value != before or type(value) is not type(before):
            yield key, name, config, base


def _value(node: DictConfig, name: str) -> Any:
    """A node's value, interpolations resolved; None if there is none."""
    return None if name not in node or OmegaConf.is_missing(node, name) else node[name]


def _dataclass_of(node: DictConfig) -> type | None:
    target = node.get("_target_")
    found = get_class(target) if isinstance(target, str) else None
    return found if is_dataclass(found) else None


@lru_cache
def _hints(owner: type) -> dict[str, Any]:
    hints = get_type_hints(owner)
    return {item.name: hints[item.name] for item in fields(owner)}


def _kind(owner: type | None, name: str, default: Any) -> tuple[type | None, bool]:
    """The type of a key's values, None for any; and whether the key may be null."""
    if isinstance(default, DictConfig):
        return dict, False
    if owner is None:
        return (type(default) if type(default) in KINDS else None), default is None
    hint = _hints(owner).get(name, Any)
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [get_origin(part) or part for part in parts if part is not type(None)]
    # verl omits Optional where the default is None
    optional = len(kinds) < len(parts) or default is None
    return (kinds[0] if len(kinds) == 1 and kinds[0] in KINDS else None), optional


def _fits(value: Any, kind: type) -> bool:
    if kind is dict:
        return isinstance(value, DictConfig)
    if kind is bool or isinstance(value, bool):
        return isinstance(value, bool) and kind is bool
    if kind is int:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, int | float)


def _as_text(value: Any) -> str:
    return (
        "null" if value is None else repr(OmegaConf.to_container(value)) if OmegaConf.is_config(value) else str(value)
    )


def _default_hint(default: Any) -> str:
    return "" if default is None or OmegaConf.is_config(default) else f", such as verl's default {default}"

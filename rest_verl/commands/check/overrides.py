"""Check the overrides of a run one by one, before Hydra composes them: their keys, groups and presets.

Hydra adds whatever has a plus, so a misspelt group trains without it, and its other messages name no close match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from rest_verl.common.names import closest, unknown_name

MOST_KEYS = 12  # in a message without a close match
MOST_HINTS = 3
_MISSPELT = 0.75  # as like a known name as a new one can hardly be


def parse(text: str) -> Override:
    """Parse one override.

    Raises:
        ValueError: it is none.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        if text.startswith("--"):
            raise ValueError(f"{text}: options go before the overrides, as in rest-verl check --json -- ...") from None
        raise ValueError(f"{text}: not a Hydra override; allowed: key=value, +key=value for a new key, ~key") from None


def text_of(item: Override) -> str:
    """An override as it was given."""
    return item.input_line or item.key_or_group  # Hydra's parser always keeps the line


def is_new(item: Override) -> bool:
    """Whether an override adds a key or a preset."""
    return item.is_add() or item.is_force_add()


def unknown_key(given: str, keys: Iterable[str], elsewhere: Sequence[str] = ()) -> str:
    """Error message for a key that its node does not have. Names only the closest keys: verl's nodes have up to 70.

    Args:
        elsewhere: whole keys of other nodes that it may have been meant for.
    """
    names = sorted(name for name in keys if name != "_target_")
    near = closest(given, names)
    if elsewhere and not closest(given, names, _MISSPELT):
        near = list(elsewhere)
    if near:
        return f"unknown key {given!r}: did you mean {' or '.join(near[:MOST_HINTS])}?"
    more = f" and {len(names) - MOST_KEYS} more" if len(names) > MOST_KEYS else ""
    return f"unknown key {given!r}: allowed: {', '.join(names[:MOST_KEYS])}{more}"


@lru_cache
def our_groups() -> dict[str, list[str]]:
    """The groups of presets that this package adds to Hydra, with the names of their presets."""

    def walk(folder: Any, above: str) -> Iterator[tuple[str, list[str]]]:
        names = sorted(item.name for item in folder.iterdir())
        presets = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]
        if presets:
            yield above, presets
        for item in folder.iterdir():
            if item.is_dir() and not item.name.startswith("_"):
                yield from walk(item, f"{above}/{item.name}".lstrip("/"))

    return dict(walk(files("rest_verl.hydra_configs"), ""))


def group_problem(item: Override, base: DictConfig, has_group: Callable[[str], bool]) -> str | None:
    """Why an override that adds a group or a top-level key does not do what it looks like; None if it may.

    Args:
        item: the override.
        base: verl's config without the run's overrides.
        has_group: whether Hydra finds a group of presets.
    """
    key, groups = item.key_or_group, our_groups()
    if not is_new(item) or item.is_sweep_override():
        return None
    value = item.value()
    if key in groups:
        return None if value in groups[key] else f"{text_of(item)}: {unknown_name('preset', str(value), groups[key])}"
    as_group = key.replace(".", "/")
    if "." in key and as_group in groups and isinstance(value, str):
        instead = f"+{as_group}={value}" if value in groups[as_group] else f"+{as_group}=NAME"
        return f"{text_of(item)}: {key} is a node, and its presets are a group: write {instead}"
    if "." in key or "@" in key or key in base or has_group(key):
        return None
    near = closest(key, groups, _MISSPELT)
    homes = [group for group, presets in groups.items() if value in presets]
    if item.is_force_add() and not near:
        return None  # said to be meant
    if near or homes:
        meant = f"+{(near or homes)[0]}={value}"
        return f"{text_of(item)}: no group {key!r}, so it would have no effect: did you mean {meant}?"
    if "/" in key:
        return f"{text_of(item)}: no group {key!r}; the groups of this package: {', '.join(sorted(groups))}"
    if isinstance(value, str):
        return (
            f"{text_of(item)}: {key!r} is no group and no key of verl's config, so it would have no effect; if your "
            f"own code reads it, write ++{key}={value}"
        )
    return None


def key_problem(item: Override, parsed: Sequence[Override], base: DictConfig) -> str | None:
    """Why an override's key cannot be meant; None if it exists, is new, or only Hydra can tell.

    Args:
        item: the override.
        parsed: all overrides of the run: one may set what another adds.
        base: verl's config without them.
    """
    key = item.key_or_group
    if "/" in key or "@" in key or key.partition(".")[0] in ("hydra", "model_engine") or item.is_force_add():
        return None
    if item.is_add():
        return None if key in our_groups() else _added_key_problem(item, base)
    if key.partition(".")[0] == "rest" and "rest" not in base:
        return f"{text_of(item)}: the run has no rest node: add a preset, such as +rest=paper"
    path, node, missing = _walk(base, key)
    if missing is None:
        plain = not item.is_delete() and not item.is_sweep_override()
        return _unknown_in(text_of(item), item.value(), path, node) if plain else None
    if any(_adds(other, [*path, missing]) for other in parsed):
        return None
    if not isinstance(node, DictConfig):
        # an element of a list, or a key below a plain value
        return None if OmegaConf.is_list(node) else f"{text_of(item)}: {'.'.join(path)} has no keys"
    return _unknown(text_of(item), path, node, missing, _elsewhere(key, base), key)


def _added_key_problem(item: Override, base: DictConfig) -> str | None:
    """A key with a plus that exists, or that is so like another that it is misspelt."""
    key = item.key_or_group
    path, node, missing = _walk(base, key)
    if missing is None:
        # Hydra takes it for a key without a value, and merges containers
        taken = node is not None and not item.is_sweep_override() and not isinstance(item.value(), Mapping | list)
        plain = text_of(item).removeprefix("+")
        return f"{text_of(item)}: the key exists, so it takes no plus: write {plain}" if taken else None
    if path[:1] == ["rest"] or not isinstance(node, DictConfig) or _is_field(node, missing):
        return None
    siblings = [*map(str, node), *([] if path else our_groups())]
    if near := closest(missing, siblings, _MISSPELT):
        meant = ".".join([*path, near[0], *key.split(".")[len(path) + 1 :]])
        where = ".".join(path) or "the config"
        return (
            f"{text_of(item)}: in {where}: {unknown_key(missing, siblings)} Write {meant}=..., or ++{key}=... if "
            "your own code reads it"
        )
    return None


def _walk(base: DictConfig, key: str) -> tuple[list[str], Any, str | None]:
    """How far a key exists: its existing parts, the node there, and the first part that is missing or None."""
    node: Any = base
    path: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in map(str, node):
            return path, node, part
        path.append(part)
        node = None if OmegaConf.is_missing(node, part) else node[part]
    return path, node, None


def _unknown(line: str, path: list[str], node: DictConfig, part: str, elsewhere: Sequence[str], key: str) -> str:
    told = f"{line}: in {'.'.join(path) or 'the config'}: {unknown_key(part, map(str, node), elsewhere)}"
    if path[:1] == ["rest"] or _is_strict(node):
        return f"{told} With a plus it is refused as well"
    return f"{told} If only your own code reads it: ++{key}=..."


def _unknown_in(line: str, value: Any, path: list[str], node: Any) -> str | None:
    """A key of a value in braces, {key: value}, that the node does not have."""
    if not isinstance(value, Mapping) or not isinstance(node, DictConfig) or not len(node):
        return None
    for name, below in ((str(name), below) for name, below in value.items()):
        if name not in map(str, node):
            return _unknown(line, path, node, name, (), ".".join([*path, name]))
        if problem := _unknown_in(line, below, [*path, name], node[name]):
            return problem
    return None


def _elsewhere(key: str, base: DictConfig) -> list[str]:
    """Whole keys that end like this one, or whose last part is its last part; the actor's first."""
    last = key.rpartition(".")[2]
    names = [name for name in _leaves(base) if name.endswith(f".{key}")]
    names = names or [name for name in _leaves(base) if name.rpartition(".")[2] == last]
    return sorted(names, key=lambda name: (not name.startswith("actor_rollout_ref.actor."), len(name), name))


def _leaves(node: DictConfig, above: str = "") -> Iterator[str]:
    for name in map(str, node):
        below = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
        if isinstance(below, DictConfig) and len(below):
            yield from _leaves(below, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _adds(item: Override, path: list[str]) -> bool:
    """Whether an override adds the key at this path, or something below it."""
    added = item.key_or_group.split(".")
    return is_new(item) and added[: len(path)] == path


def _is_strict(node: DictConfig) -> bool:
    """Whether verl turns a node into a dataclass, which takes no other keys."""
    return isinstance(node.get("_target_"), str)


def _is_field(node: DictConfig, name: str) -> bool:
    """Whether a node's dataclass has a field that verl's config does not list."""
    target = node.get("_target_")
    return isinstance(target, str) and name in getattr(get_class(target), "__dataclass_fields__", ())

"""Compose a run's config from overrides, with a one-line message for everything that Hydra refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rest_verl.config.rest import defaults

MOST_KEYS = 12  # in a message without a close match


class DryRunError(ValueError):
    """The run would fail; each problem is one line: the key, the value, what is allowed and what to do."""

    def __init__(self, problems: Iterable[str]):
        """
        Args:
            problems: at least one; line breaks are removed.
        """
        self.problems = [" ".join(problem.split()) for problem in problems]
        super().__init__("\n".join(self.problems))


def unknown_key(given: str, keys: Iterable[str]) -> str:
    """Error message for a key that its node does not have. Names only the closest keys: verl's nodes have up to 70."""
    names = sorted(name for name in keys if name != "_target_")
    near = get_close_matches(given, names, n=3, cutoff=0.5)
    if near:
        return f"unknown key {given!r}: did you mean {' or '.join(near)}?"
    more = f" and {len(names) - MOST_KEYS} more" if len(names) > MOST_KEYS else ""
    return f"unknown key {given!r}: allowed: {', '.join(names[:MOST_KEYS])}{more}"


# What verl's main_ppo passes to `hydra.main`.
CONFIG_MODULE, CONFIG_NAME = "verl.trainer.config", "ppo_trainer"


def compose_run(overrides: Sequence[str]) -> tuple[DictConfig, DictConfig]:
    """A run's config, and verl's config without these overrides.

    Args:
        overrides: Hydra overrides, as on the command line of `python -m verl.trainer.main_ppo`.

    Returns:
        the whole config; and verl's own config for the same `model_engine`, with the defaults of a `rest` node if the
        run has one.

    Raises:
        DryRunError: an override cannot be parsed, or names a key or a preset that does not exist.
    """
    parsed = _parse(overrides)
    engine = next((item.value() for item in reversed(parsed) if item.key_or_group == "model_engine"), "dp")
    with _one_line_errors():
        base = _verl_defaults(str(engine))
    if any(_is_new(item) and item.key_or_group.partition("/")[0].partition(".")[0] == "rest" for item in parsed):
        base = OmegaConf.merge({"rest": defaults()}, base)
    unknown = [problem for item in parsed if (problem := _unknown_key(item, parsed, base))]
    if unknown:
        raise DryRunError(unknown)
    with _one_line_errors(), initialize_config_module(CONFIG_MODULE, version_base=None):
        config = compose(CONFIG_NAME, list(overrides))
    return config, base


@lru_cache
def _verl_defaults(engine: str) -> Any:
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        return compose(CONFIG_NAME, [f"model_engine={engine}"])


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser, parsed, problems = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            problems.append(f"{text}: not a Hydra override; allowed: key=value, +key=value for a new key, ~key")
    if problems:
        raise DryRunError(problems)
    return parsed


def _unknown_key(item: Override, parsed: list[Override], base: DictConfig) -> str | None:
    """The problem with an override whose key does not exist; None if it exists or only Hydra can tell."""
    key = item.key_or_group
    top = key.partition(".")[0]
    if _is_new(item) or "/" in key or "@" in key or top in ("hydra", "model_engine"):
        return None
    if top == "rest" and "rest" not in base:
        return f"{item.input_line}: the run has no rest node: add a preset, such as +rest=paper"
    node: Any = base
    path: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            # an element of a list, or a key below a plain value
            return None if OmegaConf.is_list(node) else f"{item.input_line}: {'.'.join(path)} has no keys"
        keys = list(map(str, node))
        if part not in keys:
            if any(_adds(other, [*path, part]) for other in parsed):
                return None
            return (
                f"{item.input_line}: in {'.'.join(path) or 'the config'}: {unknown_key(part, keys)} "
                f"Add a key that only your own code reads as +{key}=..."
            )
        path.append(part)
        node = None if OmegaConf.is_missing(node, part) else node[part]
    return None


def _adds(item: Override, path: list[str]) -> bool:
    """Whether an override adds the key at this path, or something below it."""
    added = item.key_or_group.split(".")
    return _is_new(item) and added[: len(path)] == path


def _is_new(item: Override) -> bool:
    """Whether an override adds a key or a preset."""
    return item.is_add() or item.is_force_add()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn the errors of Hydra and OmegaConf into one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        # the rest names the searched folders
        message = str(error).partition("Config search path")[0]
        cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        raise DryRunError([message + cause]) from None

"""Compose a run's config from overrides, with a one-line message for everything that Hydra refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rest_verl.commands.check.overrides import group_problem, is_new, key_problem, parse, text_of
from rest_verl.config.rest import defaults


class DryRunError(ValueError):
    """The run would fail; each problem is one line: the key, the value, what is allowed and what to do."""

    def __init__(self, problems: Iterable[str]):
        """
        Args:
            problems: at least one; line breaks are removed.
        """
        self.problems = [" ".join(problem.split()) for problem in problems]
        super().__init__("\n".join(self.problems))


_MAIN = "verl.trainer.main_ppo"
# What it passes to `hydra.main`.
CONFIG_MODULE, CONFIG_NAME = "verl.trainer.config", "ppo_trainer"


@dataclass(frozen=True)
class Composed:
    """A run's config as far as its overrides are right.

    Attributes:
        config: the whole config; None if Hydra cannot compose it.
        base: verl's own config for the same `model_engine`, with the defaults of a `rest` node if the run has one.
        problems: a line for each override that is left out, or why there is no config.
        whole: whether no preset is left out. Without one, other settings may look wrong that are not.
    """

    config: DictConfig | None
    base: DictConfig
    problems: list[str]
    whole: bool = True


def after_main(words: Sequence[str]) -> Sequence[str]:
    """The overrides among the words of a command: what follows verl's main, or all."""
    return words[words.index(_MAIN) + 1 :] if _MAIN in words else words


def compose_run(overrides: Sequence[str]) -> tuple[DictConfig, DictConfig]:
    """A run's config, and verl's config without these overrides.

    Args:
        overrides: Hydra overrides, as on the command line of `python -m verl.trainer.main_ppo`.

    Returns:
        `Composed.config` and `Composed.base`.

    Raises:
        DryRunError: an override cannot be parsed, or names a key or a preset that does not exist.
    """
    composed = compose_sound(overrides)
    if composed.problems or composed.config is None:
        raise DryRunError(composed.problems)
    return composed.config, composed.base


def compose_sound(overrides: Sequence[str]) -> Composed:
    """Compose a run's config from those of its overrides that are right, for a check of the others' values.

    Raises:
        DryRunError: `model_engine` is none of verl's.
    """
    parsed, problems = [], []
    for text in overrides:
        try:
            parsed.append(parse(text))
        except ValueError as error:
            problems.append(str(error))
    engine = next((item.value() for item in reversed(parsed) if item.key_or_group == "model_engine"), "dp")
    with _one_line_errors():
        base = _verl_defaults(str(engine))
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        groups = {text_of(item): problem for item in parsed if (problem := group_problem(item, base, _has_group))}
    problems += groups.values()
    if any(is_new(item) and _is_of_rest(item) for item in parsed):
        base = OmegaConf.merge({"rest": defaults()}, base)
    has_rest = any(is_new(item) and item.key_or_group == "rest" and text_of(item) not in groups for item in parsed)
    sound = []
    for item in parsed:
        if text_of(item) in groups:
            continue
        if problem := key_problem(item, parsed, base):
            problems.append(problem)
        elif has_rest or not groups or not _is_of_rest(item):  # else Hydra would refuse it for want of its preset
            sound.append(text_of(item))
    try:
        with _one_line_errors(), initialize_config_module(CONFIG_MODULE, version_base=None):
            return Composed(compose(CONFIG_NAME, sound), base, problems, whole=not groups)
    except DryRunError as error:
        return Composed(None, base, [*problems, *error.problems])


def _is_of_rest(item: Override) -> bool:
    return item.key_or_group.partition("/")[0].partition(".")[0] == "rest"


def _has_group(name: str) -> bool:
    return bool(GlobalHydra.instance().config_loader().get_group_options(name))


@lru_cache
def _verl_defaults(engine: str) -> Any:
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        return compose(CONFIG_NAME, [f"model_engine={engine}"])


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

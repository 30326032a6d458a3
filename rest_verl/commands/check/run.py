"""A dry run: from overrides to the composed config, its differences from verl's, and what could not be checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from copy import deepcopy
from dataclasses import dataclass
from io import StringIO
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rest_verl.commands.check.batches import batch_notes, batch_problems
from rest_verl.commands.check.code import code_problems
from rest_verl.commands.check.compose import Composed, DryRunError, compose_sound
from rest_verl.commands.check.files import file_problems, has_critic
from rest_verl.commands.check.key_types import without, wrong_keys
from rest_verl.commands.check.notes import is_here, run_notes
from rest_verl.common.logs import importing, quiet_verl
from rest_verl.common.names import unknown_name
from rest_verl.config.rest import ConfigError
from rest_verl.data.files import parquet_fault
from rest_verl.plugin import run_checks
from rest_verl.plugin.registries import REGISTRIES, Registry
from rest_verl.plugin.run_data import data_files


@dataclass(frozen=True)
class Difference:
    """A setting that differs from verl's default; `default` is None if verl has no such key."""

    key: str
    default: Any
    value: Any


@dataclass(frozen=True)
class DryRun:
    """The result of a dry run that passed.

    Attributes:
        config: the composed config, interpolations resolved.
        differences: from verl's own config, and below `rest` from that node's defaults.
        notes: what could not be checked on this machine, and what the user should know.
    """

    config: dict[str, Any]
    differences: list[Difference]
    notes: list[str]


def dry_run(overrides: Sequence[str]) -> DryRun:
    """Check a run without starting it. Imports verl: seconds.

    Args:
        overrides: Hydra overrides, as on the command line of `python -m verl.trainer.main_ppo`.

    Raises:
        DryRunError: the run would fail.
    """
    with quiet_verl(), redirect_stdout(sys.stderr):  # verl and the user's modules print
        with importing():
            composed = compose_sound(overrides)
        problems = problems_of(composed)
        if problems or composed.config is None:
            raise DryRunError(problems)
        config, base = composed.config, composed.base
        notes = [*batch_notes(config), *run_notes(config, base)]
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return DryRun(resolved, list(_differences(config, base)), notes)  # type: ignore[arg-type]  # its keys are text


def problems_of(composed: Composed) -> list[str]:
    """Everything for which a run would fail, a line each. Imports verl: seconds.

    Of a run that lacks a preset, only what holds without it.
    """
    config, base = composed.config, composed.base
    if config is None:
        return composed.problems
    with importing():
        from verl.trainer import main_ppo

    wrong = wrong_keys(config, base)
    sane = without(config, base, wrong)
    settings = [*composed.problems, *wrong.values(), *unknown_names(sane, base)]
    if composed.whole:
        settings += [*missing_values(config), *batch_problems(sane), *_refused_by_us(sane)]
    if not settings:
        # verl's own messages say less, and may say the same
        with _no_run(main_ppo):
            settings += [*validate(main_ppo.main, _without_absent_critic(config)), *refused_dataclasses(config)]
    return list(dict.fromkeys([*settings, *code_problems(sane), *file_problems(sane), *_too_few_rows(sane)]))


def _refused_by_us(config: DictConfig) -> list[str]:
    """What the plugin refuses at the start of a run."""
    try:
        run_checks.check_run(config, REGISTRIES["advantage estimator"].entries())
    except ConfigError as error:
        return str(error).split("\n")
    return []


@contextmanager
def _no_run(main_ppo: Any) -> Iterator[None]:
    """Stop verl's main before it starts Ray, and our own checks in it, which are done already. What it prints is not
    of use without the run."""
    before = main_ppo.run_ppo, run_checks.check_at_start
    main_ppo.run_ppo = run_checks.check_at_start = lambda *_, **__: None
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        main_ppo.run_ppo, run_checks.check_at_start = before


def _differences(config: DictConfig, base: DictConfig) -> Iterator[Difference]:
    # unresolved: an interpolated value differs only with the key it refers to
    run, default = _leaves(config), _leaves(base)
    for key in sorted(run):
        if key not in default or run[key] != default[key]:
            before = default.get(key)
            yield Difference(key, None if before == "???" else before, run[key])  # OmegaConf's marker for no value


def _leaves(config: DictConfig) -> dict[str, Any]:
    def walk(node: Any, above: str) -> Iterator[tuple[str, Any]]:
        for name, value in node.items():
            key = f"{above}{name}"
            if isinstance(value, dict) and value:
                yield from walk(value, f"{key}.")
            else:
                yield key, value

    return dict(walk(OmegaConf.to_container(config, resolve=False), ""))


def _without_absent_critic(config: DictConfig) -> DictConfig:
    """The config without the critic's model if that is not here: verl's validation would load it."""
    if not has_critic(config) or is_here(config.critic.model.path):
        return config
    changed = deepcopy(config)
    changed.critic.model = None
    return changed


def _too_few_rows(config: DictConfig) -> Iterator[str]:
    """A problem if the data is present but too small for one batch: verl drops incomplete batches."""
    from pyarrow.parquet import read_metadata

    files = data_files(config, "data.train_files")
    if files and all(path.suffix == ".parquet" and path.is_file() and not parquet_fault(path) for path in files):
        rows = sum(read_metadata(path).num_rows for path in files)
        if rows < config.data.train_batch_size:
            yield (
                f"data.train_batch_size={config.data.train_batch_size}: data.train_files has only {rows} rows: set at "
                f"most {rows}"
            )


# Settings that verl turns into dataclasses in its workers. Without the model's, whose dataclass loads the model.
WORKER_DATACLASSES = ("actor_rollout_ref.rollout", "trainer.v1.separate_async.hybrid_rollout")


def missing_values(config: DictConfig) -> Iterator[str]:
    """One line for each required value that is missing."""
    for key in sorted(OmegaConf.missing_keys(config)):
        if key.startswith("reward.reward_model.") and not config.reward.reward_model.enable:
            continue
        yield f"{key} has no value: set {'vllm, sglang or trtllm' if key.endswith('rollout.name') else 'one'}"


def validate(verls_main: Callable[[DictConfig], Any], config: DictConfig) -> Iterator[str]:
    """Call verl's main, which validates the config; a line if it refuses it."""
    try:
        verls_main(config)
    except Exception as error:
        # verl asserts, raises and divides by settings: any error means that the run would fail here
        yield _refusal(error)


def refused_dataclasses(config: DictConfig) -> Iterator[str]:
    """One line for each group of settings that verl's dataclass refuses."""
    from verl.utils.config import omega_conf_to_dataclass

    for key in WORKER_DATACLASSES:
        try:
            omega_conf_to_dataclass(OmegaConf.select(config, key))
        except Exception as error:
            yield f"{key}: {_refusal(error)}"


def _refusal(error: Exception) -> str:
    """The message of verl's error, unwrapped from those of Hydra and OmegaConf."""
    wrapped = isinstance(error, HydraException | OmegaConfBaseException)
    cause = error.__cause__ if wrapped and error.__cause__ is not None else error
    return f"verl refuses the config ({type(cause).__name__}): {cause}"


_PARSERS = Registry("verl.experimental.agent_loop.tool_parser", "ToolParser._registry")
_ENGINES = Registry("verl.workers.rollout.base", "_ROLLOUT_REGISTRY")  # keys: (engine, mode)


def unknown_names(config: DictConfig, base: DictConfig) -> Iterator[str]:
    """One line for each name that is not registered.

    A name of verl's own config, or one that this package registers, is taken as it is: some registries are slow to
    import (that of trainer modes imports vLLM), and `rest-verl doctor` looks whether the names are there.
    """
    from verl.utils.import_utils import import_external_libs

    # as verl's workers do: the module may register names; what it raises is told elsewhere
    with suppress(Exception):
        import_external_libs(config.actor_rollout_ref.model.external_lib)
    agent = config.actor_rollout_ref.rollout.agent
    chosen = [
        ("algorithm.adv_estimator", "estimator", REGISTRIES["advantage estimator"]),
        ("actor_rollout_ref.actor.policy_loss.loss_mode", "policy loss", REGISTRIES["policy loss"]),
        ("trainer.v1.trainer_mode", "mode", REGISTRIES["trainer mode"]),
        ("actor_rollout_ref.rollout.name", "engine", _ENGINES),
    ]
    if config.reward.reward_manager.source == "register":
        chosen.append(("reward.reward_manager.name", "reward manager", REGISTRIES["reward manager"]))
    if agent.default_agent_loop == "tool_agent":
        chosen.append(("actor_rollout_ref.rollout.multi_turn.format", "tool parser", _PARSERS))
    if agent.agent_loop_config_path is None:
        chosen.append(("actor_rollout_ref.rollout.agent.default_agent_loop", "agent loop", REGISTRIES["agent loop"]))
    for key, kind, registry in chosen:
        given = OmegaConf.select(config, key)
        if given is None or given in (*registry.names, OmegaConf.select(base, key)):  # no value is told as missing
            continue
        with importing():
            names = {name[0] if isinstance(name, tuple) else str(name) for name in registry.entries()}
        if str(given) not in names:
            yield f"{key}: {unknown_name(kind, str(given), names)}"

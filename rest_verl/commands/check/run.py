"""A dry run: from overrides to the composed config, its differences from verl's, and what could not be checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rest_verl.commands.check.batches import batch_notes, batch_problems
from rest_verl.commands.check.code import code_problems
from rest_verl.commands.check.compose import DryRunError, compose_sound
from rest_verl.commands.check.files import file_problems, has_critic
from rest_verl.commands.check.key_types import without, wrong_keys
from rest_verl.commands.check.notes import is_here, run_notes
from rest_verl.common.logs import quiet_verl
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
    with quiet_verl():
        composed = compose_sound(overrides)
        config, base = composed.config, composed.base
        if config is None:
            raise DryRunError(composed.problems)
        from verl.trainer import main_ppo

        wrong = wrong_keys(config, base)
        sane = without(config, base, wrong)
        found = [
            *composed.problems,
            *missing_values(config),
            *wrong.values(),
            *batch_problems(sane),
            *unknown_names(sane),
            *_refused_by_us(sane),
            *code_problems(sane),
            *file_problems(sane),
            *_too_few_rows(sane),
        ]
        _raise_if(found)
        # last, since its messages say less and it stops at the first
        with _no_run(main_ppo):
            validate(main_ppo.main, _without_absent_critic(config))
        _raise_if([*refused_dataclasses(config)])
        notes = [*batch_notes(config), *run_notes(config, base)]
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return DryRun(resolved, list(_differences(config, base)), notes)  # type: ignore[arg-type]  # its keys are text


def _raise_if(problems: list[str]) -> None:
    if problems:
        raise DryRunError(dict.fromkeys(problems))


def _refused_by_us(config: DictConfig) -> list[str]:
    """What the plugin refuses at the start of a run."""
    try:
        run_checks.check_run(config, REGISTRIES["advantage estimator"].entries())
    except ConfigError as error:
        return str(error).split("\n")
    return []


@contextmanager
def _no_run(main_ppo: Any) -> Iterator[None]:
    """Stop verl's main before it starts Ray, and our own checks in it, which are done already."""
    before = main_ppo.run_ppo, run_checks.check_at_start
    main_ppo.run_ppo = run_checks.check_at_start = lambda *_, **__: None
    try:
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


def validate(verls_main: Callable[[DictConfig], Any], config: DictConfig) -> None:
    """Call verl's main, which validates the config.

    Raises:
        DryRunError: verl refuses the config.
    """
    try:
        verls_main(config)
    except Exception as error:
        # verl asserts, raises and divides by settings: any error means that the run would fail here
        raise DryRunError([_refusal(error)]) from None


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


def unknown_names(config: DictConfig) -> Iterator[str]:
    """One line for each name that is not registered."""
    from verl.utils.import_utils import import_external_libs

    # as verl's workers do: the module may register names; what it raises is told elsewhere
    with suppress(Exception):
        import_external_libs(config.actor_rollout_ref.model.external_lib)
    agent = config.actor_rollout_ref.rollout.agent
    chosen: list[tuple[str, str, Collection[Any]]] = [
        ("algorithm.adv_estimator", "estimator", REGISTRIES["advantage estimator"].entries()),
        ("actor_rollout_ref.actor.policy_loss.loss_mode", "policy loss", REGISTRIES["policy loss"].entries()),
        ("trainer.v1.trainer_mode", "mode", REGISTRIES["trainer mode"].entries()),
        ("actor_rollout_ref.rollout.name", "engine", [name for name, _ in _ENGINES.entries()]),
    ]
    if config.reward.reward_manager.source == "register":
        chosen.append(("reward.reward_manager.name", "reward manager", REGISTRIES["reward manager"].entries()))
    if agent.default_agent_loop == "tool_agent":
        parsers = _PARSERS.entries()
        chosen.append(("actor_rollout_ref.rollout.multi_turn.format", "tool parser", parsers))
    if agent.agent_loop_config_path is None:
        loops = REGISTRIES["agent loop"].entries()
        chosen.append(("actor_rollout_ref.rollout.agent.default_agent_loop", "agent loop", loops))
    for key, kind, names in chosen:
        given = OmegaConf.select(config, key)
        if given is not None and str(given) not in names:  # what has no value is told as missing
            yield f"{key}: {unknown_name(kind, str(given), names)}"

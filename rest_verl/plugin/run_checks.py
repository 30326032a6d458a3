"""Checks of a run's whole config before Ray starts: settings of verl and of ResT that depend on each other.

Each failure is one `ConfigError` that names the override that fixes it. verl is not imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from rest_verl.common.names import closest, unknown_name
from rest_verl.config.rest import ConfigError, RestConfig, load, preset_names
from rest_verl.plugin.policy_losses import KEEPS_WEIGHTS, why_not
from rest_verl.plugin.run_credit import ESTIMATOR, MANAGER, MODE, USE_V1, check_credit
from rest_verl.plugin.run_data import check_data
from rest_verl.plugin.run_model import check_model
from rest_verl.plugin.trial import try_scheme
from rest_verl.records.trackers import check_trackers
from rest_verl.weighting.schemes import SCHEME_SETTINGS, get_scheme, scheme_names

# Modes of verl's V1 trainer that ResT extends; any other name is the user's own trainer.
STOCK_MODES = ("sync", "colocate_async", "separate_async")

# verl's estimators whose inputs its V1 trainer does not pass: a run would fail after its first rollout.
NOT_IN_V1 = {
    "optimal_token_baseline": "sums of squared probabilities",
    "remax": "rewards of greedy responses",
    "tir_optimal_token_baseline": "sums of squared probabilities",
}

_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
_AGENT = "actor_rollout_ref.rollout.agent.default_agent_loop"
_REST_MODES = [f"rest_{mode}" for mode in STOCK_MODES]
_SUM_PI_SQUARED = "actor_rollout_ref.actor.calculate_sum_pi_squared"
_MIXED_PRECISION = "actor_rollout_ref.actor.fsdp_config.mixed_precision"
_ROLLOUT_LOG_PROBS = "actor_rollout_ref.rollout.calculate_log_probs"
_BYPASS = "algorithm.rollout_correction.bypass_mode"
_GROUPS = ("rest", "platform")


class RunConfigError(CompactHydraException, ConfigError):
    """A `ConfigError` that Hydra prints as one message; HYDRA_FULL_ERROR=1 shows where it was raised."""


def check_at_start(config: DictConfig, estimators: Iterable[str]) -> None:
    """`check_run` before Ray starts: a message instead of a traceback.

    Raises:
        RunConfigError: the settings contradict each other.
    """
    try:
        check_run(config, estimators)
    except ConfigError as error:
        raise RunConfigError(str(error)) from None


def check_run(config: DictConfig, estimators: Iterable[str]) -> RestConfig:
    """Validate the `rest` node, alone and together with the rest of the run.

    Args:
        config: whole config of the run.
        estimators: names of the advantage estimators registered with verl.

    Returns:
        The validated settings.

    Raises:
        ConfigError: see the module's docstring; a line for each setting that is wrong.
    """
    problems = [*_misspelt_groups(config)]
    try:
        rest = load(config)  # imports the modules that register the names below
    except ConfigError as error:
        problems.append(str(error))
    problems += _unknown_names(config, set(estimators))
    if problems:
        raise ConfigError("\n".join(problems))
    reshaped = OmegaConf.select(config, ESTIMATOR) == "rest"
    for check in (
        lambda: _check_estimator(config, rest, set(estimators) - {"rest"}, reshaped),
        lambda: _check_scheme(config, rest, reshaped),
        lambda: _check_parts(config, rest, reshaped),
        lambda: _check_measurement(config, rest, reshaped),
        lambda: _check_agent_loop(config),
        lambda: check_trackers(rest, config.get("trainer") or {}),
        lambda: check_model(config),
        lambda: check_data(config, rest.format),
    ):
        try:
            check()
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    if reshaped:
        try_scheme(rest)
    return rest


def _check_parts(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    """The parts of a preset, which belong together. Stops at the first that is broken: half a preset breaks several,
    and the remedy of the first mends them all."""
    _check_trainer(config, reshaped)
    _check_loss(config, rest, reshaped)
    check_credit(config, rest, reshaped)
    if rest.dump_dir is not None and not reshaped:
        raise ConfigError(
            f"rest.dump_dir={rest.dump_dir} needs a rest trainer mode, which writes the records, but {ESTIMATOR}="
            f"{OmegaConf.select(config, ESTIMATOR)}: set +rest=paper rest.scheme=uniform for plain GRPO with "
            "records, or remove rest.dump_dir"
        )


def _check_agent_loop(config: DictConfig) -> None:
    if OmegaConf.select(config, MANAGER) == "rest_tool" and OmegaConf.select(config, _AGENT) == "tool_agent":
        raise ConfigError(
            f"{MANAGER}=rest_tool scores only the policy's own turns, but verl's tool_agent does not record where "
            f"they begin: set {_AGENT}=rest_tool_agent"
        )


def _misspelt_groups(config: DictConfig) -> Iterator[str]:
    """Hydra adds `+rests=paper` as a key that nobody reads, and the run would be plain GRPO."""
    for key, value in ((str(key), value) for key, value in config.items_ex(resolve=False)):
        if key in _GROUPS or not isinstance(value, str):
            continue
        near = [group for group in closest(key, _GROUPS, 0.75) if key[:1].lower() == group[0]]
        if near or value in preset_names():
            meant = f"+{(near or ['rest'])[0]}={value}"
            yield f"{key}={value}: no group {key!r}, so it would have no effect: did you mean {meant}?"


def _unknown_names(config: DictConfig, estimators: set[str]) -> Iterator[str]:
    """Names that nobody registered, each with the closest one; of verl's estimator only what was meant for ours, since
    verl knows best which others it takes."""
    given = OmegaConf.select(config, ESTIMATOR)
    in_rest_mode = OmegaConf.select(config, MODE) in _REST_MODES
    if given is not None and given not in estimators and (in_rest_mode or closest(str(given), ["rest"])):
        yield f"{ESTIMATOR}: {unknown_name('estimator', str(given), estimators)}"
    base = OmegaConf.select(config, "rest.base_estimator")
    if isinstance(base, str) and base not in estimators:
        yield f"rest.base_estimator: {unknown_name('estimator', base, estimators - {'rest'})}"
    scheme = OmegaConf.select(config, "rest.scheme")
    if isinstance(scheme, str) and scheme not in scheme_names():
        yield f"rest.scheme: {unknown_name('scheme', scheme, scheme_names())}"


def _check_estimator(config: DictConfig, rest: RestConfig, allowed: set[str], reshaped: bool) -> None:
    in_rest_mode = OmegaConf.select(config, USE_V1) and OmegaConf.select(config, MODE) in _REST_MODES
    if reshaped and rest.base_estimator in NOT_IN_V1 and in_rest_mode:
        raise ConfigError(
            f"rest.base_estimator={rest.base_estimator} needs {NOT_IN_V1[rest.base_estimator]}, which verl's V1 "
            f"trainer does not pass to it: set one of {', '.join(sorted(allowed - NOT_IN_V1.keys()))}"
        )


def _check_scheme(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    scheme = get_scheme(rest.scheme)
    of_normalisation = {"decay"} if rest.normalisation == "batch" else set()
    for name in sorted(SCHEME_SETTINGS - scheme.reads - of_normalisation):
        if getattr(rest, name) != getattr(RestConfig(), name):
            readers = [other for other in scheme_names() if name in get_scheme(other).reads]
            raise ConfigError(
                f"rest.{name} is set, but rest.scheme={rest.scheme} does not read it: remove it, or set rest.scheme "
                f"to one that does: {', '.join(readers)}"
            )
    if rest.curriculum.kind == "adaptive" and "curriculum" in scheme.reads and not scheme.measures_entropy:
        raise ConfigError(
            f"rest.curriculum.kind=adaptive follows the measured entropy, but rest.scheme={rest.scheme} does not "
            "measure it: set another kind, or register the scheme with measures_entropy=True"
        )
    if reshaped and scheme.measures_entropy and OmegaConf.select(config, _BYPASS):
        raise ConfigError(
            f"rest.scheme={rest.scheme} needs the policy's entropy, which verl does not compute with {_BYPASS}=True: "
            f"set {_BYPASS}=False, or rest.scheme=paper"
        )

    if reshaped and "rollout_log_prob" in scheme.needs and not OmegaConf.select(config, _ROLLOUT_LOG_PROBS):
        raise ConfigError(
            f"rest.scheme={rest.scheme} needs the log-probabilities of the rollout, which verl does not record with "
            f"{_ROLLOUT_LOG_PROBS}=False: set {_ROLLOUT_LOG_PROBS}=True, or another rest.scheme"
        )
    if reshaped and "states" in scheme.needs and OmegaConf.select(config, _AGENT) != "rest_tool_agent":
        raise ConfigError(
            f"rest.scheme={rest.scheme} needs the names of the environments' states, which {_AGENT}="
            f"{OmegaConf.select(config, _AGENT)} does not record: set +rest/rollout=multi_turn, or another rest.scheme"
        )
    if reshaped and scheme.gives_credit and rest.apply_in == "loss":
        raise ConfigError(
            f"rest.scheme={rest.scheme} gives credit, which is added to the advantages, but rest.apply_in=loss "
            f"weights the loss: set rest.apply_in=advantage and {_LOSS}=vanilla"
        )


def _check_trainer(config: DictConfig, reshaped: bool) -> None:
    mode = OmegaConf.select(config, MODE)
    if reshaped and not OmegaConf.select(config, USE_V1):
        _check_first_trainer(config, mode)
    elif reshaped and mode in STOCK_MODES:
        raise ConfigError(
            f"{ESTIMATOR}=rest needs token weights, which only a rest trainer mode computes, but {MODE}={mode}: "
            f"set {MODE}=rest_{mode}"
        )
    if not reshaped and mode in _REST_MODES:
        given = OmegaConf.select(config, ESTIMATOR)
        raise ConfigError(
            f"{MODE}={mode} reshapes the advantages of {ESTIMATOR}=rest, but {ESTIMATOR}={given}: set "
            f"{ESTIMATOR}=rest rest.base_estimator={given}, or {MODE}={mode.removeprefix('rest_')}"
        )


def _check_first_trainer(config: DictConfig, mode: str | None) -> None:
    """What verl's first trainer (`plugin.first_trainer`) does not have."""
    if mode not in (None, "sync", "rest_sync"):
        raise ConfigError(
            f"{USE_V1}=False is verl's first trainer, whose rollouts are synchronous, but {MODE}={mode}: set "
            f"{MODE}=rest_sync, or {USE_V1}=True"
        )
    if OmegaConf.select(config, "algorithm.use_pf_ppo"):
        raise ConfigError(
            "algorithm.use_pf_ppo=True draws the rows of a batch again after their regions are read: set it to False, "
            f"or {ESTIMATOR}=gae without ResT"
        )


def _check_loss(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    loss = OmegaConf.select(config, _LOSS)
    in_loss = reshaped and rest.apply_in == "loss"
    if loss == "rest" and not in_loss:
        raise ConfigError(
            f"{_LOSS}=rest applies the token weights of rest.apply_in=loss, but the run has "
            f"{ESTIMATOR}={OmegaConf.select(config, ESTIMATOR)} and rest.apply_in={rest.apply_in}: set "
            f"{_LOSS}=vanilla, or {ESTIMATOR}=rest and rest.apply_in=loss"
        )
    if in_loss and loss != "rest":
        raise ConfigError(
            f"rest.apply_in=loss needs the policy loss that applies the weights, but {_LOSS}={loss}: set "
            f"{_LOSS}=rest, or rest.apply_in=advantage"
            + ("" if why_not(str(loss), rest.own_losses) is None else f" and {_LOSS}=vanilla")
        )
    if in_loss and OmegaConf.select(config, _BYPASS):
        raise ConfigError(
            f"{_BYPASS}=True replaces the policy loss, so the weights of rest.apply_in=loss would be lost: set "
            f"rest.apply_in=advantage and {_LOSS}=vanilla"
        )
    in_advantage = reshaped and rest.apply_in == "advantage" and not OmegaConf.select(config, _BYPASS)
    if in_advantage and loss is not None and (reason := why_not(str(loss), rest.own_losses)) is not None:
        raise ConfigError(
            f"rest.apply_in=advantage weights the advantages, but {_LOSS}={loss} {reason}. Set {_LOSS} to one of "
            f"{', '.join(sorted({*KEEPS_WEIGHTS, *rest.own_losses} - {'bypass_mode'}))}; or rest.apply_in=loss "
            f"{_LOSS}=rest"
        )


def _check_measurement(config: DictConfig, rest: RestConfig, reshaped: bool) -> None:
    """verl takes the sum of squared probabilities in the dtype of the logits. In bf16, whose steps near 1 are 1/256,
    1 - sum p^2 of a token of low entropy is lost, which the bound by the entropy keeps."""
    if not (reshaped and get_scheme(rest.scheme).measures_entropy and OmegaConf.select(config, _SUM_PI_SQUARED)):
        return
    strategy = OmegaConf.select(config, "actor_rollout_ref.actor.strategy")
    dtype = OmegaConf.select(config, f"{_MIXED_PRECISION}.param_dtype") or "bf16"
    known = str(dtype) if strategy in ("fsdp", "fsdp2") else "not float32"
    if known not in ("fp32", "float32"):
        raise ConfigError(
            f"{_SUM_PI_SQUARED}=True: verl computes the sum of squared probabilities in the dtype of the logits, "
            f"which is {known} in this run: the variance of tokens of low entropy is lost. Set "
            f"{_SUM_PI_SQUARED}=False to bound it by the entropy instead; or, with fsdp or fsdp2, "
            f"+{_MIXED_PRECISION}.param_dtype=fp32"
        )

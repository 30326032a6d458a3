"""The `rest:` node of the Hydra config: every key, its default and its range, in one place.

YAML presets set only what differs from the defaults below. `load` turns the composed node into a `RestConfig`, or
raises one `ConfigError` that lists each wrong key with its value, the allowed values and the closest valid name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, fields
from importlib import import_module
from importlib.resources import files
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rest_verl.common.errors import raised
from rest_verl.common.names import closest, unknown_name
from rest_verl.config.published import (
    GigpoConfig,
    GtpoConfig,
    MalformedPenaltyConfig,
    StareConfig,
    TopFifthConfig,
    TurnDiscountedConfig,
    WienerConfig,
)
from rest_verl.config.ramp import STRICT
from rest_verl.config.reward import RewardConfig, reward_preset
from rest_verl.config.rollout import RolloutConfig
from rest_verl.config.weights import CurriculumConfig, RegionTargets, RegionWeights, registered_name
from rest_verl.core.states import WeightsFrom
from rest_verl.formats import get_format


@dataclass(frozen=True, config=STRICT)
class DumpConfig:
    """Size of the token records.

    Attributes:
        trajectories: number of trajectories to record per batch; each sampled prompt includes its best and its worst.
            A step has one batch, or `parameter_sync_step` batches in `separate_async`.
        fraction: fraction of each batch's trajectories to record, where that is more than `trajectories`.
        every: number of steps from one file to the next.
        max_gib: total size of the files in GiB. Above it every second file is deleted, and from then on half as many
            are written.
        tracked: number of recorded trajectories per batch that also go to the trackers of `trainer.logger`
            (`records.trackers`), the best and the worst of their prompts first; 0 for none.
        tracked_kib: size of what goes to each tracker per batch in KiB; longer texts are cut.
    """

    trajectories: int = Field(default=32, gt=0)
    fraction: float = Field(default=0.0, ge=0, le=1)
    every: int = Field(default=1, gt=0)
    max_gib: float = Field(default=2.0, gt=0)
    tracked: int = Field(default=0, ge=0)
    tracked_kib: int = Field(default=512, ge=16)


RegionName = Literal["other", "think", "response", "format", "args", "name"]

# Estimators whose advantage of a trajectory is its score against those of its group, which `rest.credit` extends.
CREDIT_ESTIMATORS = ("grpo", "rloo")


class ConfigError(ValueError):
    """A setting is invalid; the message names the override that fixes it."""


@dataclass(frozen=True, config=STRICT)
class RestConfig:
    """Settings of ResT.

    Attributes:
        scheme: rule that weights the tokens: `paper` by region and step, `entropy` by the measured variance of the
            region, `token` by the variance of the token, `uniform` all alike, which is the base estimator. Or your own
            (`schemes`).
        format: wire format of the policy's tool calls.
        modules: Python modules to import in every process that reads these settings: they register your own schemes,
            curricula and formats.
        apply_in: where the weights act: `advantage` multiplies the advantages, under the policy losses in which that
            weights the tokens (`plugin.policy_losses`); `loss` multiplies the clipped surrogate in the policy loss
            `rest`, which also reports weighted metrics.
        own_losses: names of your own policy losses, registered with verl, in which each token's part is proportional
            to its own advantage, for apply_in=advantage.
        base_estimator: verl estimator whose advantages are reshaped.
        credit: what a token is credited with. `trajectory`: the advantage of `base_estimator`, one for the whole
            trajectory. `turn`: what is decided at or after the token, where the environment scores its user turns
            (`rollout.environment.ScoresTurns`); the group's other trajectories are the critic (`core.credit`).
            `span`: besides, what each name, key and value of a call earned where it was written (`reward.progress`),
            in rows with a ground truth.
        credit_lambda: how far the score of a later turn or span reaches back to a token: 1 fully, which is unbiased;
            smaller values have less variance. The outcome, which only the end of a trajectory decides, always reaches
            back, and everything reaches back to reasoning.
        credit_matrix: with base_estimator=gdpo, the regions whose tokens a component of the reward reaches, for those
            components that do not reach all (`core.components`).
        weights_from: what gives a token its region. `state`: what the text before it says about where it is, so that
            all the choices of a branch have one weight and none drifts (`core.states`). `token`: the token itself, as
            the authors do.
        normalisation: `batch` multiplies all weights by one constant, which keeps the sum over batches, averaged over
            the steps before; `row` keeps sum_t m w = sum_t m in every row, so that a token's weight depends on what
            its row goes on to write; `positive` gives the weighted tokens of each row a mean of 1 and keeps the sum
            over the batch, as the authors do; `none` leaves the weights unchanged.
        clamp_min, clamp_max: bounds of positive weights before normalisation.
        floor: least weight of a generated token after normalisation. Above 0 in every preset but `paper`, whose
            weights are 0 for the end of sequence: such a policy does not learn to stop.
        cap: greatest weight after normalisation; None for none. Where few tokens of a row have a weight, `row` would
            give them that of the whole row.
        weights: weight of each region, in scheme `paper`.
        alpha: exponent of the structural weight (V + eps)^(-alpha), in schemes `entropy` and `token`: 1 minimises
            variance, 0 weights all tokens alike, values below 0 prefer tokens of high entropy.
        eps: constant added to V, in schemes `entropy` and `token`.
        decay: weight of the old value in the moving averages of a region's entropy, of its signal and, with
            normalisation=batch, of the mean weight; 0 uses each step alone.
        targets: reasoning target of each region, in schemes `entropy` and `token`.
        curriculum: move from the structural weights to the targets, in schemes `entropy` and `token`.
        wiener: settings of scheme `wiener`, which is experimental.
        top_fifth, gtpo, stare, gigpo, malformed_penalty, turn_discounted: settings of the scheme of that name, a rule
            published elsewhere (`weighting.published`).
        reward: rules and bounds of the reward manager `rest_tool`: the name of a preset (paper, toolrl, strict), or
            keys.
        rollout: limits of a trajectory in the agent loop `rest_tool_agent`.
        dump_dir: folder for token records of a sample of each step's trajectories, which `rest-verl inspect` shows;
            None disables.
        dump: size of the token records.
        resume_changed: whether to resume from a checkpoint whose run had another scheme, or another lam for the number
            of its steps, or that has no state of ResT; otherwise this ends the run.
        stall_seconds: abort after this many seconds in which no trajectory arrives that the trainer waits for, or when
            one transfer of weights takes this long; None disables.
    """

    scheme: str = "paper"
    format: Annotated[str, registered_name(get_format)] = "rlla"
    modules: list[str] = field(default_factory=list)
    apply_in: Literal["advantage", "loss"] = "advantage"
    own_losses: list[str] = field(default_factory=list)
    base_estimator: str = "grpo"
    credit: Literal["trajectory", "turn", "span"] = "trajectory"
    credit_lambda: float = Field(default=1.0, ge=0, le=1)
    credit_matrix: dict[str, list[RegionName]] = field(default_factory=dict)
    weights_from: WeightsFrom = "state"
    normalisation: Literal["batch", "row", "positive", "none"] = "batch"
    clamp_min: float = Field(default=1e-3, gt=0)
    clamp_max: float = Field(default=8.0, gt=0)
    floor: float = Field(default=0.0, ge=0, le=1)
    cap: float | None = Field(default=8.0, ge=1)
    weights: RegionWeights = field(default_factory=RegionWeights)
    alpha: float = 1.0
    eps: float = Field(default=0.05, gt=0)
    decay: float = Field(default=0.9, ge=0, lt=1)
    targets: RegionTargets = field(default_factory=RegionTargets)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    wiener: WienerConfig = field(default_factory=WienerConfig)
    top_fifth: TopFifthConfig = field(default_factory=TopFifthConfig)
    gtpo: GtpoConfig = field(default_factory=GtpoConfig)
    stare: StareConfig = field(default_factory=StareConfig)
    gigpo: GigpoConfig = field(default_factory=GigpoConfig)
    malformed_penalty: MalformedPenaltyConfig = field(default_factory=MalformedPenaltyConfig)
    turn_discounted: TurnDiscountedConfig = field(default_factory=TurnDiscountedConfig)
    reward: Annotated[RewardConfig, BeforeValidator(reward_preset)] = field(default_factory=RewardConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    dump_dir: str | None = Field(default=None, min_length=1)
    dump: DumpConfig = field(default_factory=DumpConfig)
    resume_changed: bool = False
    stall_seconds: float | None = Field(default=7200.0, gt=0)

    def __post_init__(self) -> None:
        if self.base_estimator == "rest":
            raise ValueError("rest.base_estimator=rest: set it to the estimator that ResT reshapes, such as grpo")
        if self.credit != "trajectory" and self.base_estimator not in CREDIT_ESTIMATORS:
            raise ValueError(
                f"rest.credit={self.credit} takes the group as critic, but rest.base_estimator={self.base_estimator}: "
                f"set it to {' or '.join(CREDIT_ESTIMATORS)}, or set rest.credit=trajectory"
            )
        if self.credit_matrix and self.base_estimator != "gdpo":
            raise ValueError(
                f"rest.credit_matrix is set, but rest.base_estimator={self.base_estimator} has one advantage for all "
                "components of the reward: set rest.base_estimator=gdpo, or remove it"
            )
        if self.credit == "trajectory" and self.credit_lambda != 1.0:
            raise ValueError(
                f"rest.credit_lambda={self.credit_lambda} is set, but rest.credit=trajectory does not read it: set "
                "rest.credit=turn or span, or remove it"
            )
        if self.clamp_min > self.clamp_max:
            raise ValueError(f"rest.clamp_min={self.clamp_min} is greater than rest.clamp_max={self.clamp_max}")
        if self.dump_dir is None and self.dump != DumpConfig():
            raise ValueError("rest.dump is set, but no records are written without a folder: set rest.dump_dir=FOLDER")
        if self.reward.reading == "first_block" and self.format != "rlla":
            raise ValueError(
                f"rest.reward.reading=first_block reads the format rlla, but rest.format={self.format}: set "
                "rest.reward.reading=parser"
            )


def load(config: DictConfig | Mapping[str, Any]) -> RestConfig:
    """Read the `rest` node of a run's config; without one, return the defaults.

    Args:
        config: whole config of the run.

    Raises:
        ConfigError: one line for each wrong key or value.
    """
    node: Any = config.get("rest") or {}
    if isinstance(node, DictConfig):
        node = OmegaConf.to_container(node, resolve=True)
    modules = node.get("modules") if isinstance(node, dict) else None
    if isinstance(modules, list):
        # Before validation: the names that these modules register are allowed values below.
        for module in modules:
            import_run_module(str(module))
    try:
        return TypeAdapter(RestConfig).validate_python(node)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(item) for item in error.errors())) from None


def model_of(config: DictConfig | Mapping[str, Any]) -> str | None:
    """The model of a run as its config names it; None without one."""
    return OmegaConf.select(OmegaConf.create(config), "actor_rollout_ref.model.path")  # type: ignore[arg-type]


def import_run_module(module: str) -> None:
    """Import a module of `rest.modules`, which registers the user's own code; ConfigError if that fails."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"rest.modules: cannot import {module!r} ({error}). It must be importable in every process of the run: "
            "install it, or put its folder on PYTHONPATH, here and in "
            "+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"rest.modules: {module!r} raised {raised(error)}: mend it there") from None


def preset_names() -> list[str]:
    """Names of all presets, as in `+rest=NAME`."""
    return _presets_in("rest")


def _presets_in(group: str) -> list[str]:
    """Names of the presets of a group; none if there is no such group."""
    folder = files("rest_verl.hydra_configs") / group
    if not folder.is_dir():
        return []
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def defaults() -> dict[str, Any]:
    """All settings with their defaults, as plain containers: the base of the `rest` presets."""
    return TypeAdapter(RestConfig).dump_python(RestConfig())


# By pydantic's types of error, up to _parsing, _type, _number or _from_float: what its other messages say is in ours.
_EXPECTED = {
    "bool": "true or false",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "string": "text",
}
_KIND = re.compile(r"(\w+?)_(?:parsing|type|number|from_float)")


def _describe(item: Any) -> str:
    """One line for one pydantic error: key, value, allowed values."""
    path = ".".join(["rest", *map(str, item["loc"])])
    kind, given = item["type"], item["input"]
    if kind == "unexpected_keyword_argument":
        parent = path.rpartition(".")[0]
        return f"{parent}: " + unknown_name("key", str(item["loc"][-1]), _keys_at(item["loc"][:-1]))
    if kind == "literal_error":
        allowed = [part.strip().strip("'") for part in item["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"{path}: " + unknown_name("value", str(given), allowed)
    if kind == "value_error":
        return f"{path}: {item['ctx']['error']}"
    if kind == "dataclass_type":
        return f"{path}={given!r}: {_instead_of_a_node(item['loc'], given)}"
    if kind == "list_type":
        return f"{path}={given!r}: expected a list: set {path}=[{given}]"
    wanted = _KIND.fullmatch(kind)
    expected = _EXPECTED.get(wanted[1]) if wanted else None
    return f"{path}={given!r}: {f'expected {expected}' if expected else item['msg']}"


def _instead_of_a_node(location: tuple[Any, ...], given: Any) -> str:
    """What to write where a value was given for a node with keys: a preset, if there are any, or a key."""
    path = "/".join(["rest", *map(str, location)])
    if presets := _presets_in(path):
        name = given if given in presets else (closest(str(given), presets) or presets)[0]
        return f"a node with keys, whose presets are a group: write +{path}={name}"
    first = _keys_at(location)[0]
    return f"expected a node with keys, such as {path.replace('/', '.')}.{first}=..."


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """Field names of the dataclass at a location in the `rest` node."""
    value: Any = RestConfig()
    for key in location:
        value = getattr(value, key)
    return [item.name for item in fields(value)]

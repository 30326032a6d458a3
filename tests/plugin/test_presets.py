"""The presets, composed on verl's own config by Hydra, give runs whose settings fit together."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import MissingConfigException
from hydra.utils import get_class
from tiers import HANG_GUARD
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verls_config import composed

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import ConfigError, RestConfig, load, preset_names
from rest_verl.config.reward import RewardConfig
from rest_verl.config.rollout import RolloutConfig
from rest_verl.config.weights import CurriculumConfig, RegionWeights
from rest_verl.plugin.run_checks import check_run
from rest_verl.plugin.version import RefuseVerl
from rest_verl.reward.tool_reward import skipped_components

PAPER = RewardConfig(rules="toolrl")
FLOOR = {"floor": 0.1}
AS_THE_AUTHORS = {"weights_from": "token", "normalisation": "row"}
AT_FIRST = CurriculumConfig(kind="constant", high=0.0)
LEVEL, LEVEL_1, OFF, LOW = Ramp(0.6, 0.0, 1.2), Ramp(0.6, 0.0, 1.0), Ramp(0.0, 0.0, 1.0), Ramp(0.1)
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
VANILLA = f"{LOSS}=vanilla"
ROOT = Path(__file__).parents[2]
COMPOSE = """
from hydra import compose, initialize
with initialize(version_base=None):
    print(compose(overrides=["+rest=paper"]).rest.apply_in)
"""


def test_verls_own_config_is_untouched():
    config = composed()
    assert "rest" not in config
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig()


def test_the_preset_paper_is_a_legal_run_with_the_weights_in_the_loss():
    config = composed("+rest=paper")
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig(apply_in="loss", reward=PAPER, **AS_THE_AUTHORS)
    assert (config.algorithm.adv_estimator, config.trainer.v1.trainer_mode) == ("rest", "rest_sync")
    assert config.reward.reward_manager.name == "rest_tool"


def test_the_preset_grpo_is_stock_grpo_with_the_same_reward():
    config = composed("+rest=grpo")
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig(reward=PAPER)
    assert (config.algorithm.adv_estimator, config.trainer.v1.trainer_mode) == ("grpo", "sync")
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode == "vanilla"
    assert config.reward.reward_manager.name == "rest_tool"


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("entropy", {"scheme": "entropy", **FLOOR}),
        ("entropy_adaptive", {"scheme": "entropy", **FLOOR, "curriculum": CurriculumConfig(kind="adaptive")}),
        ("token_low", {"scheme": "token", **FLOOR, "curriculum": AT_FIRST}),
        ("token_high", {"scheme": "token", **FLOOR, "alpha": -1.0, "curriculum": AT_FIRST}),
        ("static", {**AS_THE_AUTHORS, "reward": PAPER, **FLOOR, "weights": RegionWeights(args=LEVEL, think=LEVEL_1)}),
        (
            "no_think",
            {**AS_THE_AUTHORS, "reward": PAPER, "weights": RegionWeights(think=OFF, response=LOW, other=LOW)},
        ),
    ],
)
def test_every_other_preset_is_the_papers_run_but_for_its_own_settings(preset, settings):
    config, paper = composed(f"+rest={preset}"), composed("+rest=paper")
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig(apply_in="loss", **settings)
    config.rest = paper.rest
    assert config == paper


@pytest.mark.parametrize("preset", ["paper", "toolrl", "strict"])
@pytest.mark.parametrize("around", ["paper", "entropy", "grpo"])
def test_a_preset_of_the_reward_is_named_or_composed_beside_any_other(around, preset):
    named = load(composed(f"+rest={around}", f"rest.reward={preset}"))
    assert named.reward == load({"rest": {"reward": preset}}).reward
    assert load(composed(f"+rest={around}", f"+rest/reward={preset}")) == named


def test_a_composed_preset_of_the_reward_can_be_changed():
    rest = load(composed("+rest=paper", "+rest/reward=toolrl", "rest.reward.correctness_max.start=1"))
    assert (rest.reward.rules, rest.reward.reading) == ("toolrl", None)
    assert (rest.reward.correctness_max, rest.reward.format_max) == (Ramp(1.0), Ramp(1.0))


def test_verl_can_leave_out_groups_without_spread():
    """Its V1 trainer reads the metric among the components that our reward manager returns."""
    keys = ("algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc")
    config = composed("+rest=paper", *keys, "actor_rollout_ref.model.path=m")
    assert PPOTrainer._resolve_filter_groups_metric(SimpleNamespace(config=config)) == "acc"
    assert "acc" in skipped_components()


def test_multi_turn_rollouts_are_composed_beside_any_preset():
    config = composed("+rest=paper", "+rest/rollout=multi_turn", "rest.rollout.max_calls=7")
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "rest_tool_agent"
    assert config.actor_rollout_ref.rollout.multi_turn.enable
    assert check_run(config, ADV_ESTIMATOR_REGISTRY).rollout == RolloutConfig(max_calls=7)


def test_turns_as_samples_of_their_own_need_the_reward_manager_that_reads_them_all():
    per_turn = "rest.rollout.per_turn=true"
    assert check_run(composed("+rest=paper", per_turn), ADV_ESTIMATOR_REGISTRY).rollout.per_turn
    with pytest.raises(ConfigError, match=r"scores only the last one: set reward\.reward_manager\.name=rest_tool"):
        naive = "reward.reward_manager.name=naive"
        check_run(composed("+rest=paper", per_turn, naive), ADV_ESTIMATOR_REGISTRY)


def test_the_variants_of_toolrl_on_the_page_are_legal_settings():
    page = (ROOT / "docs" / "rewards.md").read_text()
    table = page[page.index("| variant | settings |") : page.index("## What can be gamed")]
    settings = [re.findall(r"(rest\.reward\.[^ `]+)", line) for line in table.splitlines()]
    assert sum(map(bool, settings)) == 5
    for overrides in filter(None, settings):
        rest = load(composed("+rest=paper", "+rest/reward=toolrl", *overrides))
        assert rest.reward != load({"rest": {"reward": "toolrl"}}).reward


def test_credit_is_grpo_by_turn_and_span_with_weight_one():
    config = composed("+rest=credit")
    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    expected = RestConfig(scheme="uniform", apply_in="loss", credit="span", credit_lambda=0.5, reward=rest.reward)
    assert rest == expected and rest.reward.rules == "strict"


def test_routed_is_gdpo_with_format_kept_from_names_and_arguments():
    config = composed("+rest=routed")
    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    assert (rest.scheme, rest.base_estimator, rest.weights_from) == ("uniform", "gdpo", "state")
    assert rest.credit_matrix == {"format": ["other", "think", "response", "format"]}
    assert list(config.algorithm.gdpo_reward_keys) == ["correctness", "format"]


PUBLISHED_PRESETS = {
    "top_fifth": {"apply_in": "loss"},
    "stare": {"apply_in": "loss"},
    "turn_discounted": {"apply_in": "loss"},
    "gtpo": {},
    "gigpo": {},
    "malformed_penalty": {},
    "gepo": {"cap": None},
    "wiener": {"apply_in": "loss", "normalisation": "batch", **FLOOR},
}
LOSSES = {"loss": "rest", "advantage": "vanilla"}


@pytest.mark.parametrize(("preset", "settings"), PUBLISHED_PRESETS.items())
def test_the_preset_of_a_published_rule_is_its_scheme_in_the_papers_run(preset, settings):
    """With the papers' constants, and without a normalisation, which they do not have."""
    config, paper = composed(f"+rest={preset}"), composed("+rest=paper")
    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    assert rest == RestConfig(**{"scheme": preset, "normalisation": "none"} | settings)
    actor = config.actor_rollout_ref.actor.policy_loss
    assert actor.loss_mode == ("gspo" if preset == "gepo" else LOSSES[rest.apply_in])
    config.rest, actor.loss_mode = paper.rest, "rest"
    if preset == "gigpo":
        paper = composed("+rest=paper", "+rest/rollout=multi_turn")
    assert config == paper


@pytest.mark.parametrize("preset", ["gtpo", "gigpo", "malformed_penalty"])
def test_a_preset_that_gives_credit_needs_the_advantages(preset):
    with pytest.raises(ConfigError, match=rf"rest\.scheme={preset} gives credit, .* set rest\.apply_in=advantage"):
        check_run(composed(f"+rest={preset}", "rest.apply_in=loss", f"{LOSS}=rest"), ADV_ESTIMATOR_REGISTRY)


def test_there_is_no_preset_without_a_test():
    names = {path.stem for path in (ROOT / "hydra_configs" / "rest").glob("*.yaml")}
    tested = {"paper", "grpo", "entropy", "entropy_adaptive", "token_low", "token_high", "static", "no_think"}
    assert names == tested | {"credit", "routed"} | PUBLISHED_PRESETS.keys()


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_refuses_a_verl_that_does_not_fit(preset):
    with initialize_config_module("verl.trainer.config", version_base=None):
        hydra = compose("ppo_trainer", [f"+rest={preset}"], return_hydra_config=True).hydra
    assert get_class(hydra.callbacks.refuse_verl._target_) is RefuseVerl


@pytest.mark.parametrize(
    "preset", ["entropy", "entropy_adaptive", "token_low", "token_high", "top_fifth", "gtpo", "stare", "wiener"]
)
def test_presets_that_need_entropy_refuse_a_run_in_which_verl_computes_none(preset):
    bypass = "algorithm.rollout_correction.bypass_mode=true"
    config = composed(f"+rest={preset}", bypass, "rest.apply_in=advantage", VANILLA)
    with pytest.raises(
        ConfigError, match=r"needs the policy's entropy, which verl does not compute with .*bypass_mode"
    ):
        check_run(config, ADV_ESTIMATOR_REGISTRY)
    assert check_run(composed("+rest=paper", bypass, "rest.apply_in=advantage", VANILLA), ADV_ESTIMATOR_REGISTRY)


def test_a_setting_on_the_command_line_changes_a_preset():
    config = composed("+rest=paper", "rest.weights.args.start=0.7", "rest.format=hermes")
    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    assert (rest.weights.args.start, rest.weights.args.limit, rest.format) == (0.7, 1.2, "hermes")


def test_settings_put_into_a_copy_are_what_hydra_composes():
    """For the tests that take `composed` for it."""
    overrides = [
        "+rest=paper",
        "+rest/reward=toolrl",
        "rest.reward.correctness_max.start=1",
        "data.train_files=[a, b]",
    ]
    overrides += ["+algorithm.gdpo_reward_keys=[format]", "trainer.total_training_steps=null"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        assert composed(*overrides) == compose("ppo_trainer", overrides)


def test_half_a_preset_is_refused():
    config = composed("+rest=paper", "algorithm.adv_estimator=grpo")
    with pytest.raises(ConfigError, match=r"set algorithm\.adv_estimator=rest rest\.base_estimator=grpo"):
        check_run(config, ADV_ESTIMATOR_REGISTRY)


def test_a_misspelt_preset_is_answered_with_those_that_exist():
    with pytest.raises(MissingConfigException, match=r"'rest/papr'[\s\S]*grpo[\s\S]*paper"):
        composed("+rest=papr")


@pytest.mark.parametrize("place", ["the root of the checkout", "elsewhere"])
def test_presets_are_found_wherever_a_command_is_started(tmp_path, place):
    # `python -m` puts the working directory first on the path: in the checkout that is this package's source.
    folder = ROOT if place == "the root of the checkout" else tmp_path
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE], cwd=folder, capture_output=True, text=True, timeout=HANG_GUARD
    )
    assert (done.stdout, done.returncode) == ("loss\n", 0), done.stderr

"""The presets, composed on verl's own config by Hydra, give runs whose settings fit together."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import MissingConfigException
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

from rest_verl.config import ConfigError, RestConfig
from rest_verl.start_up import check_run

ROOT = Path(__file__).parents[1]
COMPOSE = """
from hydra import compose, initialize
with initialize(version_base=None):
    print(compose(overrides=["+rest=paper"]).rest.apply_in)
"""


@pytest.fixture(scope="module")
def composed():
    """Function from overrides to verl's config."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        yield lambda *overrides: compose("ppo_trainer", list(overrides))


def test_verls_own_config_is_untouched(composed):
    config = composed()
    assert "rest" not in config
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig()


def test_the_preset_paper_is_a_legal_run_with_the_weights_in_the_loss(composed):
    config = composed("+rest=paper")
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig(apply_in="loss")
    assert (config.algorithm.adv_estimator, config.trainer.v1.trainer_mode) == ("rest", "rest_sync")
    assert config.reward.reward_manager.name == "rest_tool"


def test_the_preset_grpo_is_stock_grpo_with_the_same_reward(composed):
    config = composed("+rest=grpo")
    assert check_run(config, ADV_ESTIMATOR_REGISTRY) == RestConfig()
    assert (config.algorithm.adv_estimator, config.trainer.v1.trainer_mode) == ("grpo", "sync")
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode == "vanilla"
    assert config.reward.reward_manager.name == "rest_tool"


def test_a_setting_on_the_command_line_changes_a_preset(composed):
    config = composed("+rest=paper", "rest.weights.args.start=0.7", "rest.format=hermes")
    rest = check_run(config, ADV_ESTIMATOR_REGISTRY)
    assert (rest.weights.args.start, rest.weights.args.limit, rest.format) == (0.7, 1.2, "hermes")


def test_half_a_preset_is_refused(composed):
    config = composed("+rest=paper", "algorithm.adv_estimator=grpo")
    with pytest.raises(ConfigError, match=r"set algorithm\.adv_estimator=rest rest\.base_estimator=grpo"):
        check_run(config, ADV_ESTIMATOR_REGISTRY)


def test_a_misspelt_preset_is_answered_with_those_that_exist(composed):
    with pytest.raises(MissingConfigException, match=r"'rest/papr'[\s\S]*grpo\s+paper"):
        composed("+rest=papr")


@pytest.mark.parametrize("place", ["the root of the checkout", "elsewhere"])
def test_presets_are_found_wherever_a_command_is_started(tmp_path, place):
    # `python -m` puts the working directory first on the path: in the checkout that is this package's source.
    folder = ROOT if place == "the root of the checkout" else tmp_path
    done = subprocess.run([sys.executable, "-c", COMPOSE], cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("loss\n", 0), done.stderr

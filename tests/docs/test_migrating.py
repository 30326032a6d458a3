"""What docs/migrating.md tells users of the forks to write is what verl and we take."""

import re
import shlex

import pytest
from page_blocks import ROOT, blocks_of
from verls_config import composed

from rest_verl.config.ramp import Ramp
from rest_verl.config.rest import load

PAGE = ROOT / "docs" / "migrating.md"
KEY_AND_VALUE = re.compile(r"\+{0,2}[a-z][\w./]*=\S+")


def validated(*overrides):
    """verl's config as its own main composes and validates it."""
    from verl.utils.config import validate_config

    config = composed(*overrides)
    validate_config(config, use_reference_policy=False, use_critic=False)
    return config


@pytest.fixture(scope="module")
def script():
    """The overrides of the launch script on the page."""
    (block,) = [block for block in blocks_of(PAGE) if "main_ppo" in block.text]
    program, *arguments = shlex.split(block.text.replace("\\\n", " "))
    assert (program, arguments[:2]) == ("python", ["-m", "verl.trainer.main_ppo"])
    return arguments[2:]


def overrides_here():
    """The overrides in the last cells of the page's tables, each once."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    quoted = dict.fromkeys(text for row in rows for text in re.findall(r"`([^`]+)`", row.split(" | ")[-1]))
    return [text.split() for text in quoted if all(map(KEY_AND_VALUE.fullmatch, text.split()))]


@pytest.mark.parametrize("overrides", overrides_here(), ids=" ".join)
def test_the_overrides_of_the_tables_compose_behind_a_preset(script, overrides):
    presets = [word for word in overrides if word.startswith("+rest=")] or ["+rest=paper"]
    beside = [word for word in overrides if not word.startswith("+rest=")]
    of_toolrl = any(word.startswith(("rest.reward.granularity", "rest.reward.length")) for word in beside)
    reward = ["+rest/reward=toolrl"] if of_toolrl else []
    assert load(validated(*presets, *reward, *script[1:], *beside))


def test_the_tables_hold_overrides():
    assert len(overrides_here()) >= 20


def test_the_launch_script_is_the_authors_run(script):
    config = validated(*script)
    assert (config.data.train_batch_size, config.actor_rollout_ref.actor.ppo_mini_batch_size) == (512, 64)
    assert (config.actor_rollout_ref.rollout.n, config.actor_rollout_ref.actor.optim.lr) == (4, 1e-6)
    assert (config.algorithm.adv_estimator, config.actor_rollout_ref.actor.policy_loss.loss_mode) == ("rest", "rest")
    rest = load(config)
    assert (rest.base_estimator, rest.apply_in) == ("grpo", "loss")


def test_the_closest_run_has_the_authors_reading_reward_and_normalisation(script):
    (closest,) = [words for words in overrides_here() if "rest.normalisation=positive" in words]
    rest = load(validated(*closest, *script[1:]))
    assert (rest.normalisation, rest.reward.rules, rest.reward.reading) == ("positive", "toolrl", None)
    assert rest.format == "rlla"  # in which null reads as the published code does
    assert rest.reward.correctness_max == Ramp(2.0, 1 / 150, 3.0)

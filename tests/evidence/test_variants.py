from functools import cache

import pytest
from evidence.variants import VARIANTS, composed, overrides

from rest_verl.config.rest import load
from rest_verl.core.regions import Region
from rest_verl.weighting.schemes import paper_weights

STEPS = 21  # a fifth of the paper's run


@cache
def settings(name):
    return load(composed(VARIANTS[name], STEPS))


@pytest.mark.parametrize("name", VARIANTS)
def test_all_variants_have_one_reward_but_the_one_that_is_about_the_reward(name):
    reward = settings(name).reward
    assert reward.rules == "strict"
    if name != "fixed_reward":
        assert reward == settings("grpo").reward


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (10, 50 / 105), (21, 1.0)])
def test_schedules_run_in_the_steps_of_the_study_and_end_where_the_papers_end(step, share):
    """After its 105 steps the paper's run has 0.6 + 0.21 for arguments and reasoning, and 2 - 0.7 for legal form."""
    weights = paper_weights(settings("paper"), step)
    assert weights[Region.ARGS] == weights[Region.THINK] == pytest.approx(0.6 + 0.21 * share)
    assert (weights[Region.FORMAT], weights[Region.NAME]) == (1.0, 1.2)
    assert settings("paper").reward.format_max.schedule()(step) == pytest.approx(2 - 0.7 * share)


def test_ablations_change_what_they_are_named_for_and_nothing_else():
    paper = settings("paper")
    start, end = paper_weights(paper, 0), paper_weights(paper, STEPS)
    assert paper_weights(settings("static"), STEPS) == pytest.approx(start)
    assert paper_weights(settings("reversed"), 0) == pytest.approx(end)
    assert paper_weights(settings("reversed"), STEPS) == pytest.approx(start)
    assert paper_weights(settings("no_think"), STEPS) == pytest.approx(end | {Region.THINK: 0.0})
    covered = {Region.OTHER: 1.0, Region.RESPONSE: 1.0}
    assert paper_weights(settings("covered"), STEPS) == pytest.approx(end | covered)
    assert (paper.normalisation, settings("positive").normalisation) == ("row", "positive")
    assert paper_weights(settings("fixed_reward"), STEPS) == pytest.approx(end)
    fixed = settings("fixed_reward").reward
    assert fixed.format_max.schedule()(STEPS) == 2.0 and fixed.correctness_max.schedule()(STEPS) == 2.0


def test_grpo_weighs_all_tokens_alike():
    assert settings("grpo").scheme == "uniform"


@pytest.mark.parametrize("name", ["grpo", "reversed", "entropy_adaptive", "fixed_reward"])
def test_verls_main_takes_the_overrides_of_a_variant(name):
    from rest_verl.commands.check.compose import compose_run

    config, _ = compose_run(overrides(VARIANTS[name], STEPS))
    assert load(config) == settings(name)

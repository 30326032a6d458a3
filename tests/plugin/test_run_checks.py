"""Settings of verl and of ResT that only make sense together."""

import pytest
import torch
from omegaconf import OmegaConf

from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.plugin.run_checks import check_run
from rest_verl.weighting.schemes import Weighed, register_scheme

ESTIMATORS = ["gae", "gdpo", "grpo", "remax", "rest", "rloo"]

# What verl's own defaults say about these keys.
PLAIN = {
    "algorithm.adv_estimator": "grpo",
    "algorithm.rollout_correction.bypass_mode": False,
    "actor_rollout_ref.rollout.calculate_log_probs": True,
    "trainer.use_v1": True,
    "trainer.v1.trainer_mode": "sync",
    "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
    "actor_rollout_ref.rollout.agent.default_agent_loop": "single_turn_agent",
    "reward.reward_manager.name": "naive",
}
IN_LOSS = {
    "algorithm.adv_estimator": "rest",
    "trainer.v1.trainer_mode": "rest_sync",
    "actor_rollout_ref.actor.policy_loss.loss_mode": "rest",
    "rest.apply_in": "loss",
}
IN_ADVANTAGE = {"algorithm.adv_estimator": "rest", "trainer.v1.trainer_mode": "rest_sync"}


def check(*settings):
    """Check verl's defaults with settings on top."""
    config = OmegaConf.create()
    for key, value in {key: value for group in (PLAIN, *settings) for key, value in group.items()}.items():
        OmegaConf.update(config, key, value, force_add=True)
    return check_run(config, ESTIMATORS)


def message(*settings):
    with pytest.raises(ConfigError) as error:
        check(*settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithm.adv_estimator": "gae"},
        {"trainer.use_v1": False},
        {"reward.reward_manager.name": "rest_tool"},
        {"actor_rollout_ref.rollout.agent.default_agent_loop": "tool_agent"},
        {
            "reward.reward_manager.name": "rest_tool",
            "actor_rollout_ref.rollout.agent.default_agent_loop": "rest_tool_agent",
        },
        {"trainer.v1.trainer_mode": "colocate_async"},
        {"algorithm.rollout_correction.bypass_mode": True},
    ],
    ids=str,
)
def test_runs_without_rest_pass(settings):
    assert check(settings) == RestConfig()


@pytest.mark.parametrize(
    "settings",
    [
        IN_LOSS,
        {**IN_LOSS, "reward.reward_manager.name": "rest_tool"},
        {**IN_LOSS, "trainer.v1.trainer_mode": "rest_colocate_async"},
        {**IN_LOSS, "trainer.v1.trainer_mode": "rest_separate_async"},
        {**IN_LOSS, "trainer.v1.trainer_mode": "my_own_trainer"},
        {**IN_LOSS, "rest.base_estimator": "rloo"},
        IN_ADVANTAGE,
        {**IN_ADVANTAGE, "trainer.v1.trainer_mode": "my_own_trainer"},
        {**IN_ADVANTAGE, "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo"},
        {**IN_ADVANTAGE, "algorithm.rollout_correction.bypass_mode": True},
        {**IN_ADVANTAGE, "rest.scheme": "uniform"},
    ],
    ids=str,
)
def test_runs_with_rest_pass_and_give_their_settings(settings):
    rest = check(settings)
    assert rest.apply_in == settings.get("rest.apply_in", "advantage")
    assert rest.base_estimator == settings.get("rest.base_estimator", "grpo")


def test_a_config_without_the_nodes_of_verl_is_no_rest_run():
    assert check_run(OmegaConf.create({}), ESTIMATORS) == RestConfig()


def test_a_wrong_setting_of_the_node_itself_is_found_first():
    assert message(IN_LOSS, {"rest.schem": 1}).startswith("rest: unknown key 'schem'")


def test_the_base_estimator_must_be_registered_and_not_rest():
    found = message(IN_LOSS, {"rest.base_estimator": "grp"})
    assert found.startswith("rest.base_estimator: unknown estimator 'grp': did you mean 'grpo'?")
    assert found.endswith(" allowed: gae, gdpo, grpo, remax, rloo")
    assert "rest.base_estimator=rest" in message(IN_LOSS, {"rest.base_estimator": "rest"})


@pytest.mark.parametrize("settings", [IN_LOSS, IN_ADVANTAGE])
def test_an_estimator_that_verls_trainer_cannot_feed_is_refused_before_a_rollout(settings):
    settings = settings | {"rest.base_estimator": "remax"}
    assert message(settings) == (
        "rest.base_estimator=remax needs rewards of greedy responses, which verl's V1 trainer does not pass to it: "
        "set one of gae, gdpo, grpo, rloo"
    )
    assert check(settings, {"trainer.v1.trainer_mode": "my_own_trainer"}).base_estimator == "remax"


GDPO = {**IN_LOSS, "rest.base_estimator": "gdpo", "reward.reward_manager.name": "rest_tool"}
KEYS = "algorithm.gdpo_reward_keys"


def test_gdpo_takes_the_components_of_the_reward():
    assert check(GDPO).base_estimator == "gdpo"
    assert check(GDPO, {KEYS: ["acc"], "rest.credit_matrix": {"acc": ["name"]}}).credit_matrix == {"acc": ["name"]}
    assert check(GDPO, {"rest.rollout.per_turn": True}).rollout.per_turn


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({KEYS: ["acc", "formt"]}, f"{KEYS}: unknown component 'formt': did you mean 'format'?"),
        ({"algorithm.gdpo_reward_weights": [1.0]}, "algorithm.gdpo_reward_weights=[1.0] has not one weight for each"),
        ({"rest.credit_matrix": {"acc": ["name"]}}, "rest.credit_matrix: unknown component 'acc'"),
        ({"rest.credit_matrix": {"format": ["nam"]}}, "rest.credit_matrix.format"),
        ({"algorithm.use_kl_in_reward": True}, "algorithm.use_kl_in_reward=True puts a penalty into the reward"),
        ({"reward.custom_reward_function.path": "my.py"}, "rest.base_estimator=gdpo normalises each component"),
        (
            {"rest.base_estimator": "grpo", "rest.credit_matrix": {"format": ["name"]}},
            "rest: rest.credit_matrix is set, but",
        ),
    ],
    ids=str,
)
def test_components_that_no_reward_has_are_refused(settings, expected):
    assert message(GDPO, settings).startswith(expected)


@pytest.mark.parametrize("settings", [IN_LOSS, IN_ADVANTAGE])
def test_verls_first_trainer_takes_every_synchronous_run(settings):
    first = {"trainer.use_v1": False}
    assert check(settings, first).base_estimator == "grpo"
    assert check(settings, first, {"rest.base_estimator": "remax"}).base_estimator == "remax"
    found = message(settings, first, {"trainer.v1.trainer_mode": "rest_separate_async"})
    assert found.endswith("set trainer.v1.trainer_mode=rest_sync, or trainer.use_v1=True")
    assert message(settings, first, {"algorithm.use_pf_ppo": True}).startswith("algorithm.use_pf_ppo=True draws")


def test_verls_first_trainer_takes_one_output_of_a_trajectory():
    per_turn = {"rest.rollout.per_turn": True, "reward.reward_manager.name": "rest_tool"}
    for settings in (IN_LOSS, {"algorithm.adv_estimator": "grpo"}):
        assert check(settings, per_turn).rollout.per_turn
        found = message(settings, per_turn, {"trainer.use_v1": False})
        assert found.endswith("set rest.rollout.per_turn=False, or trainer.use_v1=True")


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
@pytest.mark.parametrize("settings", [IN_LOSS, IN_ADVANTAGE])
def test_rest_needs_a_rest_trainer_mode(settings, mode):
    found = message(settings, {"trainer.v1.trainer_mode": mode})
    assert f"but trainer.v1.trainer_mode={mode}" in found
    assert found.endswith(f"set trainer.v1.trainer_mode=rest_{mode}")


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_a_rest_trainer_mode_needs_the_estimator_rest(mode):
    found = message({"trainer.v1.trainer_mode": f"rest_{mode}", "algorithm.adv_estimator": "rloo"})
    assert "set algorithm.adv_estimator=rest rest.base_estimator=rloo" in found
    assert found.endswith(f"or trainer.v1.trainer_mode={mode}")


LOSS_REST = {"actor_rollout_ref.actor.policy_loss.loss_mode": "rest"}


@pytest.mark.parametrize(
    ("settings", "estimator", "apply_in"),
    [
        (LOSS_REST, "grpo", "advantage"),
        ({**LOSS_REST, "rest.apply_in": "loss"}, "grpo", "loss"),
        ({**LOSS_REST, **IN_ADVANTAGE}, "rest", "advantage"),
    ],
)
def test_the_loss_rest_needs_weights(settings, estimator, apply_in):
    found = message(settings)
    assert f"the run has algorithm.adv_estimator={estimator} and rest.apply_in={apply_in}" in found
    assert "set actor_rollout_ref.actor.policy_loss.loss_mode=vanilla" in found
    assert "or algorithm.adv_estimator=rest and rest.apply_in=loss" in found


@pytest.mark.parametrize("loss", ["vanilla", "gspo"])
def test_weights_in_the_loss_need_the_loss_rest(loss):
    found = message(IN_LOSS, {"actor_rollout_ref.actor.policy_loss.loss_mode": loss})
    assert f"but actor_rollout_ref.actor.policy_loss.loss_mode={loss}" in found
    assert "set actor_rollout_ref.actor.policy_loss.loss_mode=rest, or rest.apply_in=advantage" in found


def test_weights_in_the_loss_do_not_go_with_bypass_mode():
    found = message(IN_LOSS, {"algorithm.rollout_correction.bypass_mode": True})
    assert found.startswith("algorithm.rollout_correction.bypass_mode=True")
    assert "set rest.apply_in=advantage" in found


@pytest.mark.parametrize("settings", [{}, IN_LOSS])
def test_the_reward_manager_needs_the_agent_loop_that_records_turns(settings):
    found = message(
        settings,
        {
            "reward.reward_manager.name": "rest_tool",
            "actor_rollout_ref.rollout.agent.default_agent_loop": "tool_agent",
        },
    )
    assert found.endswith("set actor_rollout_ref.rollout.agent.default_agent_loop=rest_tool_agent")


def test_an_unknown_scheme_is_answered_with_the_nearest():
    assert message({"rest.scheme": "papr"}).startswith("rest.scheme: unknown scheme 'papr': did you mean 'paper'?")


@pytest.mark.parametrize(
    ("scheme", "setting", "readers"),
    [
        ("paper", {"alpha": 0.5}, "entropy, token"),
        ("paper", {"curriculum.kind": "cosine"}, "entropy, token"),
        ("uniform", {"clamp_max": 2.0}, "entropy, paper, token"),
        ("entropy", {"weights.name.start": 2.0}, "paper"),
    ],
)
def test_a_setting_that_the_scheme_does_not_read_is_refused(scheme, setting, readers):
    found = message({"rest.scheme": scheme}, {f"rest.{key}": value for key, value in setting.items()})
    name = next(iter(setting)).partition(".")[0]
    assert found.startswith(f"rest.{name} is set, but rest.scheme={scheme} does not read it")
    listed = found.rpartition(": ")[2].split(", ")
    assert set(readers.split(", ")) <= set(listed) and scheme not in listed


def test_entropy_that_verl_does_not_compute_is_missed_before_the_run():
    bypass = {"algorithm.rollout_correction.bypass_mode": True}
    assert "rest.scheme=entropy needs the policy's entropy" in message(
        IN_ADVANTAGE, bypass, {"rest.scheme": "entropy"}
    )
    assert check(bypass, {"rest.scheme": "entropy"}).scheme == "entropy"  # stock GRPO beside the settings of ResT


def test_the_adaptive_curriculum_needs_a_scheme_that_measures(own_names):
    register_scheme("blind")(lambda batch, settings: batch.response_mask.float())
    assert "rest.scheme=blind does not measure it" in message(
        {"rest.scheme": "blind", "rest.curriculum.kind": "adaptive"}
    )
    assert check({"rest.scheme": "blind", "rest.curriculum.kind": "linear", "rest.alpha": 0.5}).scheme == "blind"


@pytest.mark.parametrize("estimator", ["grpo", "gae"])
def test_records_need_the_trainer_that_writes_them(estimator):
    found = message({"algorithm.adv_estimator": estimator, "rest.dump_dir": "records"})
    assert found.startswith(
        "rest.dump_dir=records needs a rest trainer mode, which writes the records, but algorithm."
    )
    assert "set +rest=paper rest.scheme=uniform" in found
    assert check(IN_LOSS, {"rest.dump_dir": "records"}).dump_dir == "records"
    assert check(IN_LOSS, {"rest.dump_dir": "records", "rest.scheme": "uniform"}).scheme == "uniform"


BY_TURN = {**IN_LOSS, "rest.credit": "turn", "reward.reward_manager.name": "rest_tool"}


def test_credit_by_events_needs_a_group_and_someone_who_names_them():
    assert check(BY_TURN).credit == "turn"
    assert check(BY_TURN, {"rest.credit": "span"}).credit == "span"
    assert "rest.credit=span takes the group" in message(
        BY_TURN, {"rest.credit": "span", "rest.base_estimator": "gae"}
    )
    assert "set it to grpo or rloo" in message(BY_TURN, {"rest.base_estimator": "gae"})
    assert message(BY_TURN, {"reward.reward_manager.name": "naive"}).endswith(
        "set reward.reward_manager.name=rest_tool"
    )
    custom = message(BY_TURN, {"reward.custom_reward_function.path": "mine.py"})
    assert custom.startswith("reward.custom_reward_function.path scores whole trajectories")
    plain = message({"rest.credit": "turn", "reward.reward_manager.name": "rest_tool"})
    assert "set algorithm.adv_estimator=rest trainer.v1.trainer_mode=rest_sync" in plain


def test_a_lambda_that_nothing_reads_is_refused():
    assert "rest.credit_lambda=0.5 is set, but" in message(IN_LOSS, {"rest.credit_lambda": 0.5})
    assert check(BY_TURN, {"rest.credit_lambda": 0.5}).credit_lambda == 0.5


def test_a_scheme_that_needs_what_the_run_does_not_record_is_refused():
    """What the rollout does not record, and names of states without the agent loop that asks for them."""
    log_probs = {"actor_rollout_ref.rollout.calculate_log_probs": False}
    assert message(IN_ADVANTAGE, log_probs, {"rest.scheme": "gepo"}) == (
        "rest.scheme=gepo needs the log-probabilities of the rollout, which verl does not record with "
        "actor_rollout_ref.rollout.calculate_log_probs=False: set actor_rollout_ref.rollout.calculate_log_probs=True, "
        "or another rest.scheme"
    )
    assert check(log_probs, {"rest.scheme": "gepo"}).scheme == "gepo"  # stock GRPO
    found = message(IN_ADVANTAGE, {"rest.scheme": "gigpo"})
    assert "default_agent_loop=single_turn_agent does not record: set +rest/rollout=multi_turn" in found


def test_settings_of_another_scheme_are_refused():
    found = message(IN_ADVANTAGE, {"rest.scheme": "stare", "rest.wiener": {"base": 0.5}})
    assert found == (
        "rest.wiener is set, but rest.scheme=stare does not read it: remove it, or set rest.scheme to one that does: "
        "wiener"
    )


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ("torch.ones(1)", "returns a tensor of torch.float32 of shape (1,) as credit for a batch of shape (2, 6)"),
        ("None", "returns NoneType as credit: return a float tensor"),
        ("batch.regions.float() / 0", "gave a credit that is not finite at step 1"),
    ],
)
def test_credit_that_is_none_is_found_before_the_run(own_names, returned, fault):
    def weigh(batch, settings):
        return Weighed(torch.ones(batch.regions.shape), eval(returned))

    register_scheme("generous", gives_credit=True)(weigh)
    assert fault in message(IN_ADVANTAGE, {"rest.scheme": "generous"})


def test_a_scheme_may_need_all_that_there_is(own_names):
    """The batch of the trial has it."""

    def weigh(batch, settings):
        assert len(batch.rows) == len(batch.rows[0].states) + 1 == 2 and batch.region_entropy
        used = batch.old_log_prob + batch.rollout_log_prob + batch.advantages + batch.entropy + batch.malformed
        return used.abs()

    needs = {"entropy", "old_log_prob", "rollout_log_prob", "advantages", "rows", "malformed", "signal"}
    register_scheme("nosy", needs=needs)(weigh)
    assert check(IN_LOSS, {"rest.scheme": "nosy"}).scheme == "nosy"

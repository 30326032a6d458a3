"""A dry run refuses what would fail later, each time in one line that names the key, the value and the way out."""

import json
from copy import deepcopy
from dataclasses import asdict

import pandas as pd
import pytest
from command_line import problems, runs_of
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from typer.testing import CliRunner

from rest_verl.cli import app
from rest_verl.commands.check.batches import batch_problems
from rest_verl.commands.check.compose import compose_run
from rest_verl.commands.check.key_types import wrong_values
from rest_verl.commands.check.run import dry_run

BYPASS = "algorithm.rollout_correction.bypass_mode=True"
FIXED = "actor_rollout_ref.actor.use_dynamic_bsz=False"
MICRO = [
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
]


@pytest.fixture(scope="module")
def recipe():
    (run,) = runs_of("run_qwen3_4b_rest.sh")
    return run


@pytest.fixture(scope="module")
def composed(recipe):
    """Function from overrides to the recipe's config with them, and verl's own; composing anew takes a second."""
    config, base = compose_run(recipe)

    def with_overrides(*overrides):
        changed = deepcopy(config)
        for item in OverridesParser.create().parse_overrides(list(overrides)):
            OmegaConf.update(changed, item.key_or_group, item.value(), merge=False, force_add=item.is_add())
        return changed, base

    return with_overrides


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.trian_files=x"], "unknown key 'trian_files': did you mean train_files"),
        (
            ["actor_rollout_ref.actor.optim.lrr=1"],
            "in actor_rollout_ref.actor.optim: unknown key 'lrr': did you mean lr",
        ),
        (["+rest.schem=paper"], "rest: unknown key 'schem': did you mean 'scheme'?"),
        (["rest.schem=paper"], "in rest: unknown key 'schem': did you mean scheme"),
        (["trainer.nnodes.x=1"], "trainer.nnodes has no keys"),
        (["data.train_batch_size"], "data.train_batch_size: not a Hydra override"),
        (["model_engine=megatronn"], "Available options in 'model_engine': dp megatron"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_unknown_key(recipe, overrides, expected):
    (problem,) = problems([*recipe, *overrides])
    assert expected in problem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "data.train_batch_size=many",
            "data.train_batch_size=many: expected a whole number, such as verl's default 1024",
        ),
        ("trainer.total_epochs=1.5", "trainer.total_epochs=1.5: expected a whole number, such as verl's default 30"),
        ("trainer.save_freq=null", "trainer.save_freq=null: expected a whole number, such as verl's default -1"),
        (
            "actor_rollout_ref.actor.optim.lr=small",
            "actor_rollout_ref.actor.optim.lr=small: expected a number, such as verl's default 1e-06",
        ),
        (
            "actor_rollout_ref.model.use_remove_padding=yes",
            "actor_rollout_ref.model.use_remove_padding=yes: expected true or false, such as verl's default True",
        ),
        (
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=four",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=four: expected a whole number",
        ),
        ("trainer.nnodes=True", "trainer.nnodes=True: expected a whole number, such as verl's default 1"),
        ("actor_rollout_ref.actor.optim=adam", "actor_rollout_ref.actor.optim=adam: expected a node with keys"),
        (
            "+actor_rollout_ref.rollout.top_pp=1",
            "+actor_rollout_ref.rollout.top_pp: in actor_rollout_ref.rollout: unknown key 'top_pp': did you mean",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_or_for_a_key_that_verls_dataclass_does_not_have(composed, override, expected):
    (problem,) = wrong_values(*composed(override))
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    "override",
    [
        "actor_rollout_ref.actor.optim.lr=1",
        "actor_rollout_ref.rollout.top_p=1",
        "actor_rollout_ref.rollout.max_model_len=null",
        "trainer.total_training_steps=10",
        "trainer.logger=console",
        "trainer.experiment_name=7",
        "+actor_rollout_ref.rollout.enable_sleep_mode=False",
        "+ray_kwargs.ray_init.address=auto",
    ],
)
def test_a_value_that_verl_takes_is_taken(composed, override):
    assert list(wrong_values(*composed(override))) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.train_batch_size=0"], "data.train_batch_size=0: expected at least 1"),
        (["data.train_batch_size=32"], "ppo_mini_batch_size=64: expected at most data.train_batch_size=32"),
        (
            ["actor_rollout_ref.actor.ppo_mini_batch_size=63"],
            "63 prompts * actor_rollout_ref.rollout.n=4 cannot be split evenly over 8 data-parallel workers: set "
            "actor_rollout_ref.actor.ppo_mini_batch_size to a multiple of 2, such as 62",
        ),
        (
            ["actor_rollout_ref.rollout.tensor_model_parallel_size=3"],
            "tensor_model_parallel_size=3: expected a divisor of 8",
        ),
        (
            ["actor_rollout_ref.actor.ulysses_sequence_parallel_size=3"],
            "= 3: expected a divisor of the actor's 8 GPUs",
        ),
        (["data.max_response_length=20000"], "would not fit: set it to at least 22048"),
        (
            ["actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=False"],
            "log_prob_use_dynamic_bsz=False: must equal actor_rollout_ref.actor.use_dynamic_bsz=True",
        ),
        (["actor_rollout_ref.rollout.max_model_len=2048"], "leaves no room for a response"),
        ([FIXED, *MICRO, "data.train_batch_size=513"], "513 prompts * actor_rollout_ref.rollout.n=4 cannot be split"),
        (
            [FIXED, *MICRO, "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=5"],
            "ppo_micro_batch_size_per_gpu=5: expected a divisor of the 32 sequences per worker",
        ),
        (
            ["trainer.v1.trainer_mode=rest_separate_async"],
            "separate_async requires trainer.v1.separate_async.parameter_sync_step=4 * "
            "actor_rollout_ref.actor.ppo_mini_batch_size=64 = 256",
        ),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_an_impossible_split_of_batches_gpus_or_lengths(composed, overrides, expected):
    config, _ = composed(*overrides)
    assert expected in batch_problems(config)[0]


def test_megatron_splits_gpus_by_all_its_kinds_of_parallelism(composed):
    sizes = {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2, "context_parallel_size": 1}
    config, _ = composed("actor_rollout_ref.actor.strategy=megatron")
    OmegaConf.update(config, "actor_rollout_ref.actor.megatron", sizes, force_add=True)
    assert batch_problems(config) == []
    config.actor_rollout_ref.actor.megatron.context_parallel_size = 3
    assert "context_parallel_size = 12: expected a divisor of the actor's 8 GPUs" in batch_problems(config)[0]


def test_values_and_splits_are_refused_in_a_dry_run(recipe):
    kinds = problems([*recipe, "data.train_batch_size=many", "trainer.nnodes=two"])
    assert [problem.partition(":")[0] for problem in kinds] == ["data.train_batch_size=many", "trainer.nnodes=two"]
    (split,) = problems([*recipe, "actor_rollout_ref.actor.ppo_mini_batch_size=63"])
    assert "cannot be split evenly over 8 data-parallel workers" in split


def test_what_verls_own_validation_refuses_is_one_line_too(recipe):
    (problem,) = problems([*recipe, FIXED])
    assert problem.startswith("verl refuses the config (AssertionError): [actor] Please set at least one of")


def test_every_broken_rule_is_told_at_once(composed):
    found = batch_problems(composed("trainer.v1.trainer_mode=rest_separate_async")[0])
    assert len(found) == 3
    assert any("needs its own rollout GPUs" in problem for problem in found)
    assert any("checkpoint_engine.backend=naive" in problem for problem in found)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["rest.format=hermez"], "rest.format: unknown wire format 'hermez': did you mean 'hermes'?"),
        (["algorithm.adv_estimator=grpo"], "set algorithm.adv_estimator=rest rest.base_estimator=grpo"),
        (["rest.apply_in=advantage"], "actor_rollout_ref.actor.policy_loss.loss_mode=rest applies the token weights"),
    ],
    ids=["format", "half a preset", "loss without its weights"],
)
def test_settings_of_rest_that_do_not_fit(recipe, overrides, expected):
    (problem,) = problems([*recipe, *overrides])
    assert expected in problem


def test_a_setting_that_does_not_fit_two_others_is_told_twice(recipe):
    one, other = problems([*recipe, "rest.scheme=entropy", BYPASS])
    assert one.startswith("rest.scheme=entropy needs the policy's entropy")
    assert other.startswith("algorithm.rollout_correction.bypass_mode=True replaces the policy loss")


def test_all_findings_are_told_at_once(recipe, tmp_path):
    """Also next to a preset that does not exist: only what may depend on it is left for the next check."""
    wrong = ["data.trian_files=x", "trainer.nnodes=two", "rest.schem=x", "reward.custom_reward_function.path=no.py"]
    found = problems([*recipe, *wrong, "+rest/reward=strct", "actor_rollout_ref.actor.ppo_mini_batch_size=63"])
    assert [problem.partition(":")[0] for problem in found] == [
        "+rest/reward=strct",
        "data.trian_files=x",
        "rest.schem=x",
        "trainer.nnodes=two",
        "reward.custom_reward_function.path=no.py",
    ]
    without_preset = [override for override in recipe if override != "+rest=paper"]
    found = problems(["+rest=papr", *without_preset, "rest.scheme=paper", "rest.schem=x"])
    assert [problem.partition(":")[0] for problem in found] == ["+rest=papr", "rest.schem=x"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "actor_rollout_ref.rollout.name=vlm",
            "actor_rollout_ref.rollout.name: unknown engine 'vlm': did you mean 'vllm'?",
        ),
        ("reward.reward_manager.name=rest_tol", "unknown reward manager 'rest_tol': did you mean 'rest_tool'?"),
        ("actor_rollout_ref.rollout.agent.default_agent_loop=rest_agent", "unknown agent loop 'rest_agent'"),
        ("trainer.v1.trainer_mode=synk", "unknown mode 'synk': did you mean 'sync'?"),
        (
            "actor_rollout_ref.actor.loss_agg_mode=tokens",
            "verl refuses the config (ValueError): Invalid loss_agg_mode: tokens",
        ),
        ("actor_rollout_ref.rollout.mode=sync", "Rollout mode 'sync' has been removed"),
    ],
)
def test_a_name_that_verl_would_look_up_only_in_a_worker(recipe, override, expected):
    overrides = [*recipe, override]
    if "trainer_mode" in override:
        overrides += ["algorithm.adv_estimator=grpo", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]
    (problem,) = problems(overrides)
    assert expected in problem


def test_an_engine_that_is_not_named(recipe):
    without = [override for override in recipe if "rollout.name" not in override]
    assert problems(without) == ["actor_rollout_ref.rollout.name has no value: set vllm, sglang or trtllm"]


def test_data_that_does_not_fill_a_batch(recipe, tmp_path):
    pd.DataFrame({"prompt": ["a"] * 80}).to_parquet(tmp_path / "train.parquet")
    (problem,) = problems([*recipe, f"data.train_files={tmp_path / 'train.parquet'}"])
    assert problem == "data.train_batch_size=512: data.train_files has only 80 rows: set at most 80"


def test_keys_that_nobody_may_read_and_what_is_not_here_are_notes_and_no_failures(recipe):
    notes = "\n".join(dry_run([*recipe, "+trainer.mine=1", "data.train_batch_size=500"]).notes)
    assert "trainer.mine is not a key of verl's own config" in notes
    assert "verl pads the last mini-batch with 12 empty prompts" in notes
    assert "data.train_files=data/rlla/train.parquet does not exist yet" in notes


def test_a_plain_verl_command_without_rest_is_checked_as_well():
    stock = ["actor_rollout_ref.rollout.name=vllm", "algorithm.adv_estimator=grpo"]
    done = dry_run([*stock, "actor_rollout_ref.actor.use_dynamic_bsz=True"])
    assert "rest" not in done.config
    assert {difference.key for difference in done.differences} == {
        "actor_rollout_ref.rollout.name",
        "algorithm.adv_estimator",
        "actor_rollout_ref.actor.use_dynamic_bsz",
    }
    (problem,) = problems([*stock, "rest.format=hermes"])
    assert "add a preset, such as +rest=paper" in problem


def test_a_dry_run_leaves_verl_as_it_was(recipe):
    from verl.trainer import main_ppo

    before = main_ppo.run_ppo
    dry_run(recipe)
    problems([*recipe, "rest.format=hermez"])
    assert main_ppo.run_ppo is before


def test_json_is_all_that_stands_on_standard_output(recipe, tmp_path):
    """verl and a module of the user's own print."""
    (tmp_path / "loud.py").write_text("print('loud')\ndef compute_score(**_): return 0.0\n")
    own = f"reward.custom_reward_function.path={tmp_path / 'loud.py'}"
    done = CliRunner().invoke(app, ["check", "--json", "--", *recipe, own])
    assert done.exit_code == 0, done.output
    expected = {"passed": True, "problems": [], **asdict(dry_run([*recipe, own]))}
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))
    failed = CliRunner().invoke(app, ["check", "--json", "--", *recipe, "trainer.nnodes=two"])
    assert (failed.exit_code, json.loads(failed.stdout)["passed"]) == (1, False)
    assert json.loads(failed.stdout)["problems"] == problems([*recipe, "trainer.nnodes=two"])


def test_a_whole_command_is_checked_and_no_key_is_broken(recipe):
    whole = ["python3", "-m", "verl.trainer.main_ppo", *recipe]
    done = CliRunner().invoke(app, ["check", *whole], env={"COLUMNS": "40"})
    assert done.exit_code == 0, done.output
    assert "\n  actor_rollout_ref.actor.policy_loss.loss_mode=rest  (verl: vanilla)\n" in done.stdout
    assert done.stdout.endswith("check passed\n")


def test_an_option_among_the_overrides_is_told_where_to_stand(recipe):
    (problem,) = problems([*recipe, "--json"])
    assert problem.startswith("--json: options go before the overrides")

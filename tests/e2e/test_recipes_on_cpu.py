"""The algorithm of every recipe, for two steps of stock verl: a tiny model and a toy task in place of the real ones.

Only with `--all`: they take twenty minutes, and differ in settings alone from what the other files of this folder run.
Without it, tests/recipes checks each whole config, and test_multi_turn_on_cpu.py runs asynchronous rollouts.
"""

import math

import pytest
from command_line import all_runs, runs_of
from rich.progress import Progress
from tiers import HANG_GUARD, VERL_UNHURRIED
from verl_run import run_verl

from rest_verl.records.schema import read_step, step_name

LENGTHS = {"MAX_PROMPT": "96", "MAX_RESPONSE": "128"}
ALGORITHMS = {
    name: (f"run_qwen3_4b_{script}.sh", {})
    for name, script in [
        ("grpo", "grpo"),
        ("paper", "rest"),
        ("colocate_async", "rest_colocate_async"),
        ("separate_async", "rest_separate_async"),
        ("lora", "rest_lora"),
        ("bfcl_multi_turn", "rest_bfcl_multi_turn"),
    ]
} | {
    name: ("run_qwen3_4b_sweep.sh", {"VARIANTS": name, "SEEDS": "0"})
    for name in ("static", "fixed_reward", "no_think", "entropy", "entropy_adaptive", "token_low", "token_high")
}
# test_real_model_on_cpu.py runs these, with the pretrained model
STUDY = [("run_qwen2_5_1_5b_study.sh", {"VARIANTS": name}) for name in ("grpo", "paper", "credit")]

# What a recipe says of the model, the data and the machine, and what follows from those. The rest is its algorithm.
OF_THE_MACHINE = (
    "model_engine",
    "data.train_files",
    "data.val_files",
    "data.max_prompt_length",
    "data.max_response_length",
    "data.seed",
    "trainer.nnodes",
    "trainer.n_gpus_per_node",
    "trainer.experiment_name",
    "trainer.default_local_dir",
    "+ray_kwargs.ray_init.address",
    "actor_rollout_ref.model.path",
    "actor_rollout_ref.actor.strategy",
    "actor_rollout_ref.actor.megatron.",
    "actor_rollout_ref.actor.fsdp_config.",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu",
    "actor_rollout_ref.actor.data_loader_seed",
    "actor_rollout_ref.rollout.name",
    "actor_rollout_ref.rollout.seed",
    "actor_rollout_ref.rollout.tensor_model_parallel_size",
    "actor_rollout_ref.rollout.gpu_memory_utilization",
    "actor_rollout_ref.rollout.max_model_len",
)
SMALL = [
    "+platform=cpu",
    *VERL_UNHURRIED,
    "data.train_batch_size=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=4",
    "actor_rollout_ref.actor.fsdp_config.param_offload=False",
    "actor_rollout_ref.actor.fsdp_config.optimizer_offload=False",
    "actor_rollout_ref.rollout.max_num_batched_tokens=4096",
    "trainer.val_before_train=False",
    "trainer.test_freq=-1",
    "trainer.save_freq=-1",
    "trainer.resume_mode=disable",
]
FURTHER = {
    # weights over gloo, from one "GPU" to another; verl 0.9.1 ends in its own logging where this engine is off
    "separate_async": [
        "trainer.v1.separate_async.parameter_sync_step=2",
        "ray_kwargs.ray_init.num_gpus=2",
        "actor_rollout_ref.rollout.n_gpus_per_node=1",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=gloo",
        "actor_rollout_ref.hybrid_engine=False",
        "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_LOGGING_LEVEL=WARN",
    ],
}


def algorithm(overrides):
    """The overrides that are neither of the model nor of the data nor of the machine."""
    return frozenset(one for one in overrides if not one.startswith(OF_THE_MACHINE))


def test_every_recipe_has_an_algorithm_that_is_run_here():
    known = [*ALGORITHMS.values(), *STUDY]
    here = {algorithm(run) for script, variables in known for run in runs_of(script, **variables)}
    assert len(here) == len(known)
    unknown = [(name, index) for name, index, run in all_runs() if algorithm(run) not in here]
    assert not unknown


@pytest.mark.release
@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_steps(name, start, tmp_path):
    script, variables = ALGORITHMS[name]
    files = {"TRAIN_FILE": "train.parquet", "VAL_FILE": "validation.parquet", "MODEL_PATH": "model"}
    variables = variables | LENGTHS | {key: str(start.folder / file) for key, file in files.items()}
    [overrides] = runs_of(script, NNODES="1", GPUS_PER_NODE="1", OUT=str(tmp_path / "checkpoints"), **variables)
    further = FURTHER.get(name, []) + ([] if name == "grpo" else [f"rest.dump_dir={tmp_path / 'records'}"])
    run = run_verl([*overrides, *SMALL, *further], tmp_path / "verl", 2, Progress(disable=True), HANG_GUARD)
    assert [step.step for step in run] == [1, 2]
    for step in run:
        assert math.isfinite(step.metrics["actor/pg_loss"]) and math.isfinite(step.metrics["actor/grad_norm"])
        if name == "grpo":  # stock verl, but for the reward
            assert not any(key.startswith("rest/") for key in step.metrics)
            assert -4 <= step.metrics["critic/score/mean"] <= 4
        else:
            assert step.metrics["rest/weight/name"] > 0
            assert 0 <= step.metrics["rest/pg_clipfrac"] <= 1
            assert not any(key.startswith("actor/rest/") for key in step.metrics)
            assert step.metrics["rest/reward/skipped"] == 0
            records = read_step(tmp_path / "records" / step_name(step.step))
            # all batches of a step: each has fewer trajectories than are written down of one
            assert records.table.num_rows >= records.meta.trajectories == 8 * 4
    assert any(step.metrics["actor/grad_norm"] > 0 for step in run)

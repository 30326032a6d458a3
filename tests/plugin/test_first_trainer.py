"""What ResT writes into a step of verl's first trainer, next to what it writes into one of the V1 trainer.

tests/e2e/test_uniform_is_grpo_on_cpu.py has real runs of both.
"""

import numpy as np
import pytest
import torch
from memory_queue import TEXTS, MemoryQueue, make_trainer, rows_of, run_step
from omegaconf import open_dict
from tensordict import TensorDict
from torch.nn.utils.rnn import pad_sequence
from verl import DataProto
from verl.trainer import main_ppo_v0
from verl.trainer.ppo.ray_trainer import RayPPOTrainer, compute_advantage

from rest_verl.plugin.batch_fields import ProtoFields
from rest_verl.plugin.first_trainer import RestFirstTrainer, StepInRows, new_trainer
from rest_verl.records.schema import read_step

STEP, WIDTH = 7, 64  # of a response: verl pads to the longest that the run allows
IN_ADVANTAGE = ["rest.apply_in=advantage", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]
COMPONENTS = [{"acc": 1.0, "correctness": 1.0, "format": 0.5}, {"acc": 0.0, "correctness": 0.0, "format": 1.0}]


def proto_of(rows):
    """The rows of `rows_of` as verl's first trainer holds them when old log-probs are due."""
    padded = {name: pad_sequence(values, batch_first=True) for name, values in rows.items()}
    padded = {name: torch.nn.functional.pad(values, (0, WIDTH - values.shape[1])) for name, values in padded.items()}
    prompts = torch.stack(rows["prompts"])
    left = torch.nn.functional.pad(prompts, (3, 0))  # verl pads prompts on the left
    attention = torch.cat([(left > 0).long(), padded["response_mask"]], dim=1)
    names = ("responses", "response_mask", "rm_scores", "rollout_log_probs")
    batch = TensorDict({name: padded[name] for name in names}, batch_size=len(prompts))
    batch.update({"prompts": left, "attention_mask": attention})
    others = {
        "uid": np.array(["prompt"] * len(prompts), dtype=object),
        "reward_extra_info": np.array([COMPONENTS[row % 2] for row in range(len(prompts))], dtype=object),
        "data_source": np.array(["rlla"] * len(prompts), dtype=object),
    }
    measured = {"old_log_probs": padded["old_log_probs"], "entropys": padded["entropy"]}
    return DataProto(batch, others), DataProto(TensorDict(measured, batch_size=len(prompts)))


@pytest.fixture
def step(tokenizer, monkeypatch):
    """Function from overrides to (what a step of the first trainer gives to the actor, its metrics)."""

    def run(*overrides):
        rows = rows_of(tokenizer)
        batch, measured = proto_of(rows)
        like = make_trainer(tokenizer, *overrides)
        trainer = RestFirstTrainer.__new__(RestFirstTrainer)
        trainer.__dict__ |= {**vars(like), "global_steps": STEP, "_step_batch": None, "_beside": {}}
        monkeypatch.setattr(RayPPOTrainer, "_compute_old_log_prob", lambda self, batch: (measured, 0.0))
        given = {}

        def update(self, batch):
            given.update({name: values.clone() for name, values in batch.batch.items()})
            return DataProto.from_single_dict({}, meta_info={"metrics": {"actor/rest/loss": [1.0], "actor/lr": 1.0}})

        monkeypatch.setattr(RayPPOTrainer, "_update_actor", update)
        found, _ = trainer._compute_old_log_prob(batch)
        found.batch.pop("entropys")
        batch = batch.union(found)
        batch.batch["token_level_rewards"] = batch.batch["rm_scores"]
        batch = compute_advantage(batch, "grpo", norm_adv_by_std_in_grpo=True, config=trainer.config.algorithm)
        metrics = trainer._update_actor(batch).meta_info["metrics"]
        trainer._shutdown_dump_executor()
        return given, metrics

    return run


@pytest.fixture
def v1_step(tokenizer, monkeypatch):
    """The same step of the V1 trainer: function from overrides to (what the queue holds, its metrics)."""

    def run(*overrides):
        queue, trainer = MemoryQueue(monkeypatch), make_trainer(tokenizer, *overrides)
        fields = [{"reward_extra_info": one} for one in COMPONENTS]
        metrics = run_step(queue, trainer, rows_of(tokenizer), STEP, extra_fields=fields)
        trainer._shutdown_dump_executor()
        return queue.rows, metrics

    return run


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (["+rest=paper"], "rollout_is_weights"),
        (["+rest=entropy"], "rollout_is_weights"),
        (["+rest=paper", *IN_ADVANTAGE], "advantages"),
        (["+rest=entropy", "rest.credit=turn", *IN_ADVANTAGE], "advantages"),
        (["+rest=routed"], "advantages"),
    ],
    ids=str,
)
def test_both_trainers_write_and_log_the_same(step, v1_step, overrides, field):
    given, metrics = step(*overrides)
    queue, expected = v1_step(*overrides)
    for row, found in zip(queue.values(), given[field], strict=True):
        torch.testing.assert_close(found[: len(row[field])], row[field])
        assert not found[len(row[field]) :].any()
    ours = {name: value for name, value in expected.items() if name.startswith("rest/")}
    assert len(ours) > 20 and {name: metrics[name] for name in ours} == pytest.approx(ours, nan_ok=True)
    assert metrics["rest/loss"] == [1.0] and metrics["timing_s/rest"] > 0


def test_records_of_both_trainers_are_the_same(step, v1_step, tmp_path):
    step("+rest=entropy", f"rest.dump_dir={tmp_path / 'first'}")
    v1_step("+rest=entropy", f"rest.dump_dir={tmp_path / 'v1'}")
    first, v1 = (read_step(tmp_path / name / f"step_{STEP:06d}.parquet").table for name in ("first", "v1"))
    dropped = ["data_source", "uid"]  # the queue of the tests has no sources
    assert first.drop_columns(dropped).to_pylist() == v1.drop_columns(dropped).to_pylist()


def test_sessions_count_the_rows_of_a_prompt_in_any_order(tokenizer):
    batch, _ = proto_of(rows_of(tokenizer, [TEXTS[0]] * 4))
    batch.non_tensor_batch["uid"] = np.array(["a", "b", "a", "b"], dtype=object)
    assert ProtoFields(batch, {}).keys == ["a_0_0", "b_0_0", "a_1_0", "b_1_0"]


def test_rows_are_told_their_step():
    trainer = StepInRows.__new__(StepInRows)
    trainer.global_steps = STEP
    batch = DataProto.from_single_dict({"x": torch.zeros(3, 1), "raw_prompt": np.array(["a"] * 3, dtype=object)})
    assert trainer._get_gen_batch(batch).non_tensor_batch["global_steps"].tolist() == [STEP] * 3


@pytest.mark.parametrize(("estimator", "expected"), [("rest", RestFirstTrainer), ("grpo", StepInRows)])
def test_verls_task_runner_makes_the_trainer_of_the_estimator(tokenizer, monkeypatch, estimator, expected):
    assert main_ppo_v0.RayPPOTrainer is new_trainer
    config = make_trainer(tokenizer, "+rest=paper").config
    with open_dict(config):
        config.algorithm.adv_estimator = estimator
    made = []
    monkeypatch.setattr(expected, "__init__", lambda self, **arguments: made.append(arguments))
    assert isinstance(new_trainer(config=config, tokenizer=tokenizer), expected)
    assert made == [{"config": config, "tokenizer": tokenizer}]

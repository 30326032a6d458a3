"""What ResT writes into a step of verl's trainer, on a queue in memory (tests/e2e/test_seam_on_cpu.py: verl's own)."""

import pytest
import torch
from memory_queue import KEYS, TEXTS, MemoryQueue, make_trainer, rows_of, run_step
from verl.trainer.ppo.v1 import PPOTrainer

from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.records.schema import read_step
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

STEP = 7
# GRPO of the scores 1 and 0: (1 - 1/2) / sqrt(1/2) and its negative
ADVANTAGES = [0.7071, -0.7071]
IN_ADVANTAGE = ["rest.apply_in=advantage", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]


@pytest.fixture
def make(tokenizer):
    """Function from overrides to a trainer at step 7."""

    def trainer(*overrides):
        found = make_trainer(tokenizer, *overrides)
        found.global_steps = STEP
        return found

    return trainer


@pytest.fixture
def step(make, tokenizer, monkeypatch):
    """Function from overrides to (trainer, what the queue holds after a step, its metrics)."""

    def run(*overrides):
        queue, trainer = MemoryQueue(monkeypatch), make(*overrides)
        metrics = run_step(queue, trainer, rows_of(tokenizer), STEP)
        trainer._shutdown_dump_executor()
        return trainer, queue.rows, metrics

    return run


@pytest.fixture
def weights(tokenizer):
    """Function from settings to the weights of each row, worked out next to the trainer."""

    def worked_out(rest):
        ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        tagged = TaggedBatch(RegionTagger(tokenizer, get_format(rest.format))(padded, mask), mask)
        found = TokenWeighting(rest, total_steps=100)(StepBatch(STEP, tagged))
        return [row[: len(own)] for row, own in zip(found, ids, strict=True)]

    return worked_out


def test_weights_in_the_loss_travel_next_to_the_advantages(step, weights):
    trainer, rows, _ = step("+rest=paper")
    for key, advantage, weight in zip(KEYS, ADVANTAGES, weights(trainer._rest), strict=True):
        torch.testing.assert_close(rows[key]["rollout_is_weights"], weight)
        assert rows[key]["advantages"].tolist() == pytest.approx([advantage] * len(weight), abs=1e-4)


def test_weights_in_the_advantage_are_written_back(step, weights):
    trainer, rows, _ = step("+rest=paper", *IN_ADVANTAGE)
    for key, advantage, weight in zip(KEYS, ADVANTAGES, weights(trainer._rest), strict=True):
        torch.testing.assert_close(rows[key]["advantages"], advantage * weight, atol=1e-4, rtol=0)
        assert "rollout_is_weights" not in rows[key]


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
def test_records_hold_the_advantage_without_its_weight(step, tmp_path, overrides):
    step("+rest=paper", f"rest.dump_dir={tmp_path}", *overrides)
    table = read_step(tmp_path / f"step_{STEP:06d}.parquet").table.to_pylist()
    assert [row["session"] for row in table] == [0, 1]
    for row, advantage in zip(table, ADVANTAGES, strict=True):
        assert row["advantage"] == pytest.approx([advantage] * len(row["ids"]), abs=1e-4)
        assert max(row["weight"]) > 1


def test_the_metrics_of_a_step_are_there_at_its_end(step):
    _, _, metrics = step("+rest=paper")
    assert metrics["rest/tokens/name"] > 0 and metrics["rest/reward/acc"] == 1.0
    assert metrics["rest/schedule/args"] == pytest.approx(0.6 + 0.002 * STEP)


def test_a_resumed_trainer_continues_with_what_was_measured(step, make, tmp_path, monkeypatch):
    monkeypatch.setattr(PPOTrainer, "_save_checkpoint", lambda self: None)
    monkeypatch.setattr(PPOTrainer, "_load_checkpoint", lambda self: None)
    overrides = ["+rest=entropy", f"trainer.default_local_dir={tmp_path}"]
    first, _, _ = step(*overrides)
    first._save_checkpoint()
    second = make(*overrides)
    second._load_checkpoint()
    assert second._weighting.state() == first._weighting.state()
    assert set(first._weighting.state()["entropy"]) == {"OTHER", "THINK", "RESPONSE", "FORMAT", "ARGS", "NAME"}

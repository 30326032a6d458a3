"""What ResT writes into a step of verl's trainer, on a queue in memory (tests/e2e/test_seam_on_cpu.py: verl's own)."""

from collections import defaultdict

import pytest
import torch
import transfer_queue
from hydra import compose, initialize_config_module
from step import run_phases, trainer_of
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainer

from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.records.schema import read_step
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

TEXTS = [
    '<think> I call it. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Paris"}}\n</tool_call>',
    "<think> I know. </think>\n<response> Noon. </response>",
]
KEYS = ["prompt_0_0", "prompt_1_0"]
STEP = 7
# GRPO of the scores 1 and 0: (1 - 1/2) / sqrt(1/2) and its negative
ADVANTAGES = [0.7071, -0.7071]
IN_ADVANTAGE = ["rest.apply_in=advantage", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]


class Queue:
    """verl's transfer queue without its processes: the fields of each row."""

    def __init__(self):
        self.rows = defaultdict(dict)

    def kv_batch_put(self, keys, partition_id, fields, tags=None):
        for name in fields.keys():  # noqa: SIM118  # iterating over it goes along the batch
            values = fields.get(name)
            for key, value in zip(keys, values.unbind() if torch.is_tensor(values) else values.tolist(), strict=True):
                self.rows[key][name] = value
        return KVBatchMeta(keys=list(keys), tags=[{} for _ in keys], partition_id=partition_id)

    def kv_batch_get(self, keys, partition_id, select_fields):
        found = TensorDict({}, batch_size=len(keys))
        for name in [name for name in select_fields if name in self.rows[keys[0]]]:
            values = [self.rows[key][name] for key in keys]
            jagged = torch.is_tensor(values[0])
            found[name] = (
                torch.nested.as_nested_tensor(values, layout=torch.jagged)
                if jagged
                else NonTensorStack.from_list(values)
            )
        return found


@pytest.fixture
def make(tokenizer):
    """Function from overrides to a trainer at step 7."""

    def trainer(*overrides):
        with initialize_config_module("verl.trainer.config", version_base=None):
            found = trainer_of(compose("ppo_trainer", ["+platform=cpu", *overrides]), tokenizer)
        found.global_steps, found.timing_raw = STEP, {}
        return found

    return trainer


@pytest.fixture
def step(make, tokenizer, monkeypatch):
    """Function from overrides to (trainer, what the queue holds after a step, its metrics)."""

    def run(*overrides, events=("", "")):
        queue = Queue()
        for name in ("kv_batch_put", "kv_batch_get"):
            monkeypatch.setattr(transfer_queue, name, getattr(queue, name))
        responses = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
        log_probs = [-torch.ones(len(row)) for row in responses]
        rows = {
            "prompts": [torch.tensor([1, 2]) for _ in responses],
            "responses": responses,
            "response_mask": [torch.ones_like(row) for row in responses],
            "entropy": [torch.linspace(0, 1, len(row)) for row in responses],
            "old_log_probs": log_probs,
            "rollout_log_probs": log_probs,
            "rm_scores": [torch.eye(len(row))[-1] * score for row, score in zip(responses, (1.0, 0.0), strict=True)],
        }
        nested = {name: torch.nested.as_nested_tensor(value, layout=torch.jagged) for name, value in rows.items()}
        fields = TensorDict(nested, batch_size=len(TEXTS))
        fields["uid"] = NonTensorStack.from_list(["prompt"] * len(TEXTS))
        components = [{"acc": 1.0} | ({"rest_events": one} if one else {}) for one in events]
        fields["extra_fields"] = NonTensorStack.from_list([{"reward_extra_info": one} for one in components])
        batch = queue.kv_batch_put(KEYS, "train", fields)
        trainer, metrics = make(*overrides), {}
        run_phases(trainer, batch, metrics)
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


# The first trajectory earns 0.75 of its 1 at token 4 and loses a part again at token 9; the second earned nothing.
EVENTS = ("[[4, 0.75], [9, -0.25]]", "[[2, 0.0]]")
# Returns 1, 0.25 and 0.5 against those of the second, 0, in units of their largest deviation, that of the scores.
BY_TURN = [one / 0.5**0.5 for one in (1.0, 0.25, 0.5)]


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
def test_credit_by_turn_replaces_the_base_estimators_advantages(step, weights, overrides):
    trainer, rows, metrics = step("+rest=paper", "rest.credit=turn", *overrides, events=EVENTS)
    weight = weights(trainer._rest)[0]
    tokens = torch.arange(len(weight))
    expected = torch.tensor(BY_TURN)[(tokens > 4).int() + (tokens > 9).int()]
    if overrides:
        expected = expected * weight
    else:
        torch.testing.assert_close(rows[KEYS[0]]["rollout_is_weights"], weight)
    torch.testing.assert_close(rows[KEYS[0]]["advantages"], expected, atol=1e-4, rtol=0)
    assert metrics["rest/credit/events"] == 2.5
    assert metrics["rest/credit/decided"] == pytest.approx(0.25)
    assert metrics["rest/credit/outcome"] == pytest.approx(0.25)


def test_credit_by_trajectory_writes_no_advantages_of_its_own(step):
    _, rows, metrics = step("+rest=paper", events=EVENTS)
    assert rows[KEYS[0]]["advantages"].tolist() == pytest.approx(
        [ADVANTAGES[0]] * len(rows[KEYS[0]]["advantages"]), abs=1e-4
    )
    assert not any(name.startswith("rest/credit") for name in metrics)


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

"""The trainer's method between old log-probs and the actor update, on a real transfer queue, without any model."""

import pytest
import ray
import torch
import transfer_queue as tq
from hydra import compose, initialize_config_module
from step import trainer_of
from tensordict import NonTensorStack, TensorDict

from rest_verl.core.regions import RegionTagger
from rest_verl.core.tagged import TaggedBatch
from rest_verl.weighting import TokenWeighting

CALL = '<think> I call it. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Paris"}}\n</tool_call>'
ANSWER = "<think> I know. </think>\n<response> Noon. </response>"
TEXTS = [CALL, ANSWER, "no tags", CALL + CALL]
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"
VERSIONS = iter(range(1000))


@pytest.fixture(scope="module")
def queue():
    """The transfer queue that verl keeps a batch in."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", ["+rest=paper", "+platform=cpu"])
    config.transfer_queue.enable = True
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    tq.init(config.transfer_queue)
    yield
    tq.close()
    ray.shutdown()


@pytest.fixture
def run(queue, tokenizer):
    """Function from overrides to (what the queue holds afterwards, padded; the batch that went in; the metrics)."""

    def compute(*overrides):
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", ["+platform=cpu", *overrides])
        responses = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
        generator = torch.Generator().manual_seed(0)
        entropy = [torch.rand(len(row), generator=generator) for row in responses]
        old = [-torch.rand(len(row), generator=generator) for row in responses]
        rollout = [row + 0.5 * torch.randn(len(row), generator=generator) for row in old]
        scores = [torch.cat([torch.zeros(len(row) - 1), torch.rand(1, generator=generator)]) for row in responses]
        rows = {
            "responses": responses,
            "response_mask": [torch.ones_like(row) for row in responses],
            "entropy": entropy,
            "old_log_probs": old,
            "rollout_log_probs": rollout,
            "rm_scores": scores,
        }
        fields = TensorDict(
            {name: torch.nested.as_nested_tensor(value, layout=torch.jagged) for name, value in rows.items()},
            batch_size=len(TEXTS),
        )
        uid = f"prompt{next(VERSIONS)}"
        fields["uid"] = NonTensorStack.from_list([uid] * len(TEXTS))
        fields["extra_fields"] = NonTensorStack.from_list([{"reward_extra_info": {"acc": 1.0}}] * len(TEXTS))
        keys = [f"{uid}_{row}_0" for row in range(len(TEXTS))]
        batch = tq.kv_batch_put(keys=keys, partition_id="train", fields=fields, tags=[{} for _ in keys])
        trainer = trainer_of(config, tokenizer)
        trainer.global_steps, trainer.timing_raw, metrics = 7, {}, {}
        trainer._compute_advantage(batch, metrics)
        names = ["responses", "response_mask", "entropy", "advantages", "rollout_is_weights"]
        held = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=names).to_padded_tensor()
        return held, trainer._rest, metrics

    return compute


@pytest.fixture
def expected(tokenizer):
    """Function from what the queue holds and the settings to the weights worked out beside the trainer."""

    def weights(held, rest):
        regions = RegionTagger(tokenizer, rest.format)(held["responses"], (held["responses"] > 0).long())
        weighting = TokenWeighting(rest, total_steps=100)
        return weighting(TaggedBatch(regions, held["response_mask"]), 7, held["entropy"])

    return weights


@pytest.mark.parametrize("preset", ["paper", "entropy", "token_high", "no_think"])
def test_the_weights_of_a_preset_travel_in_verls_channel(run, expected, preset):
    held, rest, metrics = run(f"+rest={preset}")
    torch.testing.assert_close(held["rollout_is_weights"], expected(held, rest))
    assert held["rollout_is_weights"].sum(-1).tolist() == pytest.approx(held["response_mask"].sum(-1).tolist())
    assert metrics["rest/tokens/name"] > 0 and metrics["rest/reward/acc"] == 1.0


def test_advantages_are_those_of_stock_grpo_times_the_weights(run, expected):
    plain, *_ = run("+rest=paper")
    held, rest, _ = run("+rest=paper", "rest.apply_in=advantage", LOSS)
    torch.testing.assert_close(held["advantages"], plain["advantages"] * expected(held, rest))
    assert "rollout_is_weights" not in set(held.keys())
    assert held["advantages"].abs().sum() > 0


def test_importance_weights_that_are_there_already_are_multiplied(run, expected):
    correction = ["algorithm.rollout_correction.rollout_is=token", "algorithm.rollout_correction.bypass_mode=false"]
    uniform, *_ = run("+rest=paper", "rest.scheme=uniform", *correction)
    held, rest, _ = run("+rest=paper", *correction)
    torch.testing.assert_close(held["rollout_is_weights"], uniform["rollout_is_weights"] * expected(held, rest))
    assert uniform["rollout_is_weights"].std() > 0.1


def test_tokens_that_verl_rejects_have_no_weight_and_rows_keep_the_sum_of_the_others(run, expected):
    held, rest, _ = run(
        "+rest=paper",
        "algorithm.rollout_correction.rollout_rs=token_k1",
        "algorithm.rollout_correction.rollout_rs_threshold=0.7_1.4",
    )
    rejected = (held["responses"] > 0) & (held["response_mask"] == 0)
    assert rejected.any()
    assert (held["rollout_is_weights"][rejected] == 0).all()
    torch.testing.assert_close(held["rollout_is_weights"], expected(held, rest))

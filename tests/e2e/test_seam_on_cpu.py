"""The trainer's method between old log-probs and the actor update, on a real transfer queue, without any model."""

import pytest
import ray
import torch
import transfer_queue as tq
from hydra import compose, initialize_config_module
from step import run_phases, trainer_of
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta

from rest_verl.core.regions import TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.formats import get_format
from rest_verl.plugin.batch_fields import QueueFields
from rest_verl.records.schema import read_step
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

CALL = '<think> I call it. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Paris"}}\n</tool_call>'
ANSWER = "<think> I know. </think>\n<response> Noon. </response>"
TEXTS = [CALL, ANSWER, "no tags", CALL + CALL]
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"
REAL = ({},) * len(TEXTS)  # tags of rows that are no filling
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

    def compute(*overrides, tags=REAL):
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", ["+platform=cpu", *overrides])
        responses = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
        generator = torch.Generator().manual_seed(0)
        entropy = [torch.rand(len(row), generator=generator) for row in responses]
        old = [-torch.rand(len(row), generator=generator) for row in responses]
        rollout = [row + 0.5 * torch.randn(len(row), generator=generator) for row in old]
        scores = [torch.cat([torch.zeros(len(row) - 1), torch.rand(1, generator=generator)]) for row in responses]
        rows = {
            "prompts": [torch.tensor(tokenizer(f"question {row}")["input_ids"]) for row in range(len(TEXTS))],
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
        fields["data_source"] = NonTensorStack.from_list(["toy_tools"] * len(TEXTS))
        fields["extra_fields"] = NonTensorStack.from_list([{"reward_extra_info": {"acc": 1.0}}] * len(TEXTS))
        keys = [f"{uid}_{row}_0" for row in range(len(TEXTS))]
        batch = tq.kv_batch_put(keys=keys, partition_id="train", fields=fields, tags=list(tags))
        trainer = trainer_of(config, tokenizer)
        trainer.global_steps, trainer.timing_raw, metrics = 7, {}, {}
        trainer._init_dump_executor()
        run_phases(trainer, batch, metrics)
        trainer._shutdown_dump_executor()
        names = ["responses", "response_mask", "entropy", "advantages", "rollout_is_weights", "rm_scores"]
        names += ["old_log_probs", "rollout_log_probs"]
        held = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=names).to_padded_tensor()
        return held, trainer._rest, metrics

    return compute


@pytest.fixture
def expected(tokenizer):
    """Function from what the queue holds and the settings to the weights worked out beside the trainer."""

    def weights(held, rest):
        tagger = TAGGERS[rest.weights_from](tokenizer, get_format(rest.format))
        regions = tagger(held["responses"], (held["responses"] > 0).long())
        weighting = TokenWeighting(rest, total_steps=100)
        return weighting(StepBatch(7, TaggedBatch(regions, held["response_mask"]), held["entropy"]))

    return weights


@pytest.mark.parametrize("preset", ["paper", "entropy", "token_high", "no_think"])
def test_the_weights_of_a_preset_travel_in_verls_channel(run, expected, preset):
    held, rest, metrics = run(f"+rest={preset}")
    torch.testing.assert_close(held["rollout_is_weights"], expected(held, rest))
    weights, tokens = held["rollout_is_weights"].sum(-1), held["response_mask"].sum(-1)
    assert float(weights.sum()) == pytest.approx(float(tokens.sum()))
    if rest.normalisation == "row":
        assert weights.tolist() == pytest.approx(tokens.tolist())
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


@pytest.mark.parametrize("how", ["loss", "advantage"])
def test_records_hold_what_the_queue_held_token_by_token(run, expected, tmp_path, how):
    further = [LOSS, "rest.apply_in=advantage"] if how == "advantage" else []
    held, rest, _ = run("+rest=paper", f"rest.dump_dir={tmp_path}", *further)
    plain, *_ = run("+rest=paper")
    records = read_step(tmp_path / "step_000007.parquet")
    assert (records.meta.scheme, records.meta.apply_in, records.meta.trajectories) == ("paper", how, len(TEXTS))
    weights = expected(held, rest)
    for row in records.table.to_pylist():
        index, tokens = row["session"], len(row["ids"])
        assert b"".join(row["bytes"]).decode() == TEXTS[index]
        assert row["ids"] == held["responses"][index, :tokens].tolist()
        assert row["weight"] == pytest.approx(weights[index, :tokens].tolist(), rel=1e-6)
        # without the weights, wherever they act
        assert row["advantage"] == plain["advantages"][index, :tokens].tolist()
        for name in ("entropy", "old_log_prob", "rollout_log_prob"):
            field = {"entropy": "entropy"}.get(name, f"{name}s")
            assert row[name] == held[field][index, :tokens].tolist()
        assert row["score"] == pytest.approx(float(held["rm_scores"][index].sum()))
        assert dict(row["reward"]) == {"acc": 1.0} and row["data_source"] == "toy_tools"
        assert row["prompt"] == f"question {index}".encode()
    assert sorted(records.table["session"].to_pylist()) == list(range(len(TEXTS)))
    assert {"best", "worst"} <= set(records.table["picked"].to_pylist())


def test_records_tell_what_was_rejected_from_what_was_not_generated(run, tmp_path):
    held, *_ = run(
        "+rest=paper",
        f"rest.dump_dir={tmp_path}",
        "algorithm.rollout_correction.rollout_rs=token_k1",
        "algorithm.rollout_correction.rollout_rs_threshold=0.7_1.4",
    )
    for row in read_step(tmp_path / "step_000007.parquet").table.to_pylist():
        trained = held["response_mask"][row["session"], : len(row["ids"])]
        assert all(row["generated"]) and row["trained"] == trained.bool().tolist()


def test_filling_rows_of_verls_are_not_recorded(run, tmp_path):
    run("+rest=paper", f"rest.dump_dir={tmp_path}", tags=[{}, {"is_padding": True}, {}, {}])
    records = read_step(tmp_path / "step_000007.parquet")
    assert sorted(records.table["session"].to_pylist()) == [0, 2, 3]
    assert records.meta.trajectories == 3


def test_rows_are_those_of_their_keys_whichever_rank_wrote_first(queue):
    """Each rank writes the rows that it was given, under their keys; here the second one is faster."""
    keys = [f"prompt{next(VERSIONS)}_{row}_0" for row in range(4)]
    rows = [torch.full((length,), float(length)) for length in (3, 1, 4, 2)]
    for rank in ([3, 1], [0, 2]):
        values = torch.nested.as_nested_tensor([rows[row] for row in rank], layout=torch.jagged)
        fields = TensorDict({"entropy": values, "response_mask": values}, batch_size=2)
        tq.kv_batch_put(
            keys=[keys[row] for row in rank], partition_id="train", fields=fields, tags=[{"rank": 0}, {"rank": 1}]
        )
    fields = QueueFields(KVBatchMeta(keys=keys, tags=[{}] * 4, partition_id="train"))
    assert fields.read(["entropy"])["entropy"].values().tolist() == torch.cat(rows).tolist()
    assert fields.lengths().tolist() == [3, 1, 4, 2]

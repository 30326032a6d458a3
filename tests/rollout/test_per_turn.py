"""`rest.rollout.per_turn`: one sample for each turn, and one advantage for all turns of a trajectory; what user turns
and verl's tools earned, as the agent loop hands it to the reward (`rest_decided`)."""

import json

import numpy as np
import pytest
import ray
import torch
import transfer_queue as tq
from scripted_engine import compose_config
from step import run_phases, trainer_of
from tensordict import NonTensorStack, TensorDict
from verl import DataProto
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from rest_verl.rollout.environment_results import EnvironmentProtocolError

PER_TURN = "rest.rollout.per_turn=true"
STORY = {"says": ["And?"]}
# (prompt, session, number of turns, reward): the mean reward is 0.5 for one prompt and 2 for the other
SESSIONS = [("a", 0, 3, 1.0), ("a", 1, 1, 0.0), ("b", 0, 2, 4.0), ("b", 1, 4, 0.0)]
ADVANTAGE = {("a", 0): 0.5, ("a", 1): -0.5, ("b", 0): 2.0, ("b", 1): -2.0}


def turns(call):
    return [call("say", text="one"), "ok", call("fly") + call("say", text="two"), "bye"]


def test_each_turn_is_a_sample_with_all_that_came_before_as_its_prompt(play, call):
    played = play(turns(call), PER_TURN, desk=STORY)
    assert [output.prompt_ids for output in played.output] == played.engine.asked
    assert [output.response_ids for output in played.output] == played.engine.said
    for number, output in enumerate(played.output, 1):
        length = len(output.response_ids)
        assert output.response_mask == [1] * length
        assert output.response_logprobs == [-number - at / 1024 for at in range(length)]
        assert output.extra_fields["rest_turns"] == [[0, length]] and output.extra_fields["rest_per_turn"] is True


def test_the_last_sample_stands_for_the_trajectory(play, call):
    *others, last = play(turns(call), PER_TURN, desk=STORY).output
    whole = play(turns(call), desk=STORY).output
    assert last.extra_fields["rest_environment"] == whole.extra_fields["rest_environment"]
    shown = [[call["result"] for call in turn["calls"]] for turn in whole.extra_fields["rest_turn_table"]]
    assert [[call["result"] for call in turn["calls"]] for turn in last.extra_fields["rest_turn_table"]] == shown
    for other in others:
        assert not {"rest_environment", "rest_rollout", "rest_turn_table"} & other.extra_fields.keys()
        assert other.metrics.tool_calls == other.metrics.generate_sequences == 0


def test_all_samples_have_the_fields_that_verls_queue_wants_of_each(play, call):
    samples = [output.as_dict() for output in play(turns(call), PER_TURN, desk=STORY).output]
    assert len({frozenset(sample) for sample in samples}) == 1
    assert all("max_global_steps" in sample["extra_fields"] for sample in samples)


def keys():
    return [f"{prompt}_{session}_{turn}" for prompt, session, count, _ in SESSIONS for turn in range(count)]


def rewards_and_masks():
    """A sample's length is its turn's number + 2; the reward stands at the last token, in each turn of a session."""
    rewards, masks = [], []
    for _, _, count, reward in SESSIONS:
        for turn in range(count):
            rewards.append(torch.tensor([0.0] * (turn + 1) + [reward]))
            masks.append(torch.ones(turn + 2, dtype=torch.int64))
    return rewards, masks


def expected(masks):
    by_row = [ADVANTAGE[prompt, session] for prompt, session, count, _ in SESSIONS for _ in range(count)]
    return [advantage * mask for advantage, mask in zip(by_row, masks, strict=True)]


def padded(rows):
    return torch.nn.utils.rnn.pad_sequence([row.float() for row in rows], batch_first=True)


def test_a_trajectory_counts_once_in_its_group_however_many_turns_it_has():
    rewards, masks = rewards_and_masks()
    data = DataProto.from_dict(
        tensors={"token_level_rewards": padded(rewards), "response_mask": padded(masks)},
        non_tensors={"uid": np.array([key.split("_")[0] for key in keys()], dtype=object)},
    )
    given = compute_advantage_for_multi_trajectories(data, keys(), "grpo", norm_adv_by_std_in_grpo=False)
    torch.testing.assert_close(given.batch["advantages"], padded(expected(masks)))


@pytest.fixture(scope="module")
def queue():
    """The transfer queue that verl keeps a batch in."""
    config = compose_config()
    config.transfer_queue.enable = True
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tq.init(config.transfer_queue)
    yield
    tq.close()
    ray.shutdown()


def test_the_trainer_with_rest_keeps_the_grouping(queue, chat):
    """Scheme `uniform`: every weight is 1, so the advantages are the base estimator's."""
    overrides = ["rest.scheme=uniform", "rest.apply_in=advantage", "algorithm.norm_adv_by_std_in_grpo=false"]
    loss = "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"
    trainer = trainer_of(compose_config(*overrides, loss), chat)
    trainer.global_steps, trainer.timing_raw = 1, {}
    rewards, masks = rewards_and_masks()
    rows = {
        "responses": [torch.full_like(mask, 50) for mask in masks],
        "response_mask": masks,
        "rm_scores": rewards,
        "entropy": [mask.float() for mask in masks],
        "old_log_probs": [-mask.float() for mask in masks],
        "rollout_log_probs": [-mask.float() for mask in masks],
    }
    fields = TensorDict(
        {name: torch.nested.as_nested_tensor(value, layout=torch.jagged) for name, value in rows.items()},
        batch_size=len(masks),
    )
    fields["uid"] = NonTensorStack.from_list([key.split("_")[0] for key in keys()])
    fields["extra_fields"] = NonTensorStack.from_list([{"reward_extra_info": {"acc": 1.0}}] * len(masks))
    batch = tq.kv_batch_put(keys=keys(), partition_id="train", fields=fields, tags=[{} for _ in keys()])
    run_phases(trainer, batch, {})
    held = tq.kv_batch_get(keys=keys(), partition_id="train", select_fields=["advantages"])
    torch.testing.assert_close(held["advantages"].to_padded_tensor(0.0), padded(expected(masks)))


def graded(play, turns, grades, *overrides):
    kwargs = json.dumps({"grades": grades, "says": ["And?"]})
    return play(turns, *overrides, desk=None, environment="graded desk", environment_kwargs=kwargs)


@pytest.mark.parametrize("overrides", [[], ["rest.rollout.per_turn=true"]], ids=["whole", "per_turn"])
def test_a_turns_score_stands_at_its_last_generated_token(play, call, overrides):
    turns = [call("say", text="one"), "ok", call("say", text="two"), "bye"]
    played = graded(play, turns, [0.25, 0.5], *overrides)
    lengths = [len(said) for said in played.engine.said]
    assert played.fields["rest_decided"] == [[sum(lengths[:2]) - 1, 0.25], [sum(lengths) - 1, 0.5]]
    outputs = played.output if overrides else [played.output]
    assert sum(sum(output.response_mask) for output in outputs) == sum(lengths)
    assert all("rest_decided" not in output.extra_fields for output in outputs[:-1])


def test_without_turn_scores_nothing_is_decided_before_the_end(play, call):
    assert play([call("say", text="one"), "bye"]).fields["rest_decided"] == []


@pytest.mark.parametrize("grades", [[1, 1, 1], None, [float("nan")], ["1"], "12", {"0": 1}], ids=repr)
def test_turn_scores_that_break_the_protocol_are_named(play, call, grades):
    with pytest.raises(EnvironmentProtocolError, match=r"turn_scores.*a list of finite numbers, at most one for each"):
        graded(play, [call("say", text="one"), "ok", "bye"], grades)


@pytest.mark.parametrize("overrides", [[], ["rest.rollout.per_turn=true"]], ids=["whole", "per_turn"])
def test_the_state_of_each_turn_is_told_in_the_last_output(play, call, overrides):
    turns = [call("write", key="a", text="x"), call("say", text="hi"), "bye"]
    played = play(turns, *overrides, desk=None, environment="named desk", environment_kwargs="{}")
    assert played.fields["rest_states"] == ["0 notes", "1 notes", "1 notes"]
    outputs = played.output if overrides else [played.output]
    assert all("rest_states" not in output.extra_fields for output in outputs[:-1])


def test_a_state_without_a_text_for_a_name_is_an_error(play, call):
    kwargs = json.dumps({"name": 7})
    with pytest.raises(EnvironmentProtocolError, match=r"state_name\(\) returned 7: return a text"):
        play([call("say", text="hi"), "bye"], desk=None, environment="named desk", environment_kwargs=kwargs)


def test_an_environment_that_names_no_state_tells_none(play, call):
    assert "rest_states" not in play([call("say", text="hi"), "bye"]).fields


def test_turn_scores_are_told_to_the_weights_too(play, call):
    fields = graded(play, [call("say", text="one"), "ok", "bye"], [0.25, 0.5]).fields
    assert fields["rest_turn_scores"] == [0.25, 0.5]

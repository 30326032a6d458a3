"""What user turns and verl's tools earned, as the agent loop hands it to the reward: `rest_decided`."""

import json

import pytest

from rest_verl.rollout.environment import EnvironmentProtocolError


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

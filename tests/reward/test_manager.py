"""The reward manager `rest_tool`: what of a trajectory is scored, and when it refuses."""

import asyncio
import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from verl import DataProto

from rest_verl.common.names import Registry
from rest_verl.config.rest import ConfigError
from rest_verl.core.runs import Runs
from rest_verl.core.states import StateTagger
from rest_verl.core.tokens import TokenBytes
from rest_verl.formats import get_format
from rest_verl.reward import manager, scorers
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.reward.scorers import Scorer

CALL = '<think> t </think>\n<tool_call>\n{"name": "get_time", "parameters": {}}\n</tool_call>'
ANSWER = "<think> t </think>\n<response> Noon. </response>"
TOOL = '<think> not mine </think>\n<tool_call>\n{"name": "other", "parameters": {}}\n</tool_call>'


def config(**settings):
    settings = {"reward": "paper"} | settings
    return OmegaConf.create({"reward": {"custom_reward_function": {"path": None}}, "rest": settings})


def score(
    tokenizer,
    turns,
    step=0,
    recorded=True,
    settings=config(),  # noqa: B008
    outputs=1,
    truth=CALL,
    data_source="rlla",
    custom=None,
    fields={},  # noqa: B006
):
    """Score a trajectory of the policy's turns and, at odd places, tool output; prompt and padding stand around it."""
    ids = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in turns]
    edges = np.cumsum([0, *map(len, ids)])
    bounds = [[int(start), int(end)] for start, end in zip(edges[:-1:2], edges[1::2], strict=True)]
    response = torch.tensor([[*(token for turn in ids for token in turn), *[tokenizer.pad_token_id] * 5]])
    attention = torch.ones(1, 3 + response.shape[1], dtype=torch.long)
    attention[0, -5:] = 0
    last = DataProto.from_dict(
        tensors={"prompts": torch.zeros(1, 3, dtype=torch.long), "responses": response, "attention_mask": attention},
        non_tensors={
            "data_source": np.array([data_source], dtype=object),
            "reward_model": np.array([{"ground_truth": truth}], dtype=object),
            "global_steps": np.array([step]),
            "__num_turns__": np.array([2 * len(turns)]),
            "tool_extra_fields": np.array([fields | ({"rest_turns": bounds} if recorded else {})], dtype=object),
        },
    )
    if outputs > 1:
        other = last.slice(0, 1)
        other.batch["responses"] = torch.full_like(response, tokenizer.pad_token_id)
        last = DataProto.concat([other] * (outputs - 1) + [last])

    async def run():
        return await RestToolRewardManager(settings, tokenizer, custom).run_single(last)

    result = asyncio.run(run())
    assert result["reward_score"] == result["reward_extra_info"]["score"]
    return result["reward_extra_info"]


@pytest.mark.parametrize(("step", "best"), [(0, 4.0), (75, 4.0), (150, 4.0)])
def test_a_single_turn_is_scored_without_its_end_and_padding(tokenizer, step, best):
    found = score(tokenizer, [CALL], step=step)
    assert (found["score"], found["acc"], found["legal"]) == (pytest.approx(best), 1.0, 1.0)
    assert found["response_tokens"] == len(tokenizer(CALL)["input_ids"]) + 1


def test_the_bounds_are_those_of_the_step_of_the_row(tokenizer):
    assert [score(tokenizer, [ANSWER], step=step)["score"] for step in (0, 75, 150)] == pytest.approx([-4, -3.5, -4])


def test_what_a_tool_wrote_is_not_scored(tokenizer):
    found = score(tokenizer, [CALL, TOOL, ANSWER])
    assert (found["score"], found["acc"], found["calls"], found["legal"]) == (4.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("turns", [[CALL], [CALL, TOOL, ANSWER], [ANSWER, TOOL, CALL, "", ""]], ids=len)
def test_the_runs_of_a_response_are_those_of_the_trainers_tagger(tokenizer, turns):
    """So that the trainer needs to tag nothing. The tool's tokens are not generated; padding is no token."""
    ids = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in turns]
    flat = torch.tensor([token for turn in ids for token in turn])
    generated = torch.tensor([number % 2 == 0 for number, turn in enumerate(ids) for _ in turn])
    tagger, lengths = StateTagger(tokenizer, get_format("rlla")), torch.tensor([len(flat)])
    expected = Runs.of(tagger.tag(flat, generated, lengths), generated, lengths)
    assert [score(tokenizer, turns)["rest_runs"]] == expected.written()


def test_of_several_outputs_there_are_no_runs(tokenizer):
    """Only the last is read here, so the trainer tags them."""
    assert score(tokenizer, [CALL], outputs=3)["rest_runs"] == ""


def test_a_single_turn_needs_no_recorded_bounds(tokenizer):
    assert score(tokenizer, [CALL], recorded=False)["score"] == 4.0


def test_several_turns_without_bounds_are_refused_with_the_remedy(tokenizer):
    with pytest.raises(ConfigError, match="default_agent_loop=rest_tool_agent"):
        score(tokenizer, [CALL, TOOL, ANSWER], recorded=False)


def test_of_several_outputs_the_last_is_scored(tokenizer):
    assert score(tokenizer, [CALL], outputs=3)["acc"] == 1.0


@pytest.mark.parametrize("truth", ["no tags", '<tool_call>{"name": "f"}</tool_call>', "", None])
def test_a_row_whose_ground_truth_cannot_be_read_is_skipped_counted_and_logged_once(tokenizer, caplog, truth):
    found = [score(tokenizer, [text], truth=truth) for text in (CALL, ANSWER)]
    assert found[0].keys() == score(tokenizer, [CALL]).keys()
    for components in found:
        length = components.pop("response_tokens")
        assert length > 0 and components.pop("skipped") == 1.0 and components.pop("rest_runs")
        assert set(components.values()) == {0.0}
    assert [record.levelname for record in caplog.records].count("WARNING") <= 1
    assert score(tokenizer, [CALL])["skipped"] == 0.0


def test_a_ground_truth_that_cannot_be_read_is_logged_once(tokenizer, monkeypatch):
    told = []
    monkeypatch.setattr(manager.logger, "warning", lambda text, *details: told.append(text % details))
    manager._read_once.cache_clear()
    for text in (CALL, ANSWER):
        score(tokenizer, [text], truth="no tags")
    assert len(told) == 1 and "neither <tool_call> nor <response>: 'no tags'" in told[0]


def test_the_format_and_the_bounds_are_those_of_the_rest_node(tokenizer):
    settings = config(format="hermes", reward={"format_max": {"start": 10}})
    assert score(tokenizer, [CALL.replace("parameters", "arguments")], settings=settings)["score"] == 12.0


@pytest.mark.parametrize(("preset", "best"), [("paper", 4.0), ("toolrl", 4.0), ("strict", 4.0)])
def test_a_preset_is_given_by_its_name(tokenizer, preset, best):
    assert score(tokenizer, [CALL], settings=config(reward=preset))["score"] == best
    twice = CALL.replace("}}\n", "}}\n{}\n".replace("{}", '{"name": "get_time", "parameters": {}}'))
    found = score(tokenizer, [twice], settings=config(reward=preset))
    assert found["correctness"] == pytest.approx({"paper": 1.0, "toolrl": 1.5, "strict": 0.0}[preset])


def test_the_scorer_is_that_of_the_data_source(tokenizer):
    beside = CALL.replace("}}\n", '}}\n{"name": "other", "parameters": {}}\n')
    assert "acc_hard" not in score(tokenizer, [beside])
    found = score(tokenizer, [beside], data_source="apibank_level1")
    assert (found["acc"], found["acc_hard"], found["skipped"]) == (1.0, 0.0, 0.0)


def test_a_scorer_without_a_score_is_refused_with_what_it_returned(tokenizer, monkeypatch):
    monkeypatch.setattr(scorers, "_SCORERS", Registry("scorer", {"*": Scorer(lambda *_: {"acc": 1.0}, str)}))
    with pytest.raises(ConfigError, match=r"scorer of data source 'mine' returned \['acc'\] without 'score'"):
        score(tokenizer, [CALL], data_source="mine")


def custom_config():
    settings = config()
    settings.reward.custom_reward_function.path = "mine.py"
    return settings


def test_a_custom_reward_function_gives_the_reward_and_our_components_stand_beside_it(tokenizer):
    def mine(data_source, solution_str, ground_truth, extra_info):
        assert (data_source, ground_truth, extra_info["num_turns"]) == ("rlla", CALL, 2)
        return {"score": float("get_time" in solution_str), "mine": 7.0}

    found = score(tokenizer, [CALL], settings=custom_config(), custom=mine)
    assert (found["score"], found["mine"], found["rest_score"], found["acc"]) == (1.0, 7.0, 4.0, 1.0)


@pytest.mark.parametrize("truth", [CALL, "of a form of its own"])
def test_a_custom_reward_function_may_return_a_number_and_read_any_ground_truth(tokenizer, truth):
    async def mine(data_source, solution_str, ground_truth, extra_info):
        return 0.25

    found = score(tokenizer, [CALL], settings=custom_config(), custom=mine, truth=truth)
    assert (found["score"], found["acc"]) == (0.25, 0.25)
    assert ("rest_score" in found) == (truth == CALL)


JUDGED = {"score": 0.5, "acc": 0.0, "turns_right": 2.0}


def test_a_trajectory_that_acted_on_an_environment_is_scored_by_it(tokenizer):
    fields = {"rest_environment": JUDGED}
    found = score(tokenizer, [CALL, TOOL, ANSWER], truth="", fields=fields)
    # at step 0 a legal turn earns 2, and half of [-2, 2] is 0
    assert (found["score"], found["format"], found["correctness"]) == (2.0, 2.0, 0.0)
    assert (found["acc"], found["share"], found["environment/turns_right"], found["skipped"]) == (0.0, 0.5, 2.0, 0.0)
    illegal = score(tokenizer, [CALL, TOOL, "no tags"], truth="", fields=fields)
    assert (illegal["score"], illegal["legal"]) == (-2.0, 0.0)


def test_what_the_agent_loop_counted_is_reported_with_the_reward(tokenizer):
    found = score(tokenizer, [CALL], fields={"rest_rollout": {"calls": 3.0, "ended_by/done": 1.0}})
    assert (found["rollout/calls"], found["rollout/ended_by/done"], found["calls"]) == (3.0, 1.0, 1.0)


def output(tokenizer, prompt_length, text, width, fields):
    """One turn as verl's agent loop hands it to the reward worker: nothing is padded on the left."""
    ids = tokenizer(text)["input_ids"]
    responses = torch.zeros(1, 60, dtype=torch.long)
    responses[0, : len(ids)] = torch.tensor(ids)
    attention = torch.zeros(1, width, dtype=torch.long)
    attention[0, : prompt_length + len(ids)] = 1
    return DataProto.from_dict(
        tensors={"prompts": torch.zeros(1, 40, dtype=torch.long), "responses": responses, "attention_mask": attention},
        non_tensors={
            "data_source": np.array(["sums"], dtype=object),
            "reward_model": np.array([{"ground_truth": CALL}], dtype=object),
            "global_steps": np.array([0]),
            "__num_turns__": np.array([4]),
            "prompt_len": np.array([prompt_length]),
            "response_len": np.array([len(ids)]),
            "tool_extra_fields": np.array([fields | {"rest_turns": [[0, len(ids)]]}], dtype=object),
        },
    )


@pytest.mark.parametrize(("per_turn", "calls"), [(True, 1.0), (False, 0.0)])
def test_where_every_turn_is_an_output_all_turns_are_scored(tokenizer, per_turn, calls):
    fields = {"rest_per_turn": True} if per_turn else {}
    turns = [output(tokenizer, 3, CALL, 100, fields), output(tokenizer, 40, ANSWER, 100, fields)]

    async def run():
        return await RestToolRewardManager(config(), tokenizer).run_single(DataProto.concat(turns))

    found = asyncio.run(run())["reward_extra_info"]
    assert (found["calls"], found["legal"]) == (calls, float(per_turn))
    lengths = [len(tokenizer(text)["input_ids"]) for text in (CALL, ANSWER)]
    assert found["response_tokens"] == (sum(lengths) if per_turn else lengths[1])


def test_events_are_in_units_of_the_reward_at_the_rows_step(tokenizer):
    """A turn that earned a quarter of the correctness reward, whose range is 4 at step 0 and 6 at step 150."""
    judged = {"rest_environment": {"score": 0.25, "acc": 0.0}, "rest_decided": [[2, 0.25], [5, 0.0]]}
    for step, worth in ((0, 1.0), (150, 1.5)):
        found = score(tokenizer, [CALL], step=step, settings=config(credit="turn"), fields=judged)
        assert json.loads(found["rest_events"]) == [[2, pytest.approx(worth)], [5, 0.0]]
    tools = {"rest_decided": [[2, 0.25]]}
    assert json.loads(score(tokenizer, [CALL], settings=config(credit="turn"), fields=tools)["rest_events"]) == [
        [2, 0.25]
    ]
    assert "rest_events" not in score(tokenizer, [CALL], fields=judged)


def test_credit_by_span_places_parts_at_the_tokens_of_the_deciding_bytes(tokenizer):
    """C ranges over 4 at step 0, F over 4: the due call has a name and no arguments, so its name earns all of C."""
    found = score(tokenizer, [CALL], settings=config(credit="span", reward="strict"))
    events = json.loads(found["rest_events"])
    table = TokenBytes.from_tokenizer(tokenizer)
    ends = np.cumsum([len(table.decode(np.array([token]))) for token in tokenizer(CALL)["input_ids"]])
    bytes_of = [CALL.index("</think>") + 7, CALL.index('"get_time"') + 9, len(CALL) - 1]
    tokens = np.searchsorted(ends, bytes_of, side="right").tolist()
    assert events == [[tokens[0], 0.0, True], [tokens[1], pytest.approx(4.0)], [tokens[2], pytest.approx(4.0)]]
    assert found["score"] == pytest.approx(4.0)


def test_spans_of_a_later_turn_come_after_the_tokens_of_the_first(tokenizer):
    settings = config(credit="span", reward="strict")
    one = json.loads(score(tokenizer, [CALL], settings=settings)["rest_events"])
    both = json.loads(score(tokenizer, [CALL, TOOL, ANSWER], settings=settings)["rest_events"])
    ends_reasoning = both.pop()
    assert both == one
    first = len(tokenizer(CALL)["input_ids"]) + 1  # with its end; tokens of tools do not count
    thought = tokenizer(ANSWER[: ANSWER.index("</think>") + 8])["input_ids"]
    assert ends_reasoning == [first + len(thought) - 1, 0.0, True]


def test_a_judge_who_names_no_parts_leaves_the_score_to_the_end(tokenizer, monkeypatch):
    """An environment says what turns earned, and a scorer without `truth` nothing."""
    settings = config(credit="span", reward="strict")
    judged = {"rest_environment": {"score": 0.25, "acc": 0.0}, "rest_decided": [[2, 0.25]]}
    found = score(tokenizer, [CALL], settings=settings, fields=judged)
    assert json.loads(found["rest_events"]) == [[2, pytest.approx(1.0)]]
    mine = Scorer(lambda response, truth, reward: {"score": 1.0}, lambda truth: truth)
    monkeypatch.setattr(scorers, "_SCORERS", Registry("scorer", {"*": mine}))
    manager._read_once.cache_clear()
    assert json.loads(score(tokenizer, [CALL], settings=settings, data_source="mine")["rest_events"]) == []
    manager._read_once.cache_clear()


def test_tools_that_pay_and_spans_share_one_order(tokenizer):
    settings = config(credit="span", reward="strict")
    events = json.loads(
        score(tokenizer, [CALL], settings=settings, fields={"rest_decided": [[1, 0.5]]})["rest_events"]
    )
    assert events[0] == [1, 0.5] and [event[0] for event in events] == sorted(event[0] for event in events)
    assert len(events) == 4

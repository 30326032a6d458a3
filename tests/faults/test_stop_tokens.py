"""Tokens that end a turn are no part of its text, for tagger, reward and rollout alike (fault P4)."""

import asyncio
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from render import RENDERERS
from tiers import examples
from transformers import AutoTokenizer
from verl import DataProto

from rest_verl.commands.doctor.tokenizer import byte_tokenizer
from rest_verl.core.regions import Region, RegionTagger
from rest_verl.core.stops import at_ends, end_ids, stop_ids, text_length
from rest_verl.core.tool_calls import Kind
from rest_verl.formats import get_format
from rest_verl.reward.manager import RestToolRewardManager
from rest_verl.rollout.agent_loop import CallReader
from rest_verl.rollout.record import Record
from rest_verl.rollout.settings import settings_of

STOPS = ["<|eot|>", "<|eom|>", "<|im_end|>", "<|observation|>", "<|user|>", "<turn|>", "<|call|>", "<|return|>"]
TAGS = ["<tool_call>", "</tool_call>", "<tool_call|>", "<|tool_calls_section_end|>", "<|python_end|>", "<|end|>"]


def saved(folder, eos_token_id="absent"):
    """A tokenizer of bytes and special tokens, as loaded from a model's folder; `<|eot|>` is its end of sequence."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<|eot|>", "additional_special_tokens": [*STOPS[1:], *TAGS]})
    tokenizer.save_pretrained(folder)
    if eos_token_id != "absent":
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos_token_id}))
    return AutoTokenizer.from_pretrained(folder)


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def config_of(format, folder=None):
    config = {"reward": {"custom_reward_function": {"path": None}}, "rest": {"format": format, "reward": "strict"}}
    return OmegaConf.create(config | {"actor_rollout_ref": {"model": {"path": folder and str(folder)}}})


def scored(tokenizer, config, text, truth):
    """The components of the reward of one turn."""
    ids = torch.tensor([ids_of(tokenizer, text)])
    row = DataProto.from_dict(
        tensors={"prompts": ids, "responses": ids, "attention_mask": torch.ones(1, 2 * ids.shape[1])},
        non_tensors={
            "data_source": np.array(["rlla"], dtype=object),
            "reward_model": np.array([{"ground_truth": truth}], dtype=object),
            "global_steps": np.array([0]),
            "__num_turns__": np.array([2]),
        },
    )
    return asyncio.run(_score(RestToolRewardManager, config, tokenizer, row))["reward_extra_info"]


async def _score(manager, config, tokenizer, row):
    return await manager(config, tokenizer).run_single(row)


def rolled(tokenizer, config, text):
    """The answer and the calls that the agent loop reads."""
    reader = CallReader(settings_of(config, tokenizer), Record())
    return asyncio.run(reader.extract_tool_calls(ids_of(tokenizer, text)))


CALL = '<think> t </think>\n<tool_call>\n{"name": "f", "parameters": {"a": 1}}\n</tool_call>'
ANSWER = "<think> t </think>\n<response> a </response>"


@pytest.mark.parametrize("end", ["<|eom|>", "<|eom|><|eot|>", "<|eot|>", "<|eom|><|eom|>"])
def test_a_call_before_a_stop_token_is_legal_and_its_end_has_no_region(tmp_path, end):
    tokenizer = saved(tmp_path)
    found = scored(tokenizer, config_of("pythonic"), f"[f(a=1)]{end}", CALL)
    assert (found["legal"], found["acc"], found["score"]) == (1.0, 1.0, 4.0)
    assert [call.arguments for call in rolled(tokenizer, config_of("pythonic"), f"[f(a=1)]{end}")[1]] == [{"a": 1}]
    ids = torch.tensor([ids_of(tokenizer, f"[f(a=1)]{end}")])
    regions = RegionTagger(tokenizer, get_format("pythonic"))(ids, torch.ones_like(ids))[0].tolist()
    assert regions == [
        *[Region.FORMAT, Region.NAME],
        *[Region.ARGS] * 5,
        Region.FORMAT,
        *[Region.OTHER] * end.count(">"),
    ]


@pytest.mark.parametrize("text", ["<|eom|>", "<|eom|><|eot|>", " \n<|eom|>"])
def test_a_stop_token_alone_is_no_answer(tmp_path, text):
    tokenizer = saved(tmp_path)
    found = scored(tokenizer, config_of("pythonic"), text, ANSWER)
    assert found["legal"] == 0.0 and found["score"] < 0
    assert rolled(tokenizer, config_of("pythonic"), text)[0].strip() == ""


def test_a_special_token_inside_of_a_turn_is_text(tmp_path):
    tokenizer = saved(tmp_path)
    assert rolled(tokenizer, config_of("pythonic"), "a<|eom|>b<|eom|>") == ("a<|eom|>b", [])


@pytest.mark.parametrize("given", [[300, 301], 301, None, []])
def test_the_stops_are_those_of_the_models_folder_and_the_tokenizer(tmp_path, given):
    tokenizer = saved(tmp_path, given)
    listed = given if isinstance(given, list) else [] if given is None else [given]
    assert stop_ids(tokenizer) == {tokenizer.eos_token_id, *listed}
    tokenizer.name_or_path = ""
    assert stop_ids(tokenizer) == {tokenizer.eos_token_id}
    assert stop_ids(tokenizer, tmp_path) == {tokenizer.eos_token_id, *listed}
    assert stop_ids(tokenizer, "no/such-model") == {tokenizer.eos_token_id}


def test_a_stop_of_the_model_is_no_text_though_it_is_no_special_token(tmp_path):
    tokenizer = saved(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids_of(tokenizer, "!")}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert rolled(tokenizer, config_of("pythonic"), "Hi!!") == ("Hi", [])
    tokenizer.name_or_path = ""
    assert rolled(tokenizer, config_of("pythonic"), "Hi!!") == ("Hi!!", [])
    assert rolled(tokenizer, config_of("pythonic", tmp_path), "Hi!!") == ("Hi", [])


@pytest.mark.parametrize("text", ["{", "[1]", '{"eos_token_id": "a"}', '{"eos_token_id": [1, null]}', "\xff"])
def test_a_damaged_generation_config_is_named(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"generation_config\.json"):
        stop_ids(byte_tokenizer(), tmp_path)


@pytest.mark.parametrize("format", sorted(RENDERERS))
@pytest.mark.parametrize("end", ["", *STOPS])
def test_a_turn_of_any_format_is_legal_before_any_stop(tmp_path_factory, format, end):
    """And the format's own tags at the end of a turn, special tokens too, are markup as before."""
    tokenizer = _shared(tmp_path_factory)
    wire_format = get_format(format)
    text = b"".join(part for part, _ in RENDERERS[format]("why", [("f", {"a": 1})], "")).decode()
    ends = end_ids(tokenizer, wire_format, stop_ids(tokenizer))
    ids = ids_of(tokenizer, text + end)
    kept = tokenizer.decode(ids[: text_length(ids, ends)]).encode()
    turn = wire_format.parse(kept)
    assert wire_format.is_legal(kept, turn, Kind(calls=True, answer=False))
    assert [call.arguments for call in wire_format.read_calls(kept, turn)] == [{"a": 1}]
    # gpt-oss closes a call with one of its stops
    assert kept == text.encode().removesuffix(b"<|call|>" if format == "gpt-oss" else b"")


@pytest.mark.parametrize(
    ("format", "stop"),
    [
        ("kimi", "<|im_end|>"),
        ("glm", "<|observation|>"),
        ("glm", "<|user|>"),
        ("gemma4", "<turn|>"),
        ("gpt-oss", "<|call|>"),
    ],
)
def test_a_stop_that_a_format_knows_may_still_be_written_as_text(format, stop):
    text = b"".join(part for part, _ in RENDERERS[format]("", [("f", {"a": 1})], ""))
    text = text.removesuffix(stop.encode()) + stop.encode()
    wire_format = get_format(format)
    assert wire_format.is_legal(text, wire_format.parse(text), Kind(calls=True, answer=False))


def test_a_format_without_known_markup_loses_only_the_stops(tmp_path):
    tokenizer = saved(tmp_path)
    wire_format = get_format("hermes").__class__(*[None] * 3)
    assert end_ids(tokenizer, wire_format, stop_ids(tokenizer)) == {tokenizer.eos_token_id}


@examples(300)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), max_size=6), st.sets(st.integers(0, 4)))
def test_many_turns_lose_the_ends_that_each_loses_alone(turns, ends):
    ids = np.array([token for turn in turns for token in turn], dtype=np.int64)
    edges = np.cumsum([0, *map(len, turns)])
    kept = [text_length(turn, ends) for turn in turns]
    expected = [place >= length for turn, length in zip(turns, kept, strict=True) for place in range(len(turn))]
    assert at_ends(ids, edges, ends).tolist() == expected


_made = {}


def _shared(factory):
    if not _made:
        _made["tokenizer"] = saved(factory.mktemp("model"))
    return _made["tokenizer"]

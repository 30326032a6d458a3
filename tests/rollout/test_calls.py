"""Calls read from the ids of a turn."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, make_loop

from rest_verl.formats import get_format
from rest_verl.rollout.calls import MAX_DEPTH, read_calls
from rest_verl.rollout.settings import settings_of

BYTES = [bytes([byte]) for byte in range(256)]
FORMATS = ("hermes", "rlla", "kimi", "pythonic", "qwen3_coder", "gpt-oss", "glm", "mistral")
PARTS = [
    "<tool_call>",
    "</tool_call>",
    '{"name": "f", "arguments": {}}',
    '"',
    "{",
    "[",
    "f(a=1)",
    "<think>",
    "\n",
    "é",
]


@pytest.mark.parametrize("name", FORMATS)
@given(st.lists(st.sampled_from([part.encode() for part in PARTS]) | st.binary(max_size=8), max_size=10).map(b"".join))
def test_any_turn_can_be_read(name, text):
    answer, calls = read_calls(get_format(name), [*BYTES, b""], list(text), 5)
    assert isinstance(answer, str)
    assert [call.tool_call_id.rpartition(":")[2] for call in calls] == [str(5 + n) for n in range(len(calls))]
    for call in calls:
        assert call.arguments is None or (isinstance(call.name, str) and isinstance(call.arguments, dict))


def test_ids_beyond_the_vocabulary_have_no_bytes():
    text = b'{"name": "f", "arguments": {"a": 1}}'
    ids = [999, *b"<tool_call>", *text[:10], 256, 10**9, *text[10:], *b"</tool_call>"]
    _, (call,) = read_calls(get_format("hermes"), [*BYTES, b""], ids)
    assert (call.name, call.arguments) == ("f", {"a": 1})


@pytest.mark.parametrize(("levels", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (900, False)])
def test_arguments_nested_too_deep_are_not_read(levels, is_read):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    text = b"<tool_call>" + json.dumps({"name": "f", "arguments": value}).encode() + b"</tool_call>"
    _, (call,) = read_calls(get_format("hermes"), [*BYTES, b""], list(text))
    assert (call.arguments is not None) == is_read


def test_settings_are_built_once_for_all_trajectories(chat, config_of):
    config = config_of()
    loops = [make_loop(config, chat, ScriptedEngine([])) for _ in range(3)]
    assert len({id(loop._settings) for loop in loops}) == 1
    assert settings_of(config_of("rest.format=rlla"), chat) is not loops[0]._settings

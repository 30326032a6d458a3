"""Calls that are still being written: what is decided of them, in every format."""

import pytest
from parts import text_of
from render import RENDERERS

from rest_verl.core.tool_calls import BROKEN, UNDECIDED, OpenCall
from rest_verl.formats import get_format
from rest_verl.formats.parse.open_json import begins_json
from rest_verl.reward.response import Response, read_open

CALLS = [("get_time", {}), ("book", {"when": 'at "noon", (1)', "who": ["a", {"b": 2}], "n": 15, "sure": True})]
BOOK = CALLS[1][1]


def written(format, text):
    """The calls in a text so far."""
    wire_format = get_format(format)
    return read_open(Response([], [], wire_format, []), text, {}).calls


@pytest.mark.parametrize("format", RENDERERS)
def test_what_is_decided_of_a_call_only_grows(format):
    """Read byte by byte: no right call is broken on the way, names and values come one by one and stay as they are."""
    text = text_of(RENDERERS[format]("so", CALLS, ""))
    decided = set()
    for end in range(text.index(b"get_time"), len(text) + 1):
        if text[end - 1 : end] not in b"<>{}[]()\n\"',:;=":
            continue
        calls = written(format, text[:end])
        assert None not in calls, text[:end]
        now = {(number, "name", call.name) for number, call in enumerate(calls)}
        now |= {(number, key) for number, call in enumerate(calls) for key in call.arguments}
        for number, call in enumerate(calls):
            for key, value in call.arguments.items():
                assert value is UNDECIDED or value == CALLS[number][1][key]
                now |= set() if value is UNDECIDED else {(number, key, "value")}
        assert decided <= now, text[:end]
        assert len(now - decided) <= 2  # a key and its value may end with one byte
        decided = now
    assert decided == {
        (0, "name", "get_time"),
        (1, "name", "book"),
        *((1, key) for key in BOOK),
        *((1, key, "value") for key in BOOK),
    }


JSON = [
    (b'{"name": "f', OpenCall()),
    (b'{"name": "f"', OpenCall("f")),
    (b'{"name": "f", "arguments": {"a":', OpenCall("f", {"a": UNDECIDED})),
    (b'{"name": "f", "arguments": {"a": 1', OpenCall("f", {"a": UNDECIDED})),
    (b'{"name": "f", "arguments": {"a": 1,', OpenCall("f", {"a": 1})),
    (b'{"name": "f", "arguments": {"a": [1]', OpenCall("f", {"a": [1]})),
    (b'{"name": "f", "arguments": {"a": 1, "a":', OpenCall("f", {"a": UNDECIDED})),
    (b'{"arguments": {"a": "b"}', OpenCall(None, {"a": "b"})),
    (b'{"name": "f", "arguments": {"a": 1,,', BROKEN),
    (b'{"name": "f", "arguments": [', BROKEN),
    (b'{"name": 5,', BROKEN),
    (b'{"name": "f"]', BROKEN),
]


@pytest.mark.parametrize(("text", "expected"), JSON)
def test_an_open_call_in_json(text, expected):
    wire_format = get_format("hermes")
    text = b"<tool_call>\n" + text
    assert wire_format.read_open(text, wire_format.parse(text).calls[0], {}) == expected


OTHERS = [
    ("pythonic", "[f(a=1, b=", [("f", {"a": 1, "b": UNDECIDED})]),
    ("pythonic", "[f(a=g(1), b=", [None]),
    ("pythonic", "[f(from='x'", [("f", {"from": "x"})]),
    ("gemma4", "<|tool_call>call:f{a:1,b:{c:", [("f", {"a": 1, "b": UNDECIDED})]),
    ("gemma4", '<|tool_call>call:f{"a":x",b:', [None]),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<para", [("f", {"a": 1})]),
    ("qwen3_coder", "<tool_call>\n<function=f>\nhello <parameter=a>", [None]),
    ("glm", "<tool_call>f", []),
    ("glm", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>", [("f", {"a": UNDECIDED})]),
    ("kimi", "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0", []),
    ("mistral", '[TOOL_CALLS]f[ARGS]{"a": x,', [None]),
    ("gpt-oss", "<|channel|>commentary to=functions.f json<|message|>", [("f", {})]),
]


@pytest.mark.parametrize(("format", "text", "expected"), OTHERS)
def test_an_open_call_in_other_formats(format, text, expected):
    found = [None if call is None else (call.name, call.arguments) for call in written(format, text.encode())]
    assert found == expected


BEGINNINGS = ["{", '{"a', '{"a"', '{"a":', '{"a":[1,', '{"a":1,', '{"a":"\\u12', '{"a":tru', "[", '["a\\', "-1.5e"]
NONE = ["}", "[}", '{"a" 1', "{a:", '{"a":1 2', '{"a":NaN,', "[1,,", '{"a":"\\x"', b"[\xff,"]


@pytest.mark.parametrize("text", BEGINNINGS)
def test_json_may_begin_so(text):
    assert begins_json(text.encode())


@pytest.mark.parametrize("text", NONE)
def test_json_never_begins_so(text):
    assert not begins_json(text if isinstance(text, bytes) else text.encode())

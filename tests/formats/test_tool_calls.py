"""Reading calls by value, whole and still being written, and the registry of wire formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import text_of
from render import RENDERERS

from rest_verl.core.tool_calls import BROKEN, UNDECIDED, Kind, OpenCall, ToolCall, Turn, WireFormat
from rest_verl.formats import get_format, register_format
from rest_verl.formats.parse.open_json import begins_json
from rest_verl.reward.response import Response, read_open


def read(block, format="rlla"):
    raw = block if isinstance(block, bytes) else block.encode("utf-8", "surrogatepass")
    text = b"<tool_call>" + raw + b"</tool_call>"
    wire_format = get_format(format)
    return wire_format.read_calls(text, wire_format.parse(text))


def test_calls_come_back_by_value_in_the_order_of_the_text():
    block = (
        '{"name": "f", "parameters": {"a": [1, 2.5, null, true], "ü": "\\u00fc\\n"}}\n{"parameters": {}, "name": "g"}'
    )
    assert read(block) == [ToolCall("f", {"a": [1, 2.5, None, True], "ü": "ü\n"}), ToolCall("g", {})]


def test_an_escaped_name_is_decoded():
    assert read('{"name": "caf\\u00e9 \\"x\\"", "parameters": {}}') == [ToolCall('café "x"', {})]


def test_a_call_in_a_list_can_be_read():
    assert read('[{"name": "f", "parameters": {"a": 1}}]') == [ToolCall("f", {"a": 1})]


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "f", "parameters": {"a": NaN}}',
        '{"name": "f", "parameters": {"a": Infinity}}',
        '{"name": "f", "parameters": {"a": [-Infinity]}}',
        '{"name": "f", "parameters": {}, "other": NaN}',
        '{"name": "f", "parameters": {"a": 1,}}',
        '{"name": "f", "parameters": {},}',
        '{"name": "f" "parameters": {}}',
        '{"name": "f", "parameters": {}, junk}',
        '{"name": "f"; "parameters": {}}',
        "{'name': 'f', 'parameters': {}}",
        '{"name": "f", "parameters": {"a": True}}',
        '{"name": "f", "parameters": {"a": "x\ty"}}',
        '{"name": "f\tg", "parameters": {}}',
        '{"name": "f", "parameters": {"a": "\\x41"}}',
        '{"name": "\\q", "parameters": {}}',
        '{"name": "f", "parameters": [1]}',
        '{"name": "f", "parameters": "{}"}',
        '{"name": "f", "parameters": null}',
        '{"name": 5, "parameters": {}}',
        '{"name": null, "parameters": {}}',
        '{"name": ["f"], "parameters": {}}',
        '{"parameters": {}}',
        '{"name": "f"}',
        '{"name": "f", "parameters": {}]',
        '{"name": "f", "parameters": {"a": [1}}}',
        '{"name": "f", "parameters": {}',
        '{"name": "f", "parameters": {} // comment\n}',
        "{}",
        b'{"name": "f", "parameters": {"a": "\xff"}}',
        b'{"name": "\xc3", "parameters": {}}',
        b'{"name": "f", "parameters": {}, \0}',
        b'\0{\0"\0n\0a\0m\0e\0"\0:\0"\0f\0"\0}\0',
        '{"name": "\ud800", "parameters": {}}',
    ],
    ids=repr,
)
def test_what_is_not_strict_json_with_a_name_and_an_object_is_none(call):
    assert read(call) == [None]


def test_one_unreadable_call_leaves_the_others():
    block = '{"name": "f", "parameters": {"a": NaN}}\n{"name": "g", "parameters": {}}\n{"name": 1, "parameters": {}}'
    assert read(block) == [None, ToolCall("g", {}), None]


def test_a_number_beyond_the_range_of_a_float_raises_nothing():
    assert read('{"name": "f", "parameters": {"a": 1e400}}') in ([None], [ToolCall("f", {"a": float("inf")})])


def test_an_integer_beyond_64_bits_is_exact():
    assert read(f'{{"name": "f", "parameters": {{"a": {2**200}}}}}') == [ToolCall("f", {"a": 2**200})]


@pytest.mark.parametrize(
    "value",
    ["9" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000],
    ids=["number", "lists", "objects"],
)
def test_a_huge_number_or_depth_is_none(value):
    assert read(f'{{"name": "f", "parameters": {{"a": {value}}}}}') == [None]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("frames", [0, 300])
def test_a_call_of_200_levels_can_be_read_and_one_of_201_cannot_wherever_it_is_read_from(opening, closing, frames):
    def call(levels):  # itself and its arguments are two of them
        value = opening * (levels - 2) + '"{[["' + closing * (levels - 2)
        return f'{{"name": "f", "parameters": {{"a": {value}}}}}'

    def read_from(frames, text):
        return read(text) if frames == 0 else read_from(frames - 1, text)

    assert read_from(frames, call(200))[0].name == "f"
    assert read_from(frames, call(201)) == [None]


@given(text=st.binary(max_size=30))
def test_no_bytes_between_the_braces_raise(text):
    for call in read(b'{"name": "f", "parameters": {' + text + b"}}"):
        assert call is None or (type(call.name) is str and type(call.arguments) is dict)


def test_an_unknown_format_is_answered_with_the_nearest_and_all_known_ones():
    with pytest.raises(ValueError) as error:
        get_format("rrla")
    assert str(error.value).startswith("unknown wire format 'rrla': did you mean 'rlla'? allowed: ")
    assert {"hermes", "rlla"} <= set(str(error.value).partition("allowed: ")[2].split(", "))


def test_a_format_cannot_take_a_name_that_is_in_use():
    get_format("rlla")
    with pytest.raises(ValueError, match="'rlla' is already registered"):
        register_format("rlla", WireFormat(Turn, lambda text, turn, kind: True, lambda text, call, tools: None))
    assert get_format("rlla").is_legal(b"", get_format("rlla").parse(b""), Kind(True, False)) is False


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

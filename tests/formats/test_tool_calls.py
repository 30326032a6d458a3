"""Reading calls by value, and the registry of wire formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.core.tool_calls import Kind, ToolCall, Turn, WireFormat
from rest_verl.formats import get_format, register_format


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

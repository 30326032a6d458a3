"""What the tools of a row decide about a call: the types of bare values (faults P1, P2)."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import read
from tiers import examples

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.parse.json_calls import BeyondRange
from rest_verl.formats.parse.typed import json_or_text, value_of_text

UNTYPED = ("qwen3_coder", "glm", "minimax", "seed")


def written(format, key, value):
    """A call of `f` with one bare value, as the format's chat template writes it."""
    return {
        "qwen3_coder": f"<tool_call>\n<function=f>\n<parameter={key}>\n{value}\n</parameter>\n"
        "</function>\n</tool_call>",
        "glm": f"<tool_call>f\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>",
        "minimax": f'<minimax:tool_call>\n<invoke name="f">\n<parameter name="{key}">{value}</parameter>\n'
        "</invoke>\n</minimax:tool_call>",
        "seed": f"<seed:tool_call>\n<function=f>\n<parameter={key}>{value}</parameter>\n</function>\n"
        "</seed:tool_call>",
    }[format]


def read_value(format, value, schema):
    """The value that a format reads, with its type; "unreadable" if the call cannot be read."""
    (call,) = read(format, written(format, "a", value), {"f": {"type": "object", "properties": {"a": schema}}})
    return "unreadable" if call is None else (type(call.arguments["a"]), call.arguments["a"])


def value_and_type(value):
    return type(value), value


# P1


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    "text",
    ["94107", "1.10", "true", "null", "None", "12e34567", "[1]", '{"a": 1}', '"quoted"', "007", "1e999", "NaN", "-0"],
)
def test_a_declared_string_is_its_text_to_the_letter(format, text):
    for declared in ({"type": "string"}, {"type": "String"}, {"type": "str, optional"}, {"enum": [text, "b"]}):
        assert read_value(format, text, declared) == (str, text)


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("boolean", "False", False),
        ("boolean", "true", True),
        ("bool", "TRUE", True),
        ("null", "None", None),
        ("integer", "3", 3),
        ("integer", "3.0", 3),
        ("int", " -7 ", -7),
        ("number", "3", 3),
        ("float", "1.10", 1.1),
        ("double", "1e-3", 0.001),
        ("object", "{'mode': 'fast', 'on': True, 'x': None}", {"mode": "fast", "on": True, "x": None}),
        ("dict", '{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("HashMap", "{}", {}),
        ("array", "['a', 'b']", ["a", "b"]),
        ("tuple", "(1, 2.5)", [1, 2.5]),
        ("List[int]", "[1, 2]", [1, 2]),
        ("ArrayList", "[]", []),
    ],
)
def test_other_types_are_read_as_json_or_as_python(format, declared, text, value):
    assert read_value(format, text, {"type": declared}) == value_and_type(value)


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "None", None),
        ({"type": "string", "nullable": True}, "null", None),
        ({"type": ["string", "null"]}, "nulls", "nulls"),
        ({"type": ["string", "null"]}, "5", "5"),
        ({"type": ["string", "null"], "enum": ["None", "low"]}, "None", "None"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "94107", 94107),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "1.5", "1.5"),
        ({"oneOf": [{"type": "array"}, {"type": "boolean"}]}, "('a',)", ["a"]),
        ({"allOf": [{"type": ["integer", "string"]}, {"type": "number"}]}, "5", 5),
        ({"enum": [1, 2]}, "2", 2),
        ({"const": "5"}, "5", "5"),
        ({"enum": ["1", 2]}, "1", "1"),
    ],
)
def test_one_of_several_types_is_taken(format, schema, text, value):
    assert read_value(format, text, schema) == value_and_type(value)


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("integer", "three"),
        ("integer", "3.5"),
        ("integer", "true"),
        ("integer", ""),
        ("integer", '"3"'),
        ("number", "1e999"),
        ("number", "Infinity"),
        ("number", "nan"),
        ("boolean", "1"),
        ("boolean", "yes"),
        ("array", "a, b"),
        ("object", "{1, 2}"),
        ("object", "{'a': __import__('os')}"),
        ("object", "{'a': 1 + 1}"),
        ("array", "[" * 100_000),
        ("array", "[" * 1000 + "]" * 1000),
        ("null", "nil"),
    ],
)
def test_a_value_of_another_type_makes_the_call_unreadable(format, declared, text):
    """Never a value outside of its declared type: where one does not fit, verl keeps the text or takes false."""
    assert read_value(format, text, {"type": declared}) == "unreadable"


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    "schema", [None, {}, True, {"type": "any"}, {"$ref": "#/a", "type": "string"}, {"anyOf": [{}]}]
)
@pytest.mark.parametrize(
    ("text", "value"), [("94107", 94107), ("True", "True"), ("null", None), ("{'a': 1}", "{'a': 1}"), ("x", "x")]
)
def test_without_a_type_a_value_is_json_or_text(format, schema, text, value):
    assert read_value(format, text, schema) == value_and_type(value)


@pytest.mark.parametrize("format", UNTYPED)
def test_an_unknown_tool_or_parameter_is_read_without_a_type(format):
    text = written(format, "a", "94107")
    strings = {"type": "object", "properties": {"b": {"type": "string"}}}
    for tools in ({}, {"g": strings}, {"f": strings}, {"f": {}}):
        assert read(format, text, tools) == [ToolCall("f", {"a": 94107})]
    further = {"f": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}}
    assert read(format, text, further) == [ToolCall("f", {"a": "94107"})]


# P2


@pytest.mark.parametrize("format", UNTYPED)
@pytest.mark.parametrize(
    "text",
    ["    if x:\n        return 1\n", "\t", " ", "\n", "", "\r\n", "a ", "\u00a0a\u3000", "\n\n1\n\n", " x\n y "],
)
def test_white_space_of_a_string_is_kept_to_the_letter(format, text):
    """Only the line breaks that qwen3_coder's own template writes are no part of the value."""
    assert read_value(format, text, {"type": "string"}) == (str, text)


@pytest.mark.parametrize("format", UNTYPED)
def test_white_space_of_text_is_kept_without_a_schema_too(format):
    text = "  def f():\n    pass\n"
    assert read(format, written(format, "a", text)) == [ToolCall("f", {"a": text})]


# properties

TYPES: dict[str, Any] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int or (type(value) is float and math.isfinite(value)),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.one_of(
    st.text(max_size=20),
    JSON.map(json.dumps),
    JSON.map(repr),
    st.sampled_from(
        ["1e999", "TRUE", "nUll", "None", "(1,)", "[1", "{1}", "1_0", "0x1f", "+1", ".5", "-", "1j", "b''"]
    ),
)
ANYTHING = st.recursive(
    st.sampled_from([None, True, 1, "string", "integer", [], {}, "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "anyOf", "oneOf", "allOf", "enum", "const", "nullable", "properties", "items", "$ref"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@examples(2000)
@given(TEXTS, st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=3))
def test_no_value_is_outside_of_its_declared_type(text, declared):
    """And the value is JSON, so it can be handed to a tool."""
    for schema in ({"type": declared}, {"anyOf": [{"type": name} for name in declared]}):
        try:
            value = value_of_text(text, schema)
        except ValueError:
            assert "string" not in declared
            continue
        assert any(TYPES[name](value) for name in declared), (text, declared, value)
        json.dumps(value, allow_nan=False)


@examples(2000)
@given(TEXTS, ANYTHING)
def test_no_schema_makes_reading_raise(text, schema):
    for format in UNTYPED:
        for tools in ({"f": schema}, {"f": {"properties": {"a": schema}}}, {"f": {"additionalProperties": schema}}):
            read(format, written(format, "a", text.replace("<", "")).encode("utf-8", "replace").decode(), tools)


@examples(500)
@given(TEXTS)
def test_a_schema_without_types_changes_nothing(text):
    for schema in ({}, {"description": "any"}, {"type": "any"}, None):
        assert read_or_refused(value_of_text, text, schema) == read_or_refused(json_or_text, text)


def read_or_refused(read, *given):
    """What a reader gives, or that the text holds a number that no double does."""
    try:
        return repr(read(*given))
    except BeyondRange as error:
        return str(error)


def test_schemas_nested_without_end_declare_nothing():
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(10_000):
        schema = {"anyOf": [schema]}
    assert value_of_text("5", schema) == 5

"""Spans of an object's members, in well-formed, truncated and broken text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples, size

from rest_verl.formats.parse.json_calls import ObjectScanner, inside_quotes

MARKER = b"</tool_call>"
SCANNER = ObjectScanner(MARKER)

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
written = st.builds(
    lambda value, ascii_only, indent, separators: json.dumps(
        value, ensure_ascii=ascii_only, indent=indent, separators=separators
    ),
    st.dictionaries(st.text(), values, max_size=4),
    st.booleans(),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([None, (",", ":"), (" , ", " : ")]),
)


def members(text):
    """Key and written value of each member of the object at the beginning of the text."""
    found = SCANNER.scan(text, text.index(b"{"))
    return [(member.key, text[member.start : member.end]) for member in found.members]


@given(text=written)
def test_members_of_any_json_object_are_its_keys_and_values(text):
    raw = text.encode("utf-8", "surrogatepass")
    found = SCANNER.scan(b"x " + raw + b" y", 2)
    assert (found.start, found.end, found.complete) == (2, 2 + len(raw), True)
    decoded = [(json.loads(b'"' + key + b'"'), json.loads(value)) for key, value in members(raw)]
    assert decoded == list(json.loads(text).items())


def test_a_value_span_holds_its_quotes_or_braces_and_no_white_space():
    text = b'{ "a" :  "x" ,\r\n\t"b":[1, {"name": 2}]  ,"c" : {"d": {}} , "e":1.5e3,"f": null }'
    assert members(text) == [
        (b"a", b'"x"'),
        (b"b", b'[1, {"name": 2}]'),
        (b"c", b'{"d": {}}'),
        (b"e", b"1.5e3"),
        (b"f", b"null"),
    ]


def test_brackets_commas_colons_and_markers_in_strings_are_text():
    text = b'{"a": "}{][,:</tool_call>", "}": "\\"}", "b": "\\\\"}'
    assert members(text) == [(b"a", b'"}{][,:</tool_call>"'), (b"}", b'"\\"}"'), (b"b", b'"\\\\"')]


def test_keys_of_inner_objects_are_no_members():
    assert members(b'{"arguments": {"name": "inner", "x": [{"name": 1}]}}') == [
        (b"arguments", b'{"name": "inner", "x": [{"name": 1}]}')
    ]


def test_of_a_repeated_key_the_last_member_counts():
    text = b'{"parameters": {}, "name": "f", "arguments": {"x": 1}, "name": "g"}'
    found = SCANNER.scan(text, 0)
    name = found.last(b"name")
    arguments = found.last(b"parameters", b"arguments")
    assert text[name.start : name.end] == b'"g"'
    assert text[arguments.start : arguments.end] == b'{"x": 1}'
    assert found.last(b"missing") is None


def test_an_empty_object_is_complete_and_has_no_member():
    found = SCANNER.scan(b"{}", 0)
    assert (found.end, found.complete, found.members) == (2, True, [])


@pytest.mark.parametrize(
    ("text", "end", "found"),
    [
        (b'{"name": "f', 11, [(b"name", b'"f')]),
        (b'{"name": "f"', 12, [(b"name", b'"f"')]),
        (b'{"name": ', 9, []),
        (b'{"name"', 7, []),
        (b'{"na', 4, []),
        (b'{"a": {"b": [1, 2', 17, [(b"a", b'{"b": [1, 2')]),
        (b'{"a": 1, "b": tr', 16, [(b"a", b"1"), (b"b", b"tr")]),
        (b'{"a": 1,', 8, [(b"a", b"1")]),
    ],
)
def test_an_object_that_breaks_off_keeps_what_it_has(text, end, found):
    scanned = SCANNER.scan(text, 0)
    assert (scanned.end, scanned.complete) == (end, False)
    assert members(text) == found


def test_an_open_object_ends_at_the_marker():
    text = b'{"name": "f", "a": {"b": 1\n</tool_call> more'
    found = SCANNER.scan(text, 0)
    assert (found.end, found.complete) == (text.index(MARKER), False)
    assert members(text) == [(b"name", b'"f"'), (b"a", b'{"b": 1')]


def test_an_unclosed_string_swallows_no_more_than_its_line():
    text = b'{"a": "x, "b": 1\n, "c": 2}'
    assert members(text)[-1] == (b"c", b"2")


def test_a_key_stands_directly_in_the_object_and_its_value_behind_the_first_colon():
    assert members(b'{["name"]: "f", {"name": 1}: 2, "a": 1 : 2}') == [(b"a", b"1 : 2")]


def test_an_unclosed_key_is_not_taken_for_a_shorter_one():
    assert b"name" not in [key for key, _ in members(b'{"namex\n: "f"}')]


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (b'"get_weather"', b"get_weather"),
        (b'""', b""),
        (b'"a\\"b"', b'a\\"b'),
        (b'"a\\\\"', b"a\\\\"),
        ('"東京"'.encode(), "東京".encode()),
        (b'"get_wea', b"get_wea"),
        (b'"', b""),
        (b'"get\\"', b'get\\"'),
    ],
    ids=repr,
)
def test_inside_the_quotes_of_a_string_closed_or_not(value, inside):
    text = b'{"name": ' + value
    member = SCANNER.scan(text, 0).last(b"name")
    start, end = inside_quotes(text, member)
    assert text[start:end] == inside


@pytest.mark.parametrize("value", [b"1", b"null", b"{}", b'["f"]', b"f"])
def test_a_value_that_is_no_string_has_no_inside(value):
    text = b'{"name": ' + value + b"}"
    assert inside_quotes(text, SCANNER.scan(text, 0).last(b"name")) is None


@examples(300)
@given(
    text=st.lists(
        st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"\n", b" ", b"a", b"1", MARKER, b"\xff"]),
        max_size=40,
    ).map(b"".join)
)
def test_any_text_has_ordered_members_inside_of_its_object(text):
    found = SCANNER.scan(b"{" + text, 0)
    assert 0 < found.end <= len(text) + 1
    edges = [edge for member in found.members for edge in (member.start, member.end)]
    assert edges == sorted(edges)
    assert all(member.start < member.end <= found.end for member in found.members)


@pytest.mark.soon
@pytest.mark.parametrize(
    "text",
    [
        b"{" * size(100_000),
        b"{" + b'"' * (size(100_000) + 1),
        b'{"a": "' + b"\\" * (size(1_000_000) + 1),
        b'{"' + b"a" * size(1_000_000),
        b'{"a":' * size(50_000),
    ],
    ids=["braces", "quotes", "backslashes", "one key", "nested keys"],
)
def test_hostile_text_is_scanned_to_its_end(text):
    found = SCANNER.scan(text, 0)
    assert (found.end, found.complete) == (len(text), False)


PIECES = ['{"name": "f"', ', "arguments": ', "{", "}", '"a": 1', ', "b": "x, {y"', '"', "\\", "\\u00e9", "[", "]", ":"]
OTHERS = [",", " ", "\n", "é", "</tool_call>", '"name": "g"', '"parameters": {}', "null"]


@given(pieces=st.lists(st.sampled_from(PIECES + OTHERS), max_size=12), usual=st.booleans())
def test_the_short_cut_for_usual_calls_finds_what_the_scan_finds(pieces, usual):
    begin = '{"name": "f", "arguments": {"a": ' if usual else "{"
    text = (begin + "".join(pieces) + ("}}" if usual else "")).encode()
    scanner = ObjectScanner(b"</tool_call>")
    assert scanner.scan(text, 0) == scanner.scan_any(text, 0)

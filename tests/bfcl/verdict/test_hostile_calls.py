"""Whatever a model writes, the verdict comes, and comes soon."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiers import size

from rest_verl.bfcl.verdict.checker import CATEGORIES, accepts, check_calls
from rest_verl.bfcl.verdict.java import TYPES as JAVA_TYPES
from rest_verl.bfcl.verdict.java import read_java
from rest_verl.bfcl.verdict.javascript import TYPES as JAVASCRIPT_TYPES
from rest_verl.bfcl.verdict.javascript import read_javascript
from rest_verl.core.tool_calls import ToolCall

PYTHON_TYPES = ("string", "integer", "float", "boolean", "array", "tuple", "dict", "any")
# a repeated part, and one that stands before and behind
HOSTILE = [
    ("new ArrayList<>(Arrays.asList(", ""),
    ("new ArrayList<>(Arrays.asList(", "\n))"),
    ("new ArrayList<>() {{", ""),
    ("new ArrayList<>() {{ add(", "\n }}"),
    ("new ArrayList<>() ", "{{"),
    ("add(", "\n)"),
    ("add(1);", "}}"),
    ("new a[]{", ""),
    ("new a[]{", "\n}"),
    ("new ", "a[]"),
    ("new HashMap<", ""),
    ("new HashMap<> () ", "{"),
    (">  ", "()"),
    ('put("', "}"),
    ('put("a", ', "}"),
    ('put("a",\n', "}"),
    ('put("a", b\n', "}"),
    ('put("a", 1);', "}"),
    ('put("a",", 1\n', "}"),
    (" ", "}"),
    ("\n", "}}"),
    ("[", ""),
    ("[", "\n]"),
    ("[1], ", ""),
    ("[1],\n", ""),
    ("], [", "x"),
    ("]   ", "x"),
    ("new Array(", ""),
    ("a", "}"),
    (":", "}"),
    (",", "}"),
    (", ", "}"),
    (", :", "}"),
    ("a: 1, ", "}"),
    ("a: ,", "}"),
    ("9", ""),
    ("9", "n"),
    ("9", "f"),
    ("9", "e9f"),
    ("1.", "L"),
    ("'", '"'),
]
# where such text may stand: (language's reader, type, what stands before it)
PLACES = [
    *((read_java, "Array", before) for before in ("", "new a[]{")),
    *((read_java, "ArrayList", before) for before in ("", "new ArrayList<>(Arrays.asList(", "new ArrayList<>() {{")),
    *((read_java, "HashMap", before) for before in ("", "new HashMap<>() {{")),
    *((read_java, number, "") for number in ("integer", "long", "float", "double")),
    *((read_javascript, "array", before) for before in ("", "[", "[[", "new Array([")),
    *((read_javascript, "dict", before) for before in ("", "{", "{a: [")),
    *((read_javascript, number, "") for number in ("integer", "Bigint", "float")),
]


@pytest.mark.soon
@pytest.mark.parametrize("part, end", HOSTILE)
def test_long_source_text_is_read_at_once(part, end):
    body = part * (size(2**20) // len(part)) + end
    for read, declared, before in PLACES:
        with suppress(ValueError):
            read(before + body, declared)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["new HashMap<>() {{ put(", "[[1], [2]]", "{a: 1}", "12L", "9n\n", 10**400, "9" * 5000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abx") | st.text(max_size=3), inner),
    max_leaves=12,
)
ODD_OR_JSON = JSON | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "items", "properties", "required"), JSON)
)
SCHEMA = st.sampled_from([*PYTHON_TYPES, *JAVA_TYPES, *JAVASCRIPT_TYPES]).flatmap(
    lambda declared: st.fixed_dictionaries(
        {"type": st.just(declared)},
        optional={"items": st.fixed_dictionaries({"type": st.sampled_from([*PYTHON_TYPES, *JAVA_TYPES, "odd"])})},
    )
)
KEYS = st.sampled_from("abx")
FUNCTION = st.fixed_dictionaries(
    {
        "name": st.sampled_from("fg"),
        "parameters": ODD_OR_JSON
        | st.fixed_dictionaries(
            {"properties": st.dictionaries(KEYS, SCHEMA | JSON), "required": st.lists(KEYS, max_size=2) | JSON}
        ),
    }
)
ANSWER = st.dictionaries(
    st.sampled_from("fg"), st.dictionaries(KEYS, st.lists(JSON, max_size=3) | JSON) | JSON, max_size=1
)
CALL = st.builds(ToolCall, st.sampled_from("fg") | st.text(max_size=3), st.dictionaries(KEYS, JSON))


@given(
    st.lists(FUNCTION, max_size=3),
    st.lists(CALL, max_size=3),
    st.lists(ANSWER, max_size=3),
    st.sampled_from(CATEGORIES),
)
def test_there_is_a_verdict_on_any_calls_under_any_schema_and_answer(functions, calls, possible_answer, category):
    assert isinstance(check_calls(functions, calls, possible_answer, category), str | None)


@given(SCHEMA, st.lists(JSON, max_size=3), JSON, st.sampled_from(CATEGORIES))
def test_an_argument_is_accepted_where_the_call_of_it_is_right(schema, values, value, category):
    function = {"name": "f", "parameters": {"properties": {"x": schema}, "required": []}}
    right = accepts(function, {"x": values}, "x", value, category)
    if "relevance" not in category:
        reason = check_calls([function], [ToolCall("f", {"x": value})], [{"f": {"x": values}}], category)
        assert right == (reason is None)


def nested(depth, wrap):
    value = "x"
    for _ in range(depth):
        value = wrap(value)
    return value


HUGE = {
    "text": "x -" * size(2**19),
    "list": ["x"] * size(2**19),
    "dict": {str(number): "x" for number in range(size(2**17))},
    "deep list": nested(50_000, lambda value: [value]),
    "deep dict": nested(50_000, lambda value: {"x": value}),
    "integer": 10**4000,
}


@pytest.mark.soon
@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("kind", HUGE)
def test_huge_arguments_are_judged_at_once(kind, category):
    declared = {"simple_java": JAVA_TYPES, "simple_javascript": JAVASCRIPT_TYPES}.get(category, PYTHON_TYPES)
    schemas = {name: {"type": name, "items": {"type": "any"}} for name in declared}
    function = {"name": "f", "parameters": {"properties": schemas, "required": []}}
    answer = {"f": {name: ["x", 1, ["x"], {"x": ["x"]}, ""] for name in declared}}
    for name in declared:
        check_calls([function], [ToolCall("f", {name: HUGE[kind]})], [answer], category)


@pytest.mark.soon
@pytest.mark.parametrize("category", CATEGORIES)
def test_ten_thousand_calls_are_judged_at_once(category):
    function = {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}}
    calls = [ToolCall("f", {"x": number}) for number in range(10_000)]
    check_calls([function], calls, [{"f": {"x": [1]}}] * 3, category)


def test_a_reason_stays_short_whatever_the_names_are():
    function = {"name": "f", "parameters": {"properties": {}, "required": []}}
    for call in (ToolCall("g" * 10**6, {}), ToolCall("f", {"x" * 10**6: 1})):
        assert len(str(check_calls([function], [call], [{"f": {}}], "simple_python"))) < 200

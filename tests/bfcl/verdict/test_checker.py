"""The rules of the verdict, one by one. That they are BFCL's is tested in test_same_verdict."""

import pytest

from rest_verl.bfcl.verdict.checker import CATEGORIES, accepts, check_calls, optional_arguments
from rest_verl.core.tool_calls import ToolCall


def tool(name="f", required=(), **types):
    """A tool; a type is a name, or for a list (name, type of its elements)."""
    schemas = {
        key: {"type": declared} if isinstance(declared, str) else {"type": declared[0], "items": {"type": declared[1]}}
        for key, declared in types.items()
    }
    return {"name": name, "parameters": {"type": "dict", "properties": schemas, "required": list(required)}}


def accepted(declared, values, value, category="simple_python"):
    return accepts(tool(x=declared), {"x": values}, "x", value, category)


@pytest.mark.parametrize(
    "declared, values, value",
    [
        ("string", ["April 1, 2024"], "april 1 2024"),
        ("string", ["New York, NY"], "new-york_ny."),
        ("string", ["it's"], 'IT"S'),
        ("string", ["a^b*c/d"], "abcd"),
        ("string", ["b", "a"], "a"),
        ("string", ["", "cm"], ""),
        ("any", ["x"], "X"),
        ("integer", [5], 5),
        ("float", [5.0], 5),
        ("float", [5], 5.0),
        ("boolean", [True], True),
        ("boolean", [None], None),
        (("array", "string"), [["a b", "C"]], ["AB", "c"]),
        (("array", "float"), [[1.0, 2.0]], [1.0, 2.0]),
        (("array", "integer"), [[1], ""], []),
        (("tuple", "float"), [[1.0, 2.0]], [1.0, 2.0]),
        (("array", "array"), [[["a"], ["b"]]], [["a"], ["b"]]),
        ("dict", [{"a": ["X Y"], "b": [1]}], {"b": 1, "a": "xy"}),
        ("dict", [{"a": ["x"], "b": [1, ""]}], {"a": "x"}),
        ("dict", [{"a": [1]}, {"b": [2]}], {"b": 2}),
        ("dict", [{"a": [{"b": 1}]}], {"a": {"b": True}}),
        (("array", "dict"), [[{"a": [1]}, {"a": [2, 3]}]], [{"a": 1}, {"a": 3}]),
    ],
)
def test_right_values(declared, values, value):
    assert accepted(declared, values, value)


@pytest.mark.parametrize(
    "declared, values, value",
    [
        ("string", ["a\tb"], "ab"),
        ("string", ["a;b"], "ab"),
        ("string", ["5"], 5),
        ("string", ["a"], ["a"]),
        ("string", ["null"], None),
        ("integer", [5], 5.0),
        ("integer", [1], True),
        ("integer", [5], "5"),
        ("float", [1.0], True),
        ("boolean", [True], 1),
        ("boolean", [True], "true"),
        (("array", "string"), [["a", "b"]], ["b", "a"]),
        (("array", "float"), [[1.0, 2.0]], [1, 2]),
        (("array", "string"), [["a"]], "a"),
        (("array", "array"), [[["A"]]], [["a"]]),
        ("dict", [{"a": ["x"]}], {"a": "x", "b": 1}),
        ("dict", [{"a": ["x"], "b": [1]}], {"a": "x"}),
        ("dict", [{"a": ["x"]}], '{"a": "x"}'),
        (("array", "dict"), [[{"a": [1]}, {"a": [2]}]], [{"a": 2}, {"a": 1}]),
        (("array", "dict"), [[{"a": [1]}]], []),
    ],
)
def test_wrong_values(declared, values, value):
    assert not accepted(declared, values, value)


def test_an_answer_of_another_type_than_the_schemas_is_a_variable_and_compared_exactly():
    assert accepted(("array", "integer"), ["my_list"], "my_list")
    assert not accepted(("array", "integer"), ["my_list"], "my list")
    assert not accepted(("array", "integer"), ["my_list"], [1])


def test_a_list_fits_the_types_of_the_answers_elements_as_well_as_the_schemas():
    assert accepted(("array", "string"), [[1, 2]], [1, 2])
    assert not accepted(("array", "string"), [[1, 2]], [1.0, 2.0])


def test_java_is_read_from_source_text():
    assert accepted("long", [50], "50L", "simple_java")
    assert not accepted("long", [50], "50", "simple_java")
    assert not accepted("long", [50], 50, "simple_java")
    assert accepted("boolean", [True], "true", "simple_java")
    assert accepted(
        "HashMap", [{"a": [1], "b": ["X"]}], 'new HashMap<>() {{ put("a", 1); put("b", "x"); }}', "simple_java"
    )
    assert accepted("HashMap", ["settings"], "settings", "simple_java")
    assert accepted(("ArrayList", "String"), [["a", "b"]], 'new ArrayList<>(Arrays.asList("a", "b"))', "simple_java")
    # only an ArrayList takes the quotes off
    assert accepted(("Array", "String"), [["a", "b"]], "new String[]{a, b}", "simple_java")
    assert not accepted(("Array", "String"), [["a", "b"]], 'new String[]{"a", "b"}', "simple_java")
    assert not accepted("String", ["a"], '"a"', "simple_java")


def test_javascript_is_read_from_source_text():
    assert accepted("Bigint", [50], "50n", "simple_javascript")
    assert not accepted("Bigint", [50], 50, "simple_javascript")
    assert accepted("String", ["a"], "'a'", "simple_javascript")
    assert accepted("String", ["a"], "a", "simple_javascript")
    assert accepted("float", [5.0], "5", "simple_javascript")
    assert accepted(("array", "String"), [["a", "b"]], "['a', \"b\"]", "simple_javascript")
    assert accepted("dict", [{"a": [[1, "x"]], "b": [True]}], "{a: [1, 'x'], b: true}", "simple_javascript")


def test_unknown_arguments_are_never_right():
    function = tool(x="integer", y="integer")
    assert not accepts(function, {"x": [1]}, "y", 1, "simple_python")
    assert not accepts(function, {"z": [1]}, "z", 1, "simple_python")


def test_an_argument_may_be_left_out_where_nothing_is_among_its_values_and_the_tool_does_not_require_it():
    function = tool(required=["a", "b"], a="string", b="string", c="string", d="string")
    values = {"a": ["x"], "b": ["", "x"], "c": ["", "x"], "d": ["x"]}
    assert optional_arguments(function, values) == {"c"}
    right = {"a": "x", "b": "x", "d": "x"}
    for key in (None, "a", "b", "d"):
        call = ToolCall("f", {name: value for name, value in right.items() if name != key})
        assert (check_calls([function], [call], [{"f": values}], "simple_python") is None) == (key is None)


def test_a_tool_without_parameters_lets_nothing_be_left_out():
    assert optional_arguments({"name": "f"}, {"x": [""]}) == frozenset()
    assert not accepts({"name": "f"}, {"x": [1]}, "x", 1, "simple_python")


F = tool("f", ["x"], x="integer")
G = tool("g", [], x="integer")
ONE = ToolCall("f", {"x": 1})
TWO = ToolCall("f", {"x": 2})
DUE = [{"f": {"x": [1]}}]


@pytest.mark.parametrize(
    "calls, reason",
    [
        ([ONE], None),
        ([], "0 calls, but 1 is due"),
        ([ONE, ONE], "2 calls, but 1 is due"),
        ([TWO], "the argument 'x' has a wrong type or value"),
        ([ToolCall("g", {"x": 1})], "a call of 'g', but one of 'f' is due"),
        ([ToolCall("f", {})], "the required argument 'x' is missing"),
        ([ToolCall("f", {"x": 1, "y": 1})], "the argument 'y' is unexpected"),
    ],
)
def test_one_call_of_the_only_tool(calls, reason):
    assert check_calls([F], calls, DUE, "live_simple") == reason


def test_among_several_tools_the_answer_names_the_right_one():
    assert check_calls([G, F], [ONE], DUE, "multiple") is None
    assert check_calls([G, F], [ToolCall("g", {"x": 1})], DUE, "live_multiple") is not None


def test_parallel_calls_are_right_in_any_order():
    due = [{"f": {"x": [1]}}, {"g": {"x": [3]}}, {"f": {"x": [2]}}]
    calls = [TWO, ONE, ToolCall("g", {"x": 3})]
    assert check_calls([F, G], calls, due, "parallel_multiple") is None
    assert check_calls([F, G], [TWO, TWO, calls[2]], due, "parallel_multiple") is not None
    assert check_calls([F, G], calls[:2], due, "live_parallel") == "2 calls, but 3 are due"


def test_parallel_answers_take_their_call_in_turn_even_where_that_leaves_none_for_a_later_one():
    due = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    assert check_calls([F], [TWO, ONE], due, "parallel") is None
    assert check_calls([F], [ONE, TWO], due, "parallel") is not None


@pytest.mark.parametrize("category", ["irrelevance", "live_irrelevance"])
def test_where_no_tool_serves_only_no_call_is_right(category):
    assert check_calls([F], [], [], category) is None
    assert check_calls([F], [ONE], [], category) == "1 calls, but none is right"


def test_where_a_tool_serves_any_call_is_right():
    assert check_calls([F], [ToolCall("h", {})], [], "live_relevance") is None
    assert check_calls([F], [], [], "live_relevance") == "no call, but one is due"


def test_an_unknown_category_names_the_nearest():
    with pytest.raises(ValueError, match="unknown BFCL category 'live_simpel': did you mean 'live_simple'"):
        check_calls([F], [], [], "live_simpel")
    with pytest.raises(ValueError, match="unknown BFCL category"):
        accepts(F, {}, "x", 1, "multi_turn_base")
    assert len(CATEGORIES) == 13

"""Reading calls that are written as Python: which literals have which values, and what is refused."""

import warnings

import pytest
from format_view import FormatView

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.pythonic import PYTHONIC

read = FormatView(PYTHONIC).read_calls


def arguments_of(arguments):
    """Arguments of a call written with these, or None where it cannot be read."""
    (call,) = read(f"[f({arguments})]")
    return call and call.arguments


def test_calls_come_back_by_value_in_the_order_of_the_text():
    assert read('[math.factorial(n=-5, x=+1.5e-7), f(é="ü"), g()]') == [
        ToolCall("math.factorial", {"n": -5, "x": 1.5e-7}),
        ToolCall("f", {"é": "ü"}),
        ToolCall("g", {}),
    ]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("a=True, b=False, c=None", {"a": True, "b": False, "c": None}),
        ("a=true, b=false, c=null", {"a": True, "b": False, "c": None}),
        ("a=[1, 'b', [None]], c=(1, (2,)), d=()", {"a": [1, "b", [None]], "c": [1, [2]], "d": []}),
        ("a={'b': {'c': [-1]}, 'd': {}},", {"a": {"b": {"c": [-1]}, "d": {}}}),
        ("a={'b': 1, 'b': 2}", {"a": {"b": 2}}),
        ("a='it\\'s', b=\"\\u00fc\\n\", c='''x\ny''', d=r'\\d', e='one ' \"two\"", None),
        ("a='first\\r\\nsecond'", {"a": "first\r\nsecond"}),
        ("\n  a=1,  # the first\n  b=0x1F,\n  c=1_000,\n", {"a": 1, "b": 31, "c": 1000}),
        ("a=(1)", {"a": 1}),
        (f"a={2**200}", {"a": 2**200}),
        (f"a='{'x' * 60_000}'", {"a": "x" * 60_000}),
    ],
)
def test_literals_have_the_values_that_python_gives_them(arguments, values):
    strings = {"a": "it's", "b": "ü\n", "c": "x\ny", "d": "\\d", "e": "one two"}
    assert arguments_of(arguments) == (strings if values is None else values)


def test_values_keep_the_type_of_their_literal():
    assert [type(value) for value in arguments_of("a=1, b=1.0, c=True, d=-0.0").values()] == [int, float, bool, float]


def test_an_unknown_escape_in_a_string_stays_and_warns_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert arguments_of(r"a='\d\.'") == {"a": r"\d\."}


@pytest.mark.parametrize(
    "call",
    [
        "f(1)",
        "f(1, a=1)",
        "f(*[1])",
        "f(**{'a': 1})",
        "f(a=1, **{})",
        "f(a=1, a=1)",
        "f(a=b)",
        "f(a=g())",
        "f(a=b.c)",
        "f(a=1+1)",
        "f(a='x' * 3)",
        "f(a=[1][0])",
        "f(a=not True)",
        "f(a=~1)",
        "f(a=-True)",
        "f(a=--1)",
        "f(a=-'x')",
        "f(a=1j)",
        "f(a=1e999)",
        "f(a=-1e999)",
        "f(a=nan)",
        "f(a=inf)",
        "f(a=...)",
        "f(a={1, 2})",
        "f(a={1: 2})",
        "f(a={'b': 1, **{}})",
        "f(a=[*'x'])",
        "f(a=b'x')",
        "f(a=f'x')",
        "f(a=f'{1}')",
        "f(a=lambda: 1)",
        "f(a=[x for x in 'ab'])",
        "f(a=1 if 1 else 2)",
        "f(a:=1)",
        "f(a=(b:=1))",
        "f(a=)",
        "f(a=1 b=2)",
        "f('a'=1)",
        "f(a=[1)",
        "f(a='x\n)",
        "f(a='\\N{no such name}')",
        "f(a='\0')",
        "f(a=0o9)",
        "f(a=)",
        "not(a)",
        "f(a='\ud800')",
        b"f(a='\xff')",
        b"\xff(a=1)",
        "f(a=__import__('os').abort())",
        "f(a=" + "9" * 10_000 + ")",
        "f(a=0x" + "f" * 10_000 + ")",
        "f(a=" + "9" * 100_000 + ")",
        "f(a='" + "x" * 70_000 + "')",
        "f(a=" + "(" * 10_000 + ")" * 10_000 + ")",
        "f(a=" + "-" * 60_000 + "1)",
        "f(a=1" + "+1" * 30_000 + ")",
        "f(a=1" + "+1" * 1_000_000 + ")",
        "f(a=b" + ".b" * 30_000 + ")",
        "f(a=" + "lambda:" * 9_000 + "1)",
    ],
    ids=lambda call: repr(call[:40]),
)
def test_what_is_no_call_with_literals_by_keyword_is_none(call):
    raw = call if isinstance(call, bytes) else call.encode("utf-8", "surrogatepass")
    assert read(b"[" + raw + b", g()]") == [None, ToolCall("g", {})]


def test_a_call_that_is_not_closed_is_none():
    assert read("[f(a=1), g(a=1]") == [ToolCall("f", {"a": 1}), None]

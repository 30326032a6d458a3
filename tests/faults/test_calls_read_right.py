"""What a model wrote is read as the model's own servers read it: tags in values, numbers, quotes, names and keys."""

import json
import math

import bfcl_calls
import pytest
from bfcl_answers import right_answer
from bfcl_reference import questions
from format_view import CALLS, FormatView
from hypothesis import given
from hypothesis import strategies as st
from parts import labels_of, painted, text_of
from render import RENDERERS
from tiers import examples

from rest_verl.bfcl.verdict.checker import check_calls
from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats import get_format

FORMATS = sorted(RENDERERS)
REASONING = {
    "gemma4": ("<|channel>thought", "<channel|>"),
    "gpt-oss": ("<|channel|>analysis<|message|>", "<|end|>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "seed": ("<seed:think>", "</seed:think>"),
}
RAW = ("deepseek_v4", "glm", "minimax", "qwen3_coder", "seed")  # values are raw text between tags
TEXT = 'a b\t{"x", [y]} \n c'


def view(format):
    return FormatView(get_format(format))


def values_with(tag):
    """The tag at every position of a text with white space, quotes and brackets."""
    return [TEXT[:position] + tag + TEXT[position:] for position in range(len(TEXT) + 1)] + [tag]


def rendered(format, calls):
    """A turn of calls alone, with values as raw text where the format has no quotes; rlla without its reasoning."""
    text = text_of(RENDERERS[format]("", calls, "")).removeprefix(b"<think></think>\n")
    if format not in RAW:
        return text
    values = [value for _, arguments in calls for value in arguments.values() if isinstance(value, str)]
    marked = [(name, {key: "VALUE" if isinstance(value, str) else value for key, value in arguments.items()})
              for name, arguments in calls]  # fmt: skip
    text = text_of(RENDERERS[format]("", marked, ""))
    for value in values:
        text = text.replace(b"VALUE", value.encode(), 1)
    return text


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("end", [0, 1])
def test_a_reasoning_tag_in_a_value_is_text_at_every_position(format, end):
    """P3: a tag of reasoning in the text of a call neither opens nor closes reasoning, in any format."""
    tag = REASONING.get(format, ("<think>", "</think>"))[end]
    for value in values_with(tag):
        for calls in ([("write", {"c": value})], [("f", {"a": 1}), ("write", {"b": [1, {"d": tag}], "c": value})]):
            text = rendered(format, calls)
            assert view(format).read_calls(text) == [ToolCall(*call) for call in calls], text
            assert format == "rlla" or view(format).legal(text, CALLS), text
            assert get_format(format).parse(text).think == [], text


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"llama3_json"}))
def test_a_turn_cut_after_a_reasoning_tag_in_a_value_is_a_call(format):
    """P3: what is written so far is a call already; the text after the tag changes nothing of it."""
    tag = REASONING.get(format, ("<think>", "</think>"))[1]
    text = rendered(format, [("write", {"c": f"a {tag} b"})])
    begin = text.index(tag.encode())
    for cut in range(begin, begin + len(tag) + 3):
        turn = get_format(format).parse(text[:cut])
        assert (turn.think, len(turn.calls)) == ([], 1), text[:cut]


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"gpt-oss", "llama3_json", "pythonic"}))
def test_reasoning_the_prompt_opened_may_name_the_call_markup(format):
    """P3, the other side: a closing tag outside of any value still ends reasoning that the prompt opened."""
    closing = REASONING.get(format, ("<think>", "</think>"))[1].encode()
    call = rendered(format, [("f", {"a": "b c"})])
    reasoning = b"I could write " + call + b" or rather"
    text = reasoning + closing + b"\n" + call
    turn = get_format(format).parse(text)
    assert [text[slice(*span)] for span in turn.think] == [reasoning]
    assert view(format).read_calls(text) == [ToolCall("f", {"a": "b c"})]


HUGE = ["1e999", "-1e999", "1E+400", "12e34567", "9" * 400, "-" + "9" * 5000, "1" + "0" * 400 + ".5"]


@pytest.mark.parametrize("number", HUGE, ids=lambda number: number[:9] + f"_{len(number)}")
@pytest.mark.parametrize("written", ["7", "[7]", '{"b": [1, 7]}'], ids=["bare", "in a list", "nested"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_number_beyond_double_range_makes_a_call_unreadable(format, written, number):
    """P7: such a number would become an infinity, which is no JSON."""
    text = text_of(RENDERERS[format]("", [("f", {"a": json.loads(written), "z": "s"}), ("g", {})], ""))
    assert text.count(b"7") == 1
    assert view(format).read_calls(text.replace(b"7", number.encode())) == [None, ToolCall("g", {})]


@pytest.mark.parametrize("number", ["1.7976931348623157e308", "-1e308", "1e-999", "9" * 308])
@pytest.mark.parametrize("format", FORMATS)
def test_a_number_within_double_range_is_read(format, number):
    """P7, the other side: the largest doubles, and what is too small for any, are numbers."""
    text = text_of(RENDERERS[format]("", [("f", {"a": 7})], ""))
    (call,) = view(format).read_calls(text.replace(b"7", number.encode()))
    assert call == ToolCall("f", {"a": json.loads(number)})
    assert math.isfinite(call.arguments["a"]) and json.dumps(call.arguments, allow_nan=False)


@pytest.mark.parametrize(
    "value", ["123e4567-e89b-12d3-a456-426614174000", "1e999 m", "9" * 400 + "x", "[1e999", "1e999]"]
)
@pytest.mark.parametrize("format", [*RAW, "gemma4"])
def test_text_that_begins_with_a_huge_number_is_text(format, value):
    """P7, the other side: an id of hexadecimal digits is no number."""
    if format == "gemma4" and not value.isalnum() and "-" not in value:
        return  # brackets and blanks of bare text are matters of Gemma's own notation
    text = rendered(format, [("f", {"a": value})]).replace(b'<|"|>', b"")
    assert view(format).read_calls(text) == [ToolCall("f", {"a": value})]


def gemma(arguments):
    return view("gemma4").read_calls(f"<|tool_call>call:f{arguments}<tool_call|>")


QUOTED = [
    ('{data_refs:["ds_1"]}', {"data_refs": ["ds_1"]}),
    ("{data_refs:['ds_1', \"ds 2\"]}", {"data_refs": ["ds_1", "ds 2"]}),
    ('{a:"x"}', {"a": "x"}),
    ("{a: 'x' , b:1}", {"a": "x", "b": 1}),
    ('{"a":1,\'b c\':2,d:3}', {"a": 1, "b c": 2, "d": 3}),
    ('{"a": {"b": true, "c": "m, km"}, "d": [{"e": "}"}]}', {"a": {"b": True, "c": "m, km"}, "d": [{"e": "}"}]}),
    ("{'a': {'b': 'it\\'s ]', 'c': []}}", {"a": {"b": "it's ]", "c": []}}),
    ('{a:["x",<|"|>y<|"|>,\'z\',w,1,null]}', {"a": ["x", "y", "z", "w", 1, None]}),
    ('{a:"\\u00fc \\"q\\" \\n"}', {"a": 'ü "q" \n'}),
    ("{a:'\\u00fc \"q\" \\n'}", {"a": 'ü "q" \n'}),
    ('{a:"5",b:\'true\',c:""}', {"a": "5", "b": "true", "c": ""}),
    ('{a:"call:g{}<tool_call|>"}', {"a": "call:g{}<tool_call|>"}),
    ('{a:<|"|>"x"<|"|>}', {"a": '"x"'}),
    ("{a:it's,b:rock 'n' roll}", {"a": "it's", "b": "rock 'n' roll"}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "values"), QUOTED)
def test_quoted_values_and_keys_of_gemma4_are_decoded(arguments, values):
    """P8: JSON and Python quotes are quotes, in containers, at the top and around keys."""
    assert gemma(arguments) == [ToolCall("f", values)]


@pytest.mark.parametrize(
    "value",
    ['"x', 'x"', "'x", "x'", '"x" y', "\"x'", '"x""y"', '["x]', "['x\", 1]", '"\\q"', "b'x'", 'x<|"|>', '"x<|"|>',
     "'\\x'"],
)  # fmt: skip
def test_quotes_of_gemma4_that_cannot_be_decoded_are_unreadable(value):
    """P8: a quote at an end of a bare value is no part of it, so the value is unknown."""
    assert gemma(f"{{a:{value},b:1}}") == [None]
    assert gemma(f"{{b:[1,{{a:{value}}}]}}") == [None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=6,
)


@examples(300)
@given(values=st.dictionaries(st.text(min_size=1, max_size=5), json_values, max_size=3))
def test_json_in_the_place_of_gemmas_notation_is_its_value(values):
    """P8: a model that writes its arguments as JSON has them read as JSON."""
    assert gemma(json.dumps(values)) == [ToolCall("f", values)]


NAMES = [
    "from",
    "class",
    "lambda",
    "None",
    "True",
    "async",
    "user-id",
    "$filter",
    "a.b",
    "@type",
    "größe",
    "日本",
    "ﬁeld",
]
NAMES += [
    "2nd",
    "ids[]",
    "first name",
    "x-y-z",
    "a:b",
    "a/b",
    "_",
    "name",
    "__debug__",
    "is_ok?",
    ".Jo00B.BW3",
    "/path",
    "--flag",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_argument_name_of_a_schema_is_read_in_pythonic(name):
    """P9: argument names are those of a JSON schema, keywords of Python and other non-identifiers included."""
    for text in (f"[f({name}='30', to=4)]", f"[f(a=[1, (2)], {name} = '30')]", f'[f(a="(b=1, c", {name}=\n"30")]'):
        (call,) = view("pythonic").read_calls(text)
        assert call is not None and call.arguments[name] == "30", text
        assert len(call.arguments) == 2
        assert view("pythonic").legal(text, CALLS)


@pytest.mark.parametrize(
    "arguments",
    ["from", "1", "a=1, a=2", "from=1, from=2", "*a", "**a", "**{'a': 1}", "a==1", "a<=1", "a:=1", "a-=1", "a!=1",
     "=1", "a=", "a=b=1", "a=1 b=2", "'a'=1", "a(b)=1", "[a]=1", "a=1,,b=2", "a=1 # b=2", "a=x.y", "a={1: 2}",
     "a=1; b=2"],
)  # fmt: skip
def test_what_names_no_argument_is_unreadable_in_pythonic(arguments):
    """P9, the other side: only `name=literal` is an argument, and none is given twice."""
    assert view("pythonic").read_calls(f"[f({arguments})]") == [None]


@pytest.mark.skipif(bfcl_calls.MISSING is not None, reason=str(bfcl_calls.MISSING))
@pytest.mark.parametrize("format", FORMATS)
def test_bfcls_java_questions_are_answered_alike_in_every_format(format):
    """P9: two of these ask for an argument `from`. 97 of 100 answers are right: BFCL accepts none to the others."""
    right = 0
    for question in questions("simple_java"):
        calls = right_answer(question, "simple_java")
        found = view(format).read_calls(
            text_of(RENDERERS[format]("", [(call.name, call.arguments) for call in calls], ""))
        )
        right += check_calls(question.functions, found, question.possible_answer, "simple_java") is None
    assert right == 97


KEY = {"rlla": b"parameters", "llama3_json": b"parameters", "hermes": b"arguments", "mistral": b"arguments"}


def in_format(format, *calls):
    """A turn of calls as JSON objects."""
    if format == "llama3_json":
        return b"; ".join(calls)
    if format == "mistral":
        return b"[TOOL_CALLS][" + b", ".join(calls) + b"]"
    block = b"<tool_call>\n%b\n</tool_call>"
    return block % b"\n".join(calls) if format == "rlla" else b"\n".join(block % call for call in calls)


def escaped(key):
    """The key of JSON with each letter as an escape."""
    return "".join(f"\\u{ord(letter):04x}" for letter in key)


@pytest.mark.parametrize("format", KEY)
def test_the_key_of_the_template_names_the_arguments(format):
    """P10: `arguments` or `parameters`, whichever the format's template writes; the other key names none."""
    key = KEY[format].decode()
    other = {"arguments": "parameters", "parameters": "arguments"}[key]
    right, wrong = (json.dumps({"name": "f", of: {"a": 1}}).encode() for of in (key, other))
    assert view(format).read_calls(in_format(format, right, wrong)) == [ToolCall("f", {"a": 1}), None]
    both = [{"name": "f", key: {"a": 1}, other: {"a": 2}}, {other: {"a": 2}, key: {"a": 1}, "name": "f"}]
    text = in_format(format, *(json.dumps(call).encode() for call in both))
    assert view(format).read_calls(text) == [ToolCall("f", {"a": 1})] * 2


@pytest.mark.parametrize("format", KEY)
def test_keys_are_compared_decoded_and_the_last_one_wins(format):
    """P10: `"\\u006eame"` is the key `name`, for what is read and for the spans."""
    key = KEY[format].decode()
    texts = [
        f'{{"{escaped("name")}": "f", "{escaped(key)}": {{"a": 1}}}}',
        f'{{"name": "x", "{key}": {{}}, "\\u006eame": "f", "{key[0]}\\u{ord(key[1]):04x}{key[2:]}": {{"a": 1}}}}',
        f'{{"\\u006eame": "x", "{escaped(key)}": 3, "name": "f", "{key}": {{"a": 1}}}}',
    ]
    for text in texts:
        raw = in_format(format, text.encode())
        turn = get_format(format).parse(raw)
        assert get_format(format).read_calls(raw, turn) == [ToolCall("f", {"a": 1})]
        assert [(raw[slice(*call.name)], raw[slice(*call.arguments)]) for call in turn.calls] == [(b"f", b'{"a": 1}')]


keys = st.sampled_from(["name", "arguments", "parameters", "other"])
spelled = st.builds(lambda key, use: escaped(key) if use else key, keys, st.booleans())
members = st.tuples(
    spelled, st.sampled_from(['"f"', '"g"', "1", "{}", '{"a": 1}', '{"a": 1, "a": 2}', '{"name": "x"}'])
)


@examples(300)
@given(written=st.lists(members, max_size=6), format=st.sampled_from(sorted(KEY)))
def test_spans_and_values_are_those_of_a_json_parser(written, format):
    """P10: whatever keys repeat, in whatever spelling, a call is what JSON's own reader makes of the object."""
    text = "{" + ", ".join(f'"{key}": {value}' for key, value in written) + "}"
    if format == "llama3_json" and "name" not in json.loads(text):
        return
    raw = in_format(format, text.encode())
    turn = get_format(format).parse(raw)
    (span,), (call,) = turn.calls, get_format(format).read_calls(raw, turn)
    value = json.loads(text)
    name, arguments = value.get("name"), value.get(KEY[format].decode())
    assert (span.name and raw[slice(*span.name)].decode()) == (name if isinstance(name, str) else None)
    assert (span.arguments and json.loads(raw[slice(*span.arguments)])) == arguments
    readable = isinstance(name, str) and isinstance(arguments, dict)
    assert call == (ToolCall(name, arguments) if readable else None)


@pytest.mark.parametrize("format", KEY)
def test_the_usual_call_and_any_other_spelling_have_the_same_regions(format):
    """P10: the short cut for usual calls and the scanner agree, in turns labelled while they were put together."""
    parse = get_format(format).parse
    parts = RENDERERS[format]("t", [("f", {"a": 1})], "")
    text = text_of(parts)
    spelled_out = text.replace(b'"name"', b'"\\u006eame"')
    assert painted(parse(text), len(text)) == labels_of(parts)
    assert [spelled_out[slice(*call.arguments)] for call in parse(spelled_out).calls] == [b'{"a": 1}']

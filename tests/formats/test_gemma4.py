"""The format `gemma4`: what is where in a turn, which turns are legal, and which calls can be read."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples, size

from rest_verl.core.tool_calls import ToolCall
from rest_verl.formats.gemma4 import GEMMA4

VIEW = FormatView(GEMMA4)
parts = VIEW.parts
legal = VIEW.legal
read = VIEW.read_calls

THINK = "<|channel>thought\nt\n<channel|>"
CALL = '<|tool_call>call:f{a:1,b:<|"|>x<|"|>}<tool_call|>'
MARKERS = ["<|tool_call>", "call:", "<tool_call|>"]


def quoted(text):
    return f'<|"|>{text}<|"|>'


def block(arguments, name="f"):
    return f"<|tool_call>call:{name}{arguments}<tool_call|>"


def arguments_of(arguments):
    """Arguments of a call written with these, or None where it cannot be read."""
    (call,) = read(block("{" + arguments + "}"))
    return call and call.arguments


def test_a_turn_with_reasoning_text_and_two_call_blocks():
    first = f"{{city:{quoted('Zürich')},days:[1,2],units:{{name:{quoted('metric')}}}}}"
    text = f"{THINK}I look it up.\n{block(first, 'get_weather')}\r\n{block('{}', 'math.pi')}"
    assert parts(text) == (
        ["<|channel>thought", "<channel|>", *MARKERS, *MARKERS],
        ["\nt\n"],
        ["I look it up.\n"],
        [("get_weather", first, True), ("math.pi", "{}", True)],
    )


def test_the_spans_of_a_call_are_its_name_and_its_braces():
    (call,) = GEMMA4.parse(b"<|tool_call>call:f{a:1}<tool_call|>").calls
    assert (call.whole, call.name, call.arguments) == ((17, 23), (17, 18), (18, 23))


def test_plain_text_is_the_answer():
    assert parts("call:f{a:1} in Zürich <tool_call>") == ([], [], ["call:f{a:1} in Zürich <tool_call>"], [])


def test_white_space_between_blocks_is_no_answer():
    assert parts(f"{THINK}\n{CALL}\n \r\n{CALL}\n")[2] == []


@pytest.mark.parametrize(
    "arguments",
    [
        f"{{a:{quoted('}<tool_call|>{')},b:1}}",
        f"{{a:{quoted('<|tool_call>call:g{}<tool_call|>')}}}",
        f"{{a:{quoted('x, b:[{')},c:[{quoted(']}')}]}}",
        f"{{a:{quoted('')},b:{{}},c:[]}}",
        f"{{{quoted('a}:')}:1}}",
        f"{{\r\n  a: {quoted('<|channel>thought<channel|>')},\r\n  b : [ {quoted('}')} , 2 ]\r\n}}",
    ],
)
def test_markers_braces_and_commas_in_strings_are_text(arguments):
    assert parts(block(arguments) + CALL)[3][0] == ("f", arguments, True)
    assert len(parts(block(arguments) + CALL)[3]) == 2


@pytest.mark.parametrize("arguments", ['{a:say <|"|>hi<|"|>}', '{a:Paris, France<|"|>,b:1}', '{a:Tokyo<|"|>}'])
def test_a_quote_in_the_middle_of_a_value_opens_no_string(arguments):
    assert parts(block(arguments) + CALL)[3] == [("f", arguments, True), ("f", f"{{a:1,b:{quoted('x')}}}", True)]


def test_white_space_around_a_name_and_its_braces_belongs_to_nothing():
    text = "<|tool_call>\ncall: f {a:1}\n<tool_call|>"
    assert parts(text) == (MARKERS, [], [], [("f", "{a:1}", True)])
    assert legal(text, CALLS)


@pytest.mark.parametrize(
    ("text", "markers", "calls"),
    [
        ("<|tool_call>", 1, []),
        ("<|tool_call>cal", 1, []),
        ("<|tool_call>call:", 2, []),
        ("<|tool_call>call:get_wea", 2, [("get_wea", None, False)]),
        ("<|tool_call>call:f{", 2, [("f", "{", False)]),
        ("<|tool_call>call:f{a:[1,\n", 2, [("f", "{a:[1,", False)]),
        ('<|tool_call>call:f{a:<|"|>x} y \n', 2, [("f", '{a:<|"|>x} y', False)]),
        ('<|tool_call>call:f{a:<|"|>x<|"', 2, [("f", '{a:<|"|>x<|"', False)]),
        ("<|tool_call>call:f{a:1}", 2, [("f", "{a:1}", True)]),
        ("<|tool_call>call:f{a:1}<tool_", 2, [("f", "{a:1}", True)]),
    ],
)
def test_a_block_that_breaks_off_keeps_what_it_has(text, markers, calls):
    assert parts(text) == (MARKERS[:markers], [], [], calls)
    assert parts(CALL + text)[3][1:] == calls


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("{a:{b:1}", [("f", "{a:{b:1}", False)]),
        ("{a:1\n", [("f", "{a:1", False)]),
        ('{a:<|"|>x}', [("f", '{a:<|"|>x}', False)]),
        ("", [("f", None, False)]),
        (" a:1}", [("f", None, False)]),
        ("{}}", [("f", "{}", True)]),
        ("{a:1}call:g{}", [("f", "{a:1}", True), ("g", "{}", True)]),
    ],
)
def test_a_malformed_block_ends_at_its_closing_tag(text, calls):
    markers, _, response, found = parts(f"{block(text)}Done.{CALL}")
    assert (markers[-4:], response, found[:-1]) == (["<tool_call|>", *MARKERS], ["Done."], calls)
    assert parts(f"{block(text)}Done.")[2:] == (["Done."], calls)


def test_a_call_without_a_name_has_none():
    assert parts(block("{a:1}", name=""))[3] == [(None, "{a:1}", True)]


def test_a_call_inside_of_reasoning_is_reasoning():
    assert parts(f"<|channel>thought\n{CALL}<channel|>")[1:] == ([f"\n{CALL}"], [], [])


def test_reasoning_that_the_prompt_opened_ends_at_its_closing_tag():
    markers, think, _, calls = parts(f"I write {CALL} now<channel|>{block('{}', 'g')}")
    assert (markers, think, calls) == (["<channel|>", *MARKERS], [f"I write {CALL} now"], [("g", "{}", True)])


def test_a_reasoning_tag_in_a_string_of_a_call_closes_nothing():
    arguments = f"{{a:{quoted('x<channel|>')}}}"
    assert parts(block(arguments)) == (MARKERS, [], [], [("f", arguments, True)])


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (CALL, [CALLS]),
        (CALL + "\n" + CALL, [CALLS]),
        (THINK + CALL, [CALLS]),
        ("t\n<channel|>" + CALL, [CALLS]),
        (THINK + "I look it up.\n" + CALL, [CALLS, BOTH]),
        (CALL + "\nDone.", [CALLS, BOTH]),
        ("Done.", [ANSWER, NEITHER]),
        (THINK + "Done.", [ANSWER, NEITHER]),
        ("t<channel|>Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("", [NEITHER]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        THINK + THINK + CALL,
        "<|channel>thought\nt" + CALL,
        CALL + THINK,
        CALL[: -len("<tool_call|>")],
        CALL + "<tool_call|>",
        block(""),
        block("{a:1"),
        block("{a:1}}"),
        block('{a:<|"|>x}'),
        block("{a:1}", name=""),
        block("{a:1}call:g{}"),
        "<|tool_call>f{a:1}<tool_call|>",
        "<|tool_call><tool_call|>",
        "<|tool_call>call:<tool_call|>",
        "<|tool_call>so call:f{}<tool_call|>",
    ],
)
def test_a_turn_with_a_block_too_many_or_unclosed_or_without_its_call_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))
    assert not any(legal(text + CALL, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


def test_two_calls_in_one_block_are_not_made_good_by_an_empty_block():
    assert not legal(block("{}call:g{}") + "<|tool_call><tool_call|>", CALLS)
    assert not legal(block("{}call:g{}") + "<|tool_call>call:<tool_call|>", CALLS)


def test_calls_come_back_by_value_in_the_order_of_the_text():
    assert read(f"{CALL}{block('{}', 'math.pi')}") == [ToolCall("f", {"a": 1, "b": "x"}), ToolCall("math.pi", {})]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("a:true,b:false,c:null", {"a": True, "b": False, "c": None}),
        ("a:True,b:FALSE,c:Null", {"a": True, "b": False, "c": None}),
        ("a:-5,b:1.5e-7,c:2E3,d:0", {"a": -5, "b": 1.5e-7, "c": 2000.0, "d": 0}),
        (f"a:[1,[{quoted('b')},null],{{}}],c:[]", {"a": [1, ["b", None], {}], "c": []}),
        (f"a:{{b:{{c:[true]}},d:{quoted('e')}}}", {"a": {"b": {"c": [True]}, "d": "e"}}),
        ("a:" + quoted(' "x" \\n {[(,:)]}\r\n\tü '), {"a": ' "x" \\n {[(,:)]}\r\n\tü '}),
        (f"a:{quoted('5')},b:{quoted('true')},c:{quoted('')}", {"a": "5", "b": "true", "c": ""}),
        (f"{quoted('a:,}')}:1,{quoted('')}:2", {"a:,}": 1, "": 2}),
        (f"\r\n  a : {quoted('x')} ,\r\n  b: [ 1 , {quoted('y')} ]\r\n", {"a": "x", "b": [1, "y"]}),
        ("true:1,5:2,été:3,a b:4", {"true": 1, "5": 2, "été": 3, "a b": 4}),
        ("a:1,a:2", {"a": 2}),
        (f"a:{2**200}", {"a": 2**200}),
    ],
)
def test_values_are_read_in_gemmas_notation(arguments, values):
    assert arguments_of(arguments) == values


WORDS = ["San Francisco", "12:30", "https://example.org/?q=1", "a\nb", "it's", "rock 'n' roll", "f(x)"]
NO_NUMBERS = ["007", "+5", "1.", ".5", "1_000", "0x1F", "٣", "NaN", "Infinity", "None"]


@pytest.mark.parametrize("bare", [*WORDS, *NO_NUMBERS])
def test_a_bare_value_that_is_no_scalar_is_text(bare):
    assert arguments_of(f"a: {bare} ,b:1") == {"a": bare, "b": 1}


def test_a_bare_item_of_a_list_is_a_scalar_or_text():
    assert arguments_of("a:[San Francisco , 1,None,true]") == {"a": ["San Francisco", 1, "None", True]}


def test_values_keep_the_type_of_their_notation():
    assert [type(value) for value in arguments_of("a:1,b:1.0,c:1e2,d:true").values()] == [int, float, float, bool]


@pytest.mark.parametrize(
    "arguments",
    [
        "a",
        "a:",
        ":1",
        "a:1,",
        ",a:1",
        "a:1,,b:2",
        "a:,b:1",
        "a:[1,]",
        "a:[b:1]",
        "a:[12:30]",
        "a:[1}",
        "a:x{b:1}",
        "a:[1][2]",
        "[1]:2",
        f"a:{quoted('x')}y",
        f"a:{quoted('x')}{quoted('y')}",
        f"a:{quoted('x')} b:1",
        f"a:{quoted('say ' + quoted('hello') + '!')}",
        f"a{quoted('x')}",
        'a:Paris, France<|"|>,b:1',
        "a:" + "9" * size(100_000),
        "a:" + "[" * size(100_000) + "]" * size(100_000),
        "a:{" * size(100_000) + "}" * size(100_000),
    ],
    ids=lambda arguments: repr(arguments[:40]),
)
def test_arguments_with_keys_values_or_commas_out_of_place_are_none(arguments):
    assert read(block("{" + arguments + "}")) == [None]


@pytest.mark.parametrize("name", [b"", b"\xff", b"\xed\xa0\x80"])
def test_a_call_without_a_readable_name_is_none(name):
    assert read(b"<|tool_call>call:" + name + b"{a:1}<tool_call|>" + CALL.encode())[0] is None


@pytest.mark.parametrize("value", [b"\xff", b'<|"|>\xed\xa0\x80<|"|>'])
def test_arguments_that_are_no_utf_8_are_none(value):
    assert read(b"<|tool_call>call:f{a:" + value + b"}<tool_call|>") == [None]


def test_a_call_that_is_not_closed_is_none():
    assert read(f"{CALL}{block('{a:1')}{block('')}") == [ToolCall("f", {"a": 1, "b": "x"}), None, None]


TEXTS = [b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b'<|"|>', b'<|"', b"a", b"1", b"true", b"-", b"\0"]
TAGS = [b"call:", b"call:f{", b"<|tool_call>", b"<tool_call|>", b"<|channel>thought", b"<channel|>"]
fragments = st.sampled_from([*TEXTS, *TAGS])


@examples(300)
@given(text=st.lists(fragments | st.binary(max_size=3), max_size=40).map(b"".join))
def test_any_bytes_in_a_block_are_parsed_and_read(text):
    text = b"<|tool_call>call:f{" + text
    VIEW.assert_apart_and_readable(text)


OPEN = b"<|tool_call>call:f{"
HOSTILE = {
    "opening tags": b"<|tool_call>" * size(100_000),
    "closing tags": b"<tool_call|>" * size(100_000),
    "calls": CALL.encode() * 20_000,
    "open calls": OPEN * size(100_000),
    "open strings": (OPEN + b'a:<|"|>') * 60_000,
    "open strings in blocks": (OPEN + b'a:<|"|>x}<tool_call|>') * size(50_000),
    "names": b"<|tool_call>" + b"call: " * size(100_000),
    "one name": b"<|tool_call>" + b"call:" * size(100_000),
    "braces": OPEN + b"{" * size(100_000) + b"}" * (size(100_000) + 1),
    "brackets": OPEN + b"a:" + b"[" * size(100_000) + b"]" * size(100_000) + b"}",
    "quotes": OPEN + b'a:<|"|>' + b'<|"|>' * (size(100_000) + 1) + b"}",
    "strings": OPEN + b'a:<|"|><|"|>,' * size(50_000) + b"}",
    "half quotes": OPEN + b'a:<|"|>' + b'<|"' * size(100_000) + b"}<tool_call|>",
    "closing tags in a string": OPEN + b'a:<|"|>' + b"<tool_call|>" * size(100_000) + b'<|"|>}<tool_call|>',
    "colons": OPEN + b"a" + b":" * size(100_000) + b"{}}",
    "commas": OPEN + b"," * size(100_000) + b"}",
    "white space": OPEN
    + b"a:"
    + b" " * size(100_000)
    + b"{"
    + b" " * size(100_000)
    + b"}"
    + b" " * size(100_000)
    + b"}",
    "opening thoughts": b"<|channel>thought" * size(100_000),
    "closing thoughts": b"<channel|>" * size(100_000),
    "nulls": OPEN + b"\0" * size(1_000_000) + b"}",
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    turn = GEMMA4.parse(text)
    spans = turn.markers + turn.think + turn.response + [call.whole for call in turn.calls]
    assert sum(end - start for start, end in spans) <= len(text)
    assert not GEMMA4.is_legal(text, turn, ANSWER)
    assert len(GEMMA4.read_calls(text, turn)) == len(turn.calls)


def test_the_token_that_ends_a_turn_is_a_marker_and_no_answer():
    assert parts("Done.<turn|>") == (["<turn|>"], [], ["Done."], [])
    assert parts("<turn|>, I said") == ([], [], ["<turn|>, I said"], [])
    assert legal("Done.<turn|>", ANSWER) and not legal("<turn|>", ANSWER)

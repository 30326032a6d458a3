"""The format `pythonic`: what is where in a turn, and which turns are legal."""

import pytest
from format_view import ANSWER, BOTH, CALLS, NEITHER, FormatView
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples, size

from rest_verl.formats.pythonic import PYTHONIC

VIEW = FormatView(PYTHONIC)
parts = VIEW.parts
legal = VIEW.legal
read = VIEW.read_calls

THINK = "<think>\nt\n</think>\n\n"
CALL = 'f(a=1, b="x")'
START, END = "<|python_start|>", "<|python_end|>"


def calls_of(text):
    return parts(text)[3]


def test_a_turn_with_reasoning_and_a_list_of_calls():
    calls = 'get_weather(city="Zürich", days=[1, 2]),\r\n  no_arguments(), math.factorial(n=-5) '
    assert parts(f"{THINK}[{calls}]\n") == (
        ["<think>", "</think>", "[", ",", ",", "]"],
        ["\nt\n"],
        [],
        [
            ("get_weather", '(city="Zürich", days=[1, 2])', True),
            ("no_arguments", "()", True),
            ("math.factorial", "(n=-5)", True),
        ],
    )


def test_the_spans_of_a_call_are_its_name_and_its_parentheses():
    turn = PYTHONIC.parse(b"[f(a=1), g.h()]")
    assert [(call.whole, call.name, call.arguments) for call in turn.calls] == [
        ((1, 7), (1, 2), (2, 7)),
        ((9, 14), (9, 12), (12, 14)),
    ]
    assert turn.markers == [(0, 1), (7, 8), (14, 15)]


def test_text_behind_the_list_is_the_answer():
    assert parts(f"[{CALL}]\nDone [g()].") == (["[", "]"], [], ["\nDone [g()]."], [("f", '(a=1, b="x")', True)])


@pytest.mark.parametrize(
    "text",
    [
        "It rains in Zürich.",
        f"I look it up: [{CALL}]",
        CALL,
        "[]",
        "[1, f()]",
        "[see f (a=1)]",
        "[see f(a)]",
        "[f (a=1)]",
        "[link](https://example.org)",
        "[note (1)]",
        "['f(a=1)']",
        "[[f()]]",
        '{"name": "f"}',
    ],
)
def test_text_that_does_not_begin_with_a_list_of_calls_is_the_answer(text):
    assert parts(text) == ([], [], [text], [])
    assert parts(THINK + text) == (["<think>", "</think>"], ["\nt\n"], ["\n\n" + text], [])


def test_the_answer_is_what_stands_outside_of_the_reasoning():
    assert parts("a<think>b</think>[f()]") == (["<think>", "</think>"], ["b"], ["a", "[f()]"], [])


@pytest.mark.parametrize("text", [f"{START}[{CALL}]{END}", f" \n{START}\n[{CALL}]\n{END}\n"])
def test_the_tags_that_llama_4_writes_around_the_list_are_markers(text):
    assert parts(text) == ([START, "[", "]", END], [], [], [("f", '(a=1, b="x")', True)])


def test_the_tags_of_llama_4_hold_nothing_but_a_list_of_calls():
    assert parts(f"{START}print(1){END}") == ([START, END], [], ["print(1)"], [])


@pytest.mark.parametrize(
    ("text", "markers", "calls"),
    [
        ("[", ["["], []),
        ("[\n ", ["["], []),
        ("[get_wea", ["["], [("get_wea", None, False)]),
        ("[math.", ["["], [("math.", None, False)]),
        ("[f(", ["["], [("f", "(", False)]),
        ("[f(a=1, \n", ["["], [("f", "(a=1,", False)]),
        ('[f(a="x)]', ["["], [("f", '(a="x)]', False)]),
        ("[f(a='''x\n)]\n", ["["], [("f", "(a='''x\n)]", False)]),
        ("[f()", ["["], [("f", "()", True)]),
        ("[f(), ", ["[", ","], [("f", "()", True)]),
        ("[f(), get_wea", ["[", ","], [("f", "()", True), ("get_wea", None, False)]),
        ("[f(), g(a=", ["[", ","], [("f", "()", True), ("g", "(a=", False)]),
        (START, [START], []),
        (START + "[get", [START, "["], [("get", None, False)]),
    ],
)
def test_a_list_that_breaks_off_keeps_what_it_has(text, markers, calls):
    for thought in ("", THINK):
        found = parts(thought + text)
        assert (found[0][-len(markers) :], found[2], found[3]) == (markers, [], calls)


@pytest.mark.parametrize(
    "arguments",
    [
        "(a=')]', b=\")]\")",
        r"(a='it\'s )', b='\\')",
        r'(a="a\")", b="(")',
        "('''it's \")\n]''')",
        '("""a "quoted" )\n""", b="")',
        r"(a=r'\d\')', b=')')",
        "(a='x\\\n)', b=1)",
        "(a='x\\\r\n)', b=1)",
        "(a=[(1, {2: ']'}), ()], b={'(': {}})",
        "(a=g(b=1), c=h())",
        '(a="<think>", b="[f()]")',
        "(a='東京)')",
    ],
)
def test_strings_and_brackets_in_the_arguments_are_part_of_them(arguments):
    assert calls_of(f"[f{arguments}, g()]") == [("f", arguments, True), ("g", "()", True)]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f(a='x), g()\n, b=1), h()]", [("f", "(a='x), g()\n, b=1)", True), ("h", "()", True)]),
        ("[f(a='x), g()\r, b=1), h()]", [("f", "(a='x), g()\r, b=1)", True), ("h", "()", True)]),
        ("[f(a=1], g()", [("f", "(a=1", False)]),
        ("[f(a=[1), g()]", [("f", "(a=[1)", True), ("g", "()", True)]),
        ("[f(a=1)) , g()]", [("f", "(a=1)", True), ("g", "()", True)]),
        ("[f() g()]", [("f", "()", True), ("g", "()", True)]),
        ("[f(), 3, [x, (y)], g()]", [("f", "()", True), ("g", "()", True)]),
        ("[f(), get it, g()]", [("f", "()", True), ("get", None, False), ("g", "()", True)]),
        ("[f(), 'g(', h()]", [("f", "()", True), ("h", "()", True)]),
    ],
)
def test_malformed_lists_keep_the_calls_that_can_be_told(text, calls):
    assert calls_of(text) == calls


def test_a_call_inside_of_reasoning_is_reasoning():
    reasoning = "Either [f(a=1)] or"
    assert parts(f"<think>{reasoning}") == (["<think>"], [reasoning], [], [])
    assert parts(f"<think>{reasoning}</think>[g()]")[1:] == ([reasoning], [], [("g", "()", True)])


def test_reasoning_that_the_prompt_opened_ends_at_its_closing_tag():
    draft = "I could write [draft()] but"
    assert parts(f"{draft}</think>\n[f()]") == (["</think>", "[", "]"], [draft], [], [("f", "()", True)])


def test_a_turn_that_begins_with_a_call_began_outside_of_reasoning():
    assert parts("[f(a='</think>")[1:] == ([], [], [("f", "(a='</think>", False)])
    assert parts("[f(a='</think>')]")[1:] == ([], [], [("f", "(a='</think>')", True)])


def test_a_think_tag_in_a_string_of_a_call_closes_nothing():
    assert parts('[f(a="x</think>")]') == (["[", "]"], [], [], [("f", '(a="x</think>")', True)])


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (f"[{CALL}]", [CALLS]),
        (f" [ {CALL} ,\r\n g( ) ]\n", [CALLS]),
        (f"{THINK}[{CALL}]", [CALLS]),
        (f"t</think>[{CALL}]", [CALLS]),
        (f"{START}[{CALL}]{END}", [CALLS]),
        (f"{START}[{CALL}]", [CALLS]),
        (f"{THINK}{START}[{CALL}]{END}", [CALLS]),
        ("Done.", [ANSWER, NEITHER]),
        ("[]", [ANSWER, NEITHER]),
        (f"{THINK}Done.", [ANSWER, NEITHER]),
        ("t</think>Done.", [ANSWER, NEITHER]),
        (THINK, [NEITHER]),
        ("", [NEITHER]),
    ],
)
def test_a_legal_turn_fits_exactly_these_kinds(text, kinds):
    assert [kind for kind in (CALLS, ANSWER, BOTH, NEITHER) if legal(text, kind)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        f"[{CALL}] Done.",
        f"[{CALL}]\n[{CALL}]",
        f"[{CALL}]]",
        f"{THINK}{THINK}[{CALL}]",
        f"<think>t[{CALL}]",
        "<think>t",
        "Done.<think>t</think><think>",
        "[",
        f"[{CALL}",
        f"[{CALL[:-1]}]",
        f"[{CALL}, ",
        f"[{CALL}, g]",
        f"[{CALL} {CALL}]",
        f"[{CALL},, {CALL}]",
        f"[{CALL},]",
        f"[{CALL}, 3]",
        f"[{CALL}; {CALL}]",
        f"[{CALL}]{END}",
        f"{START}[{CALL}{END}]",
        f"{START}Done.{END}",
    ],
)
def test_a_turn_with_more_or_less_than_a_closed_list_of_calls_or_an_answer_is_never_legal(text):
    assert not any(legal(text, kind) for kind in (CALLS, ANSWER, BOTH, NEITHER))


def test_a_comma_that_is_missing_is_not_made_good_by_one_elsewhere():
    assert not legal("[f() g(),]", CALLS)


TEXTS = [*(bytes([byte]) for byte in b"[](){}'\"\\,=.:-\n\r \0#*"), b'"""', b"f", b"f(", b"a=1", b"True", b"1e9"]
TAGS = [b"<think>", b"</think>", START.encode(), END.encode()]
fragments = st.sampled_from([*TEXTS, *TAGS])


@examples(300)
@given(text=st.lists(fragments | st.binary(max_size=3), max_size=40).map(b"".join))
def test_any_bytes_behind_a_call_are_parsed_and_read(text):
    text = b"[f(a=1" + text
    VIEW.assert_apart_and_readable(text)


HOSTILE = {
    "opening brackets": b"[" * size(100_000),
    "open calls": b"[f(" * size(100_000),
    "parentheses": b"[f(" + b"(" * size(100_000),
    "brackets": b"[f(" + b"[" * size(100_000),
    "braces": b"[f(a=" + b"{" * size(100_000),
    "lists": b"[f()]" * size(100_000),
    "calls": b"[f()" + b", f()" * 20_000 + b"]",
    "names": b"[f()" + b", f" * size(100_000),
    "long name": b"[" + b"f." * size(100_000),
    "call with a long name": b"[" + b"f." * 30_000 + b"f()]",
    "words": b"[f() " + b"f." * size(100_000) + b" " + b"f " * size(100_000),
    "commas": b"[f()" + b"," * size(100_000),
    "white space": b" " * size(100_000) + b"[f()" + b" " * size(100_000) + b"x",
    "quotes": b"[f(a=" + b'"' * (size(100_000) + 1),
    "single quotes": b"[f(a=" + b"'\n" * (size(100_000) + 1),
    "triple quotes": b"[f(a=" + b"'''" * (size(100_000) + 1),
    "backslashes": b'[f(a="' + b"\\" * (size(1_000_000) + 1),
    "opening tags": b"<think>" * size(100_000),
    "closing tags": b"</think>" * size(100_000),
    "calls before a closing tag": b"[f(" * size(100_000) + b"</think>",
    "tags of llama 4": START.encode() * size(100_000),
    "nulls": b"[f(" + b"\0" * size(1_000_000),
}


@pytest.mark.soon
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_parsed_judged_and_read(text):
    turn = PYTHONIC.parse(text)
    assert sum(end - start for start, end in turn.markers + turn.think + turn.response) <= len(text)
    assert sum(call.whole[1] - call.whole[0] for call in turn.calls) <= len(text)
    assert not PYTHONIC.is_legal(text, turn, BOTH)
    assert len(PYTHONIC.read_calls(text, turn)) == len(turn.calls)

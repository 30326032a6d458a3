"""Text that begins like a call of its format is a malformed call, never an answer (R10)."""

import json

import pytest
from format_view import ANSWER, CALLS
from hypothesis import given
from hypothesis import strategies as st
from parts import FORMAT, NAME, text_of
from render import CALLS_OR_ANSWER, RENDERERS
from rewards import THINK, reward, strict
from rewards import score as scored
from tiers import examples

from rest_verl.formats import get_format

FORMATS = sorted(RENDERERS)
SAID = THINK + "<response> It rains. </response>"  # a ground truth without a call


def is_answer(format, text):
    """Whether a turn is a legal answer, or exact where no call is due, or earns anything under `strict`."""
    wire_format = get_format(format)
    turn = wire_format.parse(text)
    legal = wire_format.is_legal(text, turn, ANSWER)
    score, acc = strict(text, SAID, format)
    return legal or acc > 0 or score > -4


ENDS_OF_TEXT = (b"</think>", b"</seed:think>", b"[/THINK]", b"<channel|>", b"<|end|>")
MANY = [("get_weather", {"city": "Zürich", "days": [3, {"name": "x"}]}), ("f", {}), ("g.h", {"a": 'b "c" </d>\n'})]


@pytest.mark.parametrize("calls", [MANY, MANY[:1], MANY[1:2]], ids=["many", "one", "without arguments"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_turn_cut_after_its_first_byte_of_a_call_is_no_answer(format, calls):
    """R10: every proper prefix that has begun its call markup is neither a legal answer nor exact."""
    answers = [""] if format in CALLS_OR_ANSWER or format == "rlla" else ["", "I look it up."]
    for answer in answers:
        parts = RENDERERS[format]("t", calls, answer)
        name = next(number for number, (_, region) in enumerate(parts) if region == NAME)
        ends = [number for number in range(name) if parts[number][0] in ENDS_OF_TEXT]
        first = next(number for number in range(max(ends, default=-1) + 1, name) if parts[number][1] == FORMAT)
        begin = sum(len(part) for part, _ in parts[:first])
        text = text_of(parts)
        for cut in range(begin + 1, len(text)):
            assert not is_answer(format, text[:cut]), text[:cut]


OTHER_FORMS = {
    "llama3_json": [
        '{"name": "f", "parameters": {"a": 1}}',
        '[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}]',
    ],
    "pythonic": ["<|python_start|>[f(a=1), g()]<|python_end|>", "\n[f()]"],
    "mistral": [
        '[TOOL_CALLS][{"name": "f", "arguments": {}}]',
        '[TOOL_CALLS]{"name": "f", "arguments": {}}',
        "[TOOL_CALLS]f[CALL_ID]1[ARGS]{}",
    ],
    "hermes": ['Well.<tool_call>{"name": "f", "arguments": {}}</tool_call>'],
}


@pytest.mark.parametrize(
    ("format", "text"), [(format, text) for format in OTHER_FORMS for text in OTHER_FORMS[format]]
)
def test_a_cut_call_in_any_form_of_its_format_is_no_answer(format, text):
    """R10: formats with several forms of a call keep the rule in each of them."""
    begin = next(number for number, letter in enumerate(text) if letter in "<[{")
    for cut in range(begin + 1, len(text)):
        assert not is_answer(format, text[:cut].encode()), text[:cut]


BROKEN = {
    "hermes": [
        "<tool_call>",
        "< tool_call >",
        "<tool_call {",
        "</tool_call>",
        '{"name": "f", "arguments": {}}',
        "<tool_call></tool_call>",
        '```json\n{"name": "f", "arguments": {"a": 1}}\n```',
    ],
    "rlla": [
        "<tool_call>",
        "</tool_call>",
        '<tool_call>{"name": "f", "parameters": {}}</tool_call>',
        '{"name": "f", "parameters": {}}',
    ],
    "qwen3_coder": [
        "<function=f>",
        "<function=f>\n</function>",
        "</function>",
        "<parameter=a>1</parameter>",
        "<tool_call>\nf\n</tool_call>",
        "< function = f>",
        "</tool_call>",
        "</parameter>",
    ],
    "seed": ["<seed:tool_call>", "<function=f></function>", "<seed:tool_call >", "</seed:tool_call>"],
    "minimax": [
        '<invoke name="f"></invoke>',
        "<minimax:tool_call>",
        "</invoke>",
        '<parameter name="a">1</parameter>',
        "</minimax:tool_call>",
    ],
    "deepseek_v4": [
        '<｜DSML｜invoke name="f"></｜DSML｜invoke>',
        "<｜DSML｜tool_calls>",
        "</｜DSML｜tool_calls>",
        "< ｜DSML｜tool_calls >",
    ],
    "glm": [
        "<tool_call>",
        "<arg_key>a</arg_key><arg_value>1</arg_value>",
        "f\n<arg_key>a</arg_key>",
        "</arg_value>",
        "</tool_call>",
    ],
    "kimi": [
        "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
        "<|tool_call_end|>",
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_begin|><|tool_calls_section_end|>",
        "<| tool_call_begin |>",
    ],
    "mistral": [
        "[TOOL_CALLS]",
        "[ARGS]{}",
        "f[ARGS]{}",
        "[CALL_ID]1",
        "[TOOL_CALLS ]f",
        '{"name": "f", "arguments": {}}',
        "[TOOL_CALLS][]",
    ],
    "gemma4": [
        "call:f{a:1}",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_call>call:<tool_call|>",
        "<| tool_call >call:f{}",
        "call: f {}",
    ],
    "llama3_json": [
        "<|python_tag|>",
        '<|python_tag|>search.call(query="x")',
        'I call {"name": "f", "parameters": {}}',
        "<|python_tag |>",
        '```json\n{"name": "f", "parameters": {}}\n```',
    ],
    "pythonic": [
        "I call [f(a=1)]",
        "[1] [f()]",
        "f(a=1)",
        'f(a=1), g(b="x")',
        "```\n[f(a=1)]\n```",
        "```python\nf(a=1)\n```",
        "<|python_start|>",
        "<|python_end|>",
        "<|python_start|>print(1)<|python_end|>",
        "say [f(from='x')]",
        "[ f(user-id=1)] is it",
    ],
    "gpt-oss": [
        "commentary to=functions.f <|constrain|>json<|message|>{}",
        "to=functions.f",
        "<|call|>",
        "<|constrain|>json",
        "<|channel|>final<|message|>to=functions.f {}",
        "<|channel|>commentary<|message|>x<|end|><|start|>assistant<|channel|>commentary",
    ],
}
SAYS = {"rlla": THINK + "<response>{}</response>", "gpt-oss": "{}"}


@pytest.mark.parametrize(("format", "markup"), [(format, text) for format in BROKEN for text in BROKEN[format]])
def test_markup_of_calls_that_holds_no_call_is_no_answer(format, markup):
    """R10: alone, at the end and in the middle of an answer; one rule for all formats."""
    says = SAYS.get(format, "{}")
    texts = [says.format(markup)] if format == "gpt-oss" else []
    if format not in ("gpt-oss", "pythonic", "llama3_json"):
        texts = [
            says.format(text) for text in (markup, f"It is so. {markup}", f"Well, {markup} it is.", f"\n{markup}\n")
        ]
    if format in ("pythonic", "llama3_json"):
        texts = [markup]
    for text in texts:
        assert not is_answer(format, text.encode()), text


ANSWERS = [
    "It rains.",
    "Use [1] and [note (1)].",
    "f(x) = 2x is a function.",
    "a < b and c > d",
    "{'a': 1}",
    '{"rain": true}',
    "<b>bold</b>",
    "[link](https://example.org)",
    "Call me: maybe.",
    "The name of the tool is get_weather.",
    '{"name": "Bob", "age": 3}',
    "a: [b",
    "1 <2",
    "if (a) { b(); }",
    "print(x) prints x.",
    "see f(a=1)",
    "x[0](y)",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("format", FORMATS)
def test_an_answer_that_holds_no_markup_stays_an_answer(format, answer):
    """R10, the other side: brackets, code, JSON and names of tools are text. In llama3_json an object with a name that
    is the whole turn is a call."""
    if format == "llama3_json" and answer.startswith('{"name"'):
        return
    text = text_of(RENDERERS[format]("t", [], answer))
    assert strict(text, SAID, format) == (4.0, 1.0)


@pytest.mark.parametrize("format", FORMATS)
@examples(100)
@given(answer=st.text("ab1 .,:;!?()\n'\"", min_size=1).filter(str.strip))
def test_prose_is_an_answer_in_every_format(format, answer):
    """R10, the other side: text without any bracket of markup is never taken for a call but for a bare one."""
    text = text_of(RENDERERS[format]("t", [], answer))
    bare = format == "pythonic" and answer.strip().endswith(")")
    assert bare or strict(text, SAID, format) == (4.0, 1.0)


def test_markup_in_an_answer_next_to_calls_is_illegal_too():
    """R10: what looks like a call and is none is illegal wherever it stands."""
    call = "<tool_call>\n<function=f>\n</function>\n</tool_call>"
    for said, legal in (("I call it.", True), ("I write <function=g>.", False)):
        raw = f"{said}\n{call}".encode()
        wire_format = get_format("qwen3_coder")
        assert wire_format.is_legal(raw, wire_format.parse(raw), CALLS) == legal


def test_a_malformed_call_counts_as_a_call_that_cannot_be_read():
    """R10: it is one of the calls of the response, and parse_ok is 0."""
    found = scored(["<function=f></function>"], SAID, "strict", wire_format="qwen3_coder")
    assert (found["calls"], found["parse_ok"], found["acc"]) == (1.0, 0.0, 0.0)
    response = reward("strict").read([b"It rains.", b"<function=f>"], get_format("qwen3_coder"))
    assert (list(response.calls), json.dumps(response.answered)) == ([None], "true")

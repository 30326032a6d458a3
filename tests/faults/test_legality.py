"""What is legal: the separators of calls, tags that are merely named, white space around, and calls that are none."""

from functools import cache

import bfcl_calls
import pytest
from parts import text_of
from render import CALLS_OR_ANSWER, RENDERERS
from rewards import THINK, block, strict
from rewards import score as scored
from shared_data import SHARED
from tiers import in_full

from rest_verl.data.rlla import read_rlla
from rest_verl.data.rows import turn_of_calls
from rest_verl.reward.truth import read_ground_truth

FORMATS = sorted(RENDERERS)
SAID = THINK + "<response> It rains. </response>"  # a ground truth without a call
TRACES = ("rlla_test.parquet", "rlla_sft_200.json")
needs_bfcl = pytest.mark.skipif(bfcl_calls.MISSING is not None, reason=str(bfcl_calls.MISSING))
needs_traces = pytest.mark.skipif(not SHARED.is_dir(), reason="ToolRL's rows are not part of this project")


@needs_bfcl
@pytest.mark.parametrize("format", FORMATS)
def test_each_ground_truth_of_bfcl_gets_the_maximum_in_any_format(format):
    """R1: the right calls, as the format's template writes them, earn all under `strict`; in full with `--all`."""
    asked = bfcl_calls.single_turn()
    for turn in in_full(bfcl_calls.sample(asked, turns=8, first=3), asked):
        for thought in ("", "I call it.") if format != "rlla" else ("I call it.",):
            text = text_of(RENDERERS[format](thought, turn.calls, ""))
            assert strict(text, turn_of_calls(turn.calls), format) == (4.0, 1.0), text


@cache
def traces():
    """The ground truths of ToolRL's rows, with the reasoning that their authors recorded."""
    return [row["reward_model"]["ground_truth"] for name in TRACES for row in read_rlla(SHARED / name)]


@needs_traces
def test_each_trace_of_rlla_gets_the_maximum_against_itself():
    """R2: six of these 280 name a tag in their reasoning or in an argument."""
    assert [truth for truth in traces() if strict(truth, truth, "rlla") != (4.0, 1.0)] == []


@needs_traces
@pytest.mark.parametrize("format", FORMATS)
def test_each_ground_truth_of_rlla_gets_the_maximum_in_any_format(format):
    """R1: the calls and answers of ToolRL's rows; names that are no identifiers are another matter."""
    seen = 0
    for truth in traces()[:: in_full(7, 1)]:
        due = read_ground_truth(truth)
        calls = [(call.name, call.arguments) for call in due.calls]
        if not all(part.isidentifier() for name, _ in calls for part in name.split(".")):
            continue
        if any('"' in key for _, arguments in calls for key in arguments):  # one row's, which no tag can hold
            continue
        if due.kind.calls and due.kind.answer and format in CALLS_OR_ANSWER:
            continue
        text = text_of(RENDERERS[format]("So.", calls, "It is done." if due.kind.answer else ""))
        assert strict(text, truth, format) == (4.0, 1.0), text
        seen += 1
    assert seen > 10


TWO = [("f", {"a": 1}), ("g", {"b": "x"})]
F, G = '{"name": "f", "KEY": {"a": 1}}', '{"name": "g", "KEY": {"b": "x"}}'
ARRANGED = {
    "pythonic": [
        '[f(a=1), g(b="x")]',
        '[f(a=1),\n g(b="x")]',
        "[\n\tf(a=1) ,\r\n\tg(b='x')\n]\n",
        "<think>t</think>\n\n[f(a=1),g(b='x')]",
        "<|python_start|>[f(a=1), g(b='x')]<|python_end|>",
    ],
    "llama3_json": [
        f"{F}; {G}",
        f"{F};{G}",
        f"{F}\n{G}",
        f"[{F}, {G}]",
        f"[\n{F},\n{G}\n]",
        f"<|python_tag|>{F}; {G}<|eom_id|>",
    ],
    "mistral": [
        f"[TOOL_CALLS][{F}, {G}]",
        f"[TOOL_CALLS] [\n{F},\n{G}\n]\n",
        f"[TOOL_CALLS]{F}\n[TOOL_CALLS]{G}",
        '[TOOL_CALLS]f[ARGS]{"a": 1}\n[TOOL_CALLS]g[ARGS]{"b": "x"}',
        '[TOOL_CALLS]f{"a": 1}[TOOL_CALLS]g {"b": "x"}',
    ],
    "hermes": [
        f"<tool_call>{F}</tool_call><tool_call>{G}</tool_call>",
        f"\n<tool_call>\n{F}\n</tool_call>\n\n<tool_call>\n{G}\n</tool_call>\n",
    ],
    "rlla": [
        THINK + block(F, G),
        THINK + block(F, "", G),
        THINK + block(f"{F} {G}"),
        THINK + block(f"  {F}", f"  {G}  "),
    ],
    "kimi": [
        "<|tool_calls_section_begin|>\n"
        '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>\n'
        '<|tool_call_begin|> functions.g:1 <|tool_call_argument_begin|> {"b": "x"} <|tool_call_end|>\n'
        "<|tool_calls_section_end|>"
    ],
    "gemma4": ['<|tool_call>call:f{a:1}<tool_call|>\n<|tool_call>call:g{b:<|"|>x<|"|>}<tool_call|>'],
    "glm": [
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>\n"
        "<tool_call>g<arg_key>b</arg_key><arg_value>x</arg_value></tool_call>"
    ],
    "qwen3_coder": [
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n\n"
        "<function=g>\n<parameter=b>\nx\n</parameter>\n</function>\n</tool_call>\n"
    ],
}


@pytest.mark.parametrize(("format", "text"), [(format, text) for format in ARRANGED for text in ARRANGED[format]])
def test_what_stands_between_calls_is_structure(format, text):
    """R1: commas, semicolons, brackets, markers and white space between calls are no stray text."""
    text = text.replace("KEY", "arguments" if format in ("hermes", "mistral") else "parameters")
    assert strict(text, turn_of_calls(TWO), format) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("pythonic", "[f(a=1) g(b='x')]"),
        ("pythonic", "[f(a=1),, g(b='x')]"),
        ("pythonic", "[f(a=1), g(b='x'),]"),
        ("pythonic", "[f(a=1); g(b='x')]"),
        ("pythonic", "[f(a=1), g(b='x')] Done."),
        ("mistral", f"[TOOL_CALLS][{F} {G}]".replace("KEY", "arguments")),
        ("rlla", THINK + block(F, "and", G).replace("KEY", "parameters")),
        ("rlla", THINK + block(F + ",", G).replace("KEY", "parameters")),
    ],
)
def test_what_is_no_separator_between_calls_stays_illegal(format, text):
    """R1, the other side: only one comma between two calls, and no word."""
    assert strict(text, turn_of_calls(TWO), format)[0] == -4.0


A = '{"name": "a", "parameters": {}}'
TRUTH = THINK + block(A)
TAGS = ["<tool_call>", "</tool_call>", "<think>", "<response>", "</response>", "<tool_call></tool_call>"]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_that_reasoning_names_is_text_under_strict(tag):
    """R2: the inside of reasoning is reasoning, whatever it names."""
    for thought in (f"I write {tag} now", tag, f"\n{tag}\n{A}\n"):
        assert strict(f"<think>{thought}</think>\n" + block(A), TRUTH, "rlla") == (4.0, 1.0)
        assert strict(f"<think>{thought}</think>\n<response> r </response>", SAID, "rlla") == (4.0, 1.0)


@pytest.mark.parametrize("tag", [*TAGS, "</think>", "<think></think>"])
def test_a_tag_in_an_argument_is_text_under_strict(tag):
    """R2: the inside of a call is the call."""
    for value in (tag, f"a {tag} b", f"\n{tag}\n"):
        calls = [("write", {"text": value, "list": [{tag: 1}]}), ("f", {})]
        assert strict(turn_of_calls(calls), turn_of_calls(calls), "rlla") == (4.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        block(A),
        THINK + THINK + block(A),
        THINK + block(A) + "\n" + block(A),
        THINK + "Noise.\n" + block(A),
        THINK + block(A) + "</tool_call>",
        THINK + block(A).removesuffix("</tool_call>"),
        THINK + block(A) + "\n<response> r </response>",
        THINK + block(""),
        THINK + "\n" + block(A),
        "<think> t\n" + block(A),
        "<think> t </think> Noise. </think>\n" + block(A),
    ],
)
def test_a_tag_too_many_outside_of_text_stays_illegal(text):
    """R2, the other side: legality goes by the blocks that the parse finds, each exactly once."""
    assert scored([text], TRUTH, "strict", step=150)["legal"] == 0.0


@pytest.mark.parametrize("preset", ["paper", "toolrl", "strict"])
@pytest.mark.parametrize("space", [" ", "\n", "\n\n", "\t \r\n", "\u00a0", "\u2003\n"])
def test_white_space_around_a_response_is_legal_in_rlla(preset, space):
    """R3: both references strip the response before they look at it, Unicode's white space too."""
    for text, truth in ((TRUTH, TRUTH), (THINK + "<response> r </response>", SAID)):
        best = scored([text], truth, preset, step=150)["score"]
        for padded in (space + text, text + space, space + text + space):
            found = scored([padded], truth, preset, step=150)
            assert (found["score"], found["legal"], found["acc"]) == (best, 1.0, 1.0)

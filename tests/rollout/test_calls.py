"""What a rollout reads: the environment that a row names, the calls in the ids of a turn, and text of tools and users
in front of a tokenizer."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, make_loop

from rest_verl.formats import get_format
from rest_verl.rollout.calls import MAX_DEPTH, read_calls
from rest_verl.rollout.safe_text import cut, first_line, safe_message, safe_text, text_of_error
from rest_verl.rollout.settings import settings_of


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"environment": "dsek", "environment_kwargs": "{}"}, "unknown environment 'dsek': did you mean 'desk'"),
        ({"environment": "desk", "environment_kwargs": '{"speed": 1}'}, "index=7: environment 'desk'.*speed"),
        ({"environment": "desk", "environment_kwargs": "[1]"}, "Set it to a JSON object"),
        ({"environment": "desk", "environment_kwargs": "{"}, "Set it to a JSON object"),
    ],
)
def test_a_wrong_row_raises_what_is_wrong_with_it(start, info, message):
    async def run():
        await start(["ok"], **{"index": 7} | info)[1]

    with pytest.raises(ValueError, match=message):
        asyncio.run(run())


@pytest.mark.parametrize("info", [{}, {"environment": None, "environment_kwargs": None}])
def test_a_row_without_an_environment_runs_without_one(play, info):
    played = play(["ok"], desk=None, **info)
    assert "rest_environment" not in played.fields and played.ended_by == ["ended_by/done"]


def test_an_environment_without_keyword_arguments_needs_none(play):
    played = play(["ok"], desk=None, environment="desk", environment_kwargs=None)
    assert played.fields["rest_environment"] == {"acc": 1.0, "score": 1.0}


@pytest.mark.parametrize("points", [{}, {"acc": 1}, {"score": 2}, {"score": "high"}, {"score": 1, "note": "x"}])
def test_a_score_that_is_none_raises(play, points):
    with pytest.raises(ValueError, match=r"Desk\.score\(\) returned"):
        play(["ok"], desk={"points": points})


BYTES = [bytes([byte]) for byte in range(256)]
FORMATS = ("hermes", "rlla", "kimi", "pythonic", "qwen3_coder", "gpt-oss", "glm", "mistral")
PARTS = [
    "<tool_call>",
    "</tool_call>",
    '{"name": "f", "arguments": {}}',
    '"',
    "{",
    "[",
    "f(a=1)",
    "<think>",
    "\n",
    "é",
]


@pytest.mark.parametrize("name", FORMATS)
@given(st.lists(st.sampled_from([part.encode() for part in PARTS]) | st.binary(max_size=8), max_size=10).map(b"".join))
def test_any_turn_can_be_read(name, text):
    answer, calls = read_calls(get_format(name), [*BYTES, b""], list(text), 5)
    assert isinstance(answer, str)
    assert [call.tool_call_id.rpartition(":")[2] for call in calls] == [str(5 + n) for n in range(len(calls))]
    for call in calls:
        assert call.arguments is None or (isinstance(call.name, str) and isinstance(call.arguments, dict))


def test_ids_beyond_the_vocabulary_have_no_bytes():
    text = b'{"name": "f", "arguments": {"a": 1}}'
    ids = [999, *b"<tool_call>", *text[:10], 256, 10**9, *text[10:], *b"</tool_call>"]
    _, (call,) = read_calls(get_format("hermes"), [*BYTES, b""], ids)
    assert (call.name, call.arguments) == ("f", {"a": 1})


@pytest.mark.parametrize(("levels", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (900, False)])
def test_arguments_nested_too_deep_are_not_read(levels, is_read):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    text = b"<tool_call>" + json.dumps({"name": "f", "arguments": value}).encode() + b"</tool_call>"
    _, (call,) = read_calls(get_format("hermes"), [*BYTES, b""], list(text))
    assert (call.arguments is not None) == is_read


def test_settings_are_built_once_for_all_trajectories(chat, config_of):
    config = config_of()
    loops = [make_loop(config, chat, ScriptedEngine([])) for _ in range(3)]
    assert len({id(loop._settings) for loop in loops}) == 1
    assert settings_of(config_of("rest.format=rlla"), chat) is not loops[0]._settings


SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
PIECES = st.sampled_from(
    [*SPECIAL, "<", "|", "im_end", "|>", "<|", " ", "\ud83d", "\ude00", "\udfff", "é", "\0", "<tool_call>"]
)


@given(st.lists(PIECES | st.text(), max_size=12).map("".join))
@example("<|im_<|im_end|>end|>")
def test_no_text_becomes_a_special_token(chat, text):
    ids = chat.encode(safe_text(chat)(text), add_special_tokens=False)
    assert not set(ids) & set(chat.convert_tokens_to_ids(SPECIAL))


@given(st.text())
def test_other_text_stays_as_it_is(chat, text):
    assert safe_text(chat)(text) == text or any(special in text for special in SPECIAL)


def test_surrogates_are_joined_or_replaced(chat):
    assert safe_text(chat)("a\ud83d\ude00b\ud83dc") == "a😀b\ufffdc"


def test_tags_that_are_no_special_tokens_stay(chat):
    assert safe_text(chat)("<tool_call>{}</tool_call>") == "<tool_call>{}</tool_call>"


@pytest.mark.parametrize("special", [[], ["§"]])
def test_tokenizers_without_special_tokens_or_with_short_ones(special):
    tokenizer = SimpleNamespace(added_tokens_decoder={}, all_special_tokens=special)
    assert safe_text(tokenizer)("a§b") == ("a\ufffdb" if special else "a§b")


def test_content_in_parts_is_made_safe_in_its_text(chat):
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "<|im_end|>"}, "plain"]}
    parts = safe_message(message, safe_text(chat))["content"]
    assert parts == [{"type": "image"}, {"type": "text", "text": "< |im_end|>"}, "plain"]
    assert message["content"][1]["text"] == "<|im_end|>"


def test_a_message_without_content_passes(chat):
    assert safe_message({"role": "user"}, safe_text(chat)) == {"role": "user"}


@given(st.text(), st.integers(1, 20))
def test_a_cut_says_so(text, length):
    shown, is_cut = cut(text, length)
    assert is_cut == (len(text) > length)
    assert shown == text if not is_cut else shown.startswith(text[:length] + "\n[cut here: ")


@given(st.text(max_size=50), st.integers(1, 20))
def test_a_first_line_is_one_line_and_short(text, length):
    line = first_line(text, length)
    assert "\n" not in line and len(line) <= length + 3


def test_an_error_whose_text_cannot_be_read_has_one_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    assert text_of_error(Odd()) == "(its text cannot be read: RuntimeError)"
    assert text_of_error(ValueError("x" * 10**6)) == "x" * 500 + "..."

"""Text of tokens as it is shown, with no byte lost; files of plain texts, and what training would give their
tokens."""

import json
import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.commands.inspect.sources import Message, TextRow, read_rows
from rest_verl.commands.inspect.text_records import text_records, text_settings
from rest_verl.commands.inspect.token_text import NO_BYTES, PART_OF_CHARACTER, in_one_line, shown_text, shown_tokens
from rest_verl.config.rest import RestConfig, preset_names
from rest_verl.records.schema import SCHEMA


def read_back(parts):
    """The bytes that text and marks stand for."""
    raw = b""
    for place, part in enumerate(parts):
        if place % 2 == 0:
            raw += part.encode()
        elif part in (PART_OF_CHARACTER, NO_BYTES):
            pass
        elif part.startswith("\\x"):
            raw += bytes.fromhex(part[2:])
        elif part.startswith("⟨"):
            raw += chr(int(part[3:-1], 16)).encode("utf-8", "surrogatepass")
        else:
            raw += {"↵\n": b"\n", "⇥\t": b"\t", "␍": b"\r"}[part]
    return raw


@given(st.text(), st.lists(st.integers(min_value=0, max_value=200)))
def test_the_bytes_of_a_text_can_be_read_back_however_it_is_cut_into_tokens(text, cuts):
    raw = text.encode()
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[begin:end] for begin, end in pairwise(edges)]
    assert b"".join(map(read_back, shown_tokens(pieces))) == raw


@given(st.lists(st.binary(max_size=6)))
def test_bytes_that_are_no_text_can_be_read_back_too(pieces):
    shown = shown_tokens(pieces)
    assert len(shown) == len(pieces)
    assert b"".join(map(read_back, shown)) == b"".join(pieces)


@given(st.lists(st.binary(max_size=6)))
def test_what_is_plain_text_has_no_character_that_controls_the_page(pieces):
    for parts in shown_tokens(pieces):
        for character in "".join(parts[::2]):
            assert unicodedata.category(character)[0] not in "C" and not re.match(r"[^\S ]", character)


def test_ordinary_text_is_one_part():
    assert shown_tokens([b" the", "Zürich".encode(), b"{"]) == [(" the",), ("Zürich",), ("{",)]


def test_a_character_in_several_tokens_stands_whole_on_the_last_of_them():
    first, second, third = (bytes([byte]) for byte in "東".encode())
    assert shown_tokens([b"a" + first, second, third + b"b"]) == [
        ("a", PART_OF_CHARACTER),
        ("", PART_OF_CHARACTER),
        ("東b",),
    ]


def test_a_character_that_never_ends_is_shown_as_its_bytes_on_their_own_tokens():
    assert shown_tokens([b"\xe6\x9d", b"ok"]) == [("", "\\xe6", "", "\\x9d"), ("ok",)]
    assert shown_tokens([b"\xe6"]) == [("", "\\xe6")]


def test_a_token_without_bytes_says_so():
    assert shown_tokens([b"", b"\xe6", b"", b"\x9d\xb1"]) == [
        ("", NO_BYTES),
        ("", PART_OF_CHARACTER),
        ("", PART_OF_CHARACTER),  # it lies inside of a character
        ("東",),
    ]


def test_line_breaks_and_tabs_are_seen_and_still_act():
    assert shown_text("a\n\tb\r") == ("a", "↵\n", "", "⇥\t", "b", "␍")


@pytest.mark.parametrize(
    "code",
    [
        *(0x00, 0x1B, 0x7F, 0x85, 0xA0, 0xAD, 0x061C, 0x180E, 0x200B, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029),
        *(0x202A, 0x202E, 0x2066, 0x2069, 0x3000, 0x3164, 0xD800, 0xE000, 0xFEFF, 0xFFFE, 0xE0041, 0x10FFFF),
    ],
)
def test_what_cannot_be_seen_or_turns_text_round_is_named(code):
    assert shown_text(f"a{chr(code)}b") == ("a", f"⟨U+{code:04X}⟩", "b")


def test_a_line_of_anything_is_one_line():
    assert in_one_line("a\nb\t\u202e\ud800") == "a↵b⇥⟨U+202E⟩⟨U+D800⟩"


@pytest.fixture
def rows_of(tmp_path):
    def read(*lines):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return read_rows(path)

    return read


def test_a_response_of_text_is_one_message_of_the_assistant(rows_of):
    line = {"response": "Hi.", "prompt": "Say hi.", "score": 1, "data_source": "mine", "other": [1]}
    assert rows_of(line, "  ", {"response": ""}) == [
        TextRow((Message("assistant", "Hi."),), "Say hi.", 1.0, "mine"),
        TextRow((Message("assistant", ""),), "", None, None),
    ]


def test_messages_keep_who_said_them(rows_of):
    messages = [
        {"role": "assistant", "content": "<tool_call>"},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "It is 42."},
    ]
    (row,) = rows_of({"response": messages, "prompt": [{"role": "user", "content": "What?"}]})
    assert [(one.role, one.content) for one in row.messages] == [tuple(one.values()) for one in messages]
    assert row.prompt == "user:\nWhat?"


def test_the_names_in_verls_own_files_will_do(rows_of):
    (row,) = rows_of({"input": "Say hi.", "output": "Hi.", "gts": None, "score": 0.5, "step": 3})
    assert row == TextRow((Message("assistant", "Hi."),), "Say hi.", 0.5, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "recursion"),
        ('"text"', "'text' is not an object"),
        ({"respnse": "a"}, "no key response, .* the keys are: respnse"),
        ({"response": 3}, "response=3 must be text or a list of messages"),
        ({"response": []}, "response=\\[\\] must be text or a list"),
        ({"response": "a", "output": "b"}, "both response and output"),
        ({"response": [{"role": "assistant"}]}, r"response\[0\]: .* with role and content, both text"),
        ({"response": [{"role": "agent", "content": ""}]}, "role='agent': allowed: assistant, system, tool, user"),
        ({"response": [{"role": "tool", "content": "a"}]}, "no text by the model"),
        ({"response": [{"role": "assistant", "content": "a"}] * 2}, r"response\[1\]: two assistant messages"),
        ({"response": "a", "score": "1"}, "score='1' must be a number or null"),
        ({"response": "a", "score": True}, "score=True must be a number"),
        ('{"response": "a", "score": NaN}', "score=nan must be a number"),
        ({"response": "a", "data_source": 1}, "data_source=1 must be text or null"),
        ({"response": "a", "prompt": 1}, "prompt=1 must be text or a list of messages"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_expected(rows_of, line, message):
    with pytest.raises(ValueError, match=rf"texts\.jsonl:2: .*{message}"):
        rows_of({"response": "fine"}, line)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "texts.jsonl").write_bytes(b'{"response": "a"}\n{"response": "\xff"}\n')
    with pytest.raises(ValueError, match=r"texts\.jsonl:2: .*utf-8"):
        read_rows(tmp_path / "texts.jsonl")


def test_a_file_without_lines_is_refused(rows_of):
    with pytest.raises(ValueError, match=r"texts\.jsonl: no lines"):
        rows_of("")


CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
PAPER = RestConfig(format="hermes", weights_from="token", normalisation="none")


def row_of(*messages, prompt="", score=None):
    return TextRow(tuple(Message(*message) for message in messages), prompt, score, None)


def rows_at(rows, tokenizer, rest=PAPER, steps=(1,)):
    made = list(text_records(rows, tokenizer, rest, steps))
    assert all(records.table.schema.equals(SCHEMA) for records in made)
    return [records.table.to_pylist() for records in made]


def text_in(row, region):
    return b"".join(piece for piece, name in zip(row["bytes"], row["region"], strict=True) if name == region).decode()


def test_ids_are_the_tokenizers_and_bytes_give_the_text_back(tokenizer):
    ((row,),) = rows_at([row_of(("assistant", CALL + "Zürich"), prompt="東京?")], tokenizer)
    assert row["ids"] == tokenizer(CALL + "Zürich", add_special_tokens=False)["input_ids"]
    assert b"".join(row["bytes"]).decode() == CALL + "Zürich" and row["prompt"].decode() == "東京?"
    assert row["prompt_ids"] == tokenizer("東京?", add_special_tokens=False)["input_ids"]


def test_regions_and_weights_are_those_of_training(tokenizer):
    one, hundred = rows_at([row_of(("assistant", f"<think>So.</think>{CALL}"))], tokenizer, steps=(1, 100))
    assert "get_weather" in text_in(one[0], "name") and '{"city": "Paris"}' in text_in(one[0], "args")
    assert text_in(one[0], "think") == "So."
    for step, (row,) in ((1, one), (100, hundred)):
        assert row["step"] == step
        # the paper's constants: docs/algorithm.md
        expected = {"name": 1.2, "args": 0.6 + 0.002 * step, "think": 0.6 + 0.002 * step, "format": 1.0, "other": 0}
        wanted = [expected[region] for region in row["region"]]
        np.testing.assert_allclose(row["weight"], wanted, rtol=1e-6)


def test_what_others_say_is_neither_generated_nor_tagged_nor_weighted(tokenizer):
    row = row_of(("assistant", CALL), ("tool", CALL), ("user", "More."), ("assistant", "Fine."))
    ((made,),) = rows_at([row], tokenizer)
    first, second = made["turns"]
    said = range(first["end"], second["begin"])
    assert not any(made["generated"][place] or made["weight"][place] for place in said)
    assert {made["region"][place] for place in said} == {"other"}
    assert b"".join(made["bytes"][place] for place in said).decode() == f"{CALL}More."
    assert (first["user_turn"], second["user_turn"]) == (0, 1)
    assert made["trained"] == made["generated"]


def test_calls_are_read_and_get_the_messages_of_tools_as_results(tokenizer):
    unreadable = '<tool_call>\n{"name": "get_time", "arguments": {"a"}}\n</tool_call>'
    row = row_of(("assistant", f"{CALL}\n{unreadable}"), ("tool", "21\ud800"), ("assistant", "Fine."))
    ((made,),) = rows_at([row], tokenizer)
    assert made["turns"][0]["calls"] == [
        {"name": "get_weather", "arguments": '{"city": "Paris"}', "result": "21�", "error": None, "seconds": None},
        {"name": "get_time", "arguments": None, "result": None, "error": "unreadable", "seconds": None},
    ]


def test_what_only_a_policy_knows_is_null(tokenizer):
    ((made,),) = rows_at([row_of(("assistant", "Fine."))], tokenizer)
    assert all(made[name] is None for name in ("entropy", "advantage", "old_log_prob", "rollout_log_prob"))


def test_lines_with_the_same_prompt_are_a_group_and_one_without_is_its_own(tokenizer):
    rows = [row_of(("assistant", "a"), prompt=prompt, score=score) for prompt, score in (("p", 1.0), ("", 2.0))]
    rows += [row_of(("assistant", "b"), prompt="p", score=3.0), row_of(("assistant", "c"))]
    (made,) = rows_at(rows, tokenizer)
    assert [(row["uid"], row["session"]) for row in made] == [("0", 0), ("1", 0), ("0", 1), ("2", 0)]
    assert [row["group_scores"] for row in made] == [[1.0, 3.0], [2.0], [1.0, 3.0], []]


def test_empty_text_is_a_row_without_tokens(tokenizer):
    (made,) = rows_at([row_of(("assistant", ""))], tokenizer)
    assert made[0]["ids"] == [] and made[0]["turns"][0]["end"] == 0


def test_a_preset_gives_its_settings_with_the_texts_format_and_overrides():
    rest = text_settings("no_think", "hermes", ["rest.weights.name.start=2"])
    assert (rest.format, rest.weights.think.start, rest.weights.name.start) == ("hermes", 0.0, 2.0)
    assert {"paper", "static", "grpo"} <= set(preset_names())


@pytest.mark.parametrize(
    ("preset", "format", "overrides", "message"),
    [
        ("papr", "hermes", [], "--preset: unknown preset 'papr': did you mean 'paper'?"),
        ("grpo", "hermes", [], "--preset grpo: all its weights are 1"),
        ("entropy", "hermes", [], "rest.scheme=entropy needs the policy's entropy.*use --preset paper"),
        ("malformed_penalty", "hermes", [], "rest.scheme=malformed_penalty needs the tokens of malformed calls"),
        ("paper", "hermse", [], "rest.format: unknown wire format 'hermse': did you mean 'hermes'?"),
        ("paper", "hermes", ["rest.wieghts=1"], "--set: .*wieghts"),
        ("paper", "hermes", ["="], "--set: "),
        ("paper", "hermes", ["rest.clamp_min=-1"], "rest.clamp_min=-1"),
    ],
)
def test_settings_that_weigh_no_text_are_refused(preset, format, overrides, message):
    with pytest.raises(ValueError, match=message):
        text_settings(preset, format, overrides)

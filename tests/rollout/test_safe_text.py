"""Text of tools and users in front of a tokenizer."""

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rest_verl.rollout.safe_text import cut, first_line, safe_message, safe_text, text_of_error

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

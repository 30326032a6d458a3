"""TokenBytes: the exact bytes of sampled ids."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from rest_verl.core.token_bytes import TokenBytes


def tokenizer_with_decoder(decoder, vocabulary=("a",)):
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(vocabulary)}, merges=[]))
    if decoder is not None:
        backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " The weather in Paris",
        "Zürich, 東京, Ελλάδα, 🙂👩‍👩‍👧",
        '<think> a </think>\n<tool_call>\n{"name": "get_weather"}\n</tool_call>',
        "tabs\tand\r\nline breaks \u2028 and \u00a0 and \x00",
        "  leading and trailing  ",
    ],
)
def test_ids_of_a_text_become_its_utf8_bytes(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert TokenBytes.from_tokenizer(tokenizer).decode(np.array(ids, dtype=np.int64)) == text.encode()


@given(text=st.text())
def test_ids_of_any_text_become_its_utf8_bytes(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    silent = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert not set(ids) & set(silent)
    assert TokenBytes.from_tokenizer(tokenizer).decode(np.array(ids, dtype=np.int64)) == text.encode()


def test_a_character_split_over_tokens_comes_back_byte_by_byte(tokenizer):
    ids = tokenizer("🙂", add_special_tokens=False)["input_ids"]
    assert len(ids) == 4
    text, starts = TokenBytes.from_tokenizer(tokenizer).gather(np.array(ids))
    assert text.tobytes() == b"\xf0\x9f\x99\x82"
    assert starts.tolist() == [0, 1, 2, 3, 4]


def test_an_added_token_is_its_own_text(tokenizer):
    table = TokenBytes.from_tokenizer(tokenizer)
    tags = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>"]
    assert [table.decode(np.array([tokenizer.convert_tokens_to_ids(tag)])).decode() for tag in tags] == tags


def test_end_of_turn_and_padding_have_no_bytes(tokenizer):
    a = tokenizer.convert_tokens_to_ids("a")
    ids = np.array([a, tokenizer.eos_token_id, a, tokenizer.pad_token_id, tokenizer.pad_token_id])
    text, starts = TokenBytes.from_tokenizer(tokenizer).gather(ids)
    assert text.tobytes() == b"aa"
    assert starts.tolist() == [0, 1, 1, 2, 2, 2]


def test_ids_outside_the_vocabulary_have_no_bytes(tokenizer):
    a, size = tokenizer.convert_tokens_to_ids("a"), len(tokenizer)
    ids = np.array([-1, a, size, size + 1, 10**12, a, -(10**12)])
    text, starts = TokenBytes.from_tokenizer(tokenizer).gather(ids)
    assert text.tobytes() == b"aa"
    assert starts.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]


def test_no_ids_give_no_bytes(tokenizer):
    text, starts = TokenBytes.from_tokenizer(tokenizer).gather(np.array([], dtype=np.int64))
    assert (text.tolist(), starts.tolist()) == ([], [0])


@given(data=st.data(), pieces=st.lists(st.binary(max_size=5), max_size=12))
def test_gathering_equals_concatenating_token_by_token(data, pieces):
    ids = data.draw(st.lists(st.integers(-3, len(pieces) + 3), max_size=40))
    table = TokenBytes.from_pieces(pieces)
    expected = [pieces[i] if 0 <= i < len(pieces) else b"" for i in ids]
    text, starts = table.gather(np.array(ids, dtype=np.int64))
    assert text.tobytes() == b"".join(expected) == table.decode(np.array(ids, dtype=np.int64))
    assert [text[a:b].tobytes() for a, b in itertools.pairwise(starts)] == expected


def test_every_byte_has_its_character(tokenizer_of):
    table = TokenBytes.from_tokenizer(tokenizer_of([bytes([byte]) for byte in range(256)]))
    assert table.decode(np.arange(256)) == bytes(range(256))


def test_a_vocabulary_with_holes_keeps_every_id(tokenizer):
    holed = SimpleNamespace(
        is_fast=True,
        backend_tokenizer=tokenizer.backend_tokenizer,
        added_tokens_decoder={},
        eos_token_id=None,
        pad_token_id=None,
        get_vocab=lambda: {"a": 1, "b": 5},
    )
    text, starts = TokenBytes.from_tokenizer(holed).gather(np.arange(7))
    assert text.tobytes() == b"ab"
    assert starts.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]


def test_a_token_outside_the_byte_alphabet_is_its_own_text_as_for_the_tokenizers_decoder():
    tokenizer = tokenizer_with_decoder(decoders.ByteLevel(), ["a", "東京"])
    assert tokenizer.backend_tokenizer.decoder.decode(["東京"]) == "東京"
    assert TokenBytes.from_tokenizer(tokenizer).decode(np.array([0, 1])) == "a東京".encode()


def test_a_slow_tokenizer_is_refused_by_name():
    class MySlowTokenizer:
        is_fast = False

    with pytest.raises(TypeError, match=r"MySlowTokenizer is a slow tokenizer.*tokenizer\.json"):
        TokenBytes.from_tokenizer(MySlowTokenizer())


@pytest.mark.parametrize(
    ("decoder", "kinds"),
    [
        (decoders.Metaspace(), "Metaspace"),
        (decoders.Sequence([decoders.Replace("_", " "), decoders.ByteFallback(), decoders.Fuse()]), "ByteFallback"),
        (decoders.WordPiece(), "WordPiece"),
        (None, "no decoder"),
    ],
    ids=["metaspace", "byte fallback", "wordpiece", "none"],
)
def test_a_tokenizer_that_is_not_byte_level_is_refused_by_name(decoder, kinds):
    tokenizer = tokenizer_with_decoder(decoder)
    with pytest.raises(TypeError, match="only byte-level BPE") as error:
        TokenBytes.from_tokenizer(tokenizer)
    assert type(tokenizer).__name__ in str(error.value)
    assert kinds in str(error.value)


def test_byte_level_may_be_one_step_of_a_sequence():
    tokenizer = tokenizer_with_decoder(decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()]), ["Ġa", "Ã¼"])
    assert TokenBytes.from_tokenizer(tokenizer).decode(np.array([0, 1])) == " aü".encode()

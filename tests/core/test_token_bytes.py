"""TokenBytes: the exact bytes of sampled ids."""

import itertools
import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from make_tokenizers import FALL_BACK, TiktokenTokenizer, gemma, llama, t5, tiktoken_encoding, unigram, with_decoder
from tiers import examples
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from transformers import BertTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from rest_verl.core.tokens import TokenBytes


@pytest.fixture(scope="module")
def kimi():
    """A tokenizer around a tiktoken encoding, with one token added."""
    pytest.importorskip("tiktoken")
    tokenizer = TiktokenTokenizer(tiktoken_encoding(), eos_token="[EOS]")
    tokenizer.add_tokens(["<think>"])
    return tokenizer


table_of = cache(TokenBytes.from_tokenizer)


def bytes_of(tokenizer, ids):
    return table_of(tokenizer).decode(np.array(ids, dtype=np.int64))


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def ids_of(tokenizer, *tokens):
    return [tokenizer.convert_tokens_to_ids(token) for token in tokens]


def audible_ids(tokenizer):
    """Every id that has bytes."""
    return sorted(set(tokenizer.get_vocab().values()) - {tokenizer.eos_token_id, tokenizer.pad_token_id})


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


@given(numbers=st.lists(st.integers(0, 10**6)))
def test_byte_level_ids_give_the_bytes_that_the_tokenizer_decodes(tokenizer, numbers):
    audible = audible_ids(tokenizer)
    ids = [audible[number % len(audible)] for number in numbers]
    assert bytes_of(tokenizer, ids).decode("utf-8", "replace") == decoded(tokenizer, ids)


def test_a_token_outside_the_byte_alphabet_is_its_own_text_as_for_the_tokenizers_decoder():
    tokenizer = with_decoder(decoders.ByteLevel(), ["a", "東京", "a b", "\xadĠ"])
    assert decoded(tokenizer, [0, 1, 2, 3]) == "a東京a b\xadĠ"
    assert bytes_of(tokenizer, [0, 1, 2, 3]) == "a東京a b\xadĠ".encode()


def test_added_text_is_not_taken_for_the_byte_alphabet():
    tokenizer = with_decoder(decoders.ByteLevel(), ["a", "ü"])
    tokenizer.add_tokens([AddedToken("<für>", normalized=False)])
    assert tokenizer("<für>a")["input_ids"] == [2, 0]
    assert bytes_of(tokenizer, [2, 0, 1]) == "<für>a".encode() + b"\xfc"


def test_byte_level_may_be_followed_by_steps_that_leave_tokens_alone():
    steps = decoders.Sequence([decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()]), decoders.Strip(" ", 1, 0)])
    tokenizer = with_decoder(steps, ["Ġa", "Ã¼"])
    assert decoded(tokenizer, [0, 1, 0]) == "aü a"
    assert bytes_of(tokenizer, [0, 1, 0]) == " aü a".encode()


SENTENCE_PIECE = {"llama": llama(), "gemma": gemma(), "unigram": unigram(), "t5": t5()}


def runs_of_ids(tokenizer):
    """Strategy of ids that have bytes; where a byte has a token, its tokens write whole characters now and then."""
    runs = [[token_id] for token_id in audible_ids(tokenizer)]
    vocabulary = tokenizer.get_vocab()
    if "<0x00>" in vocabulary:
        runs += [[vocabulary[f"<0x{byte:02X}>"] for byte in char.encode()] for char in "é▁東🙂\n\0 " * 20]
    return st.lists(st.sampled_from(runs)).map(lambda drawn: list(itertools.chain(*drawn)))


@pytest.mark.parametrize(
    ("tokenizer", "runs"), [(each, runs_of_ids(each)) for each in SENTENCE_PIECE.values()], ids=SENTENCE_PIECE
)
@given(data=st.data())
def test_sentence_piece_ids_give_the_bytes_that_the_tokenizer_decodes_in_the_midst_of_a_text(tokenizer, runs, data):
    ids, [opening] = data.draw(runs), ids_of(tokenizer, "a")
    try:
        text = bytes_of(tokenizer, ids).decode()
        assert "a" + text == decoded(tokenizer, [opening, *ids])
    except UnicodeDecodeError:
        assert "\ufffd" in decoded(tokenizer, [opening, *ids])


@pytest.mark.parametrize("tokenizer", [SENTENCE_PIECE["gemma"], SENTENCE_PIECE["unigram"]], ids=["gemma", "unigram"])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="▁")))
@example("  a   b    ")
@example("東京 🙂\n\x00")
def test_text_comes_back_from_sentence_piece_ids_byte_by_byte(tokenizer, text):
    assert bytes_of(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"]) == text.encode()


def test_the_space_that_opens_a_text_belongs_to_its_token():
    for tokenizer in (SENTENCE_PIECE["llama"], SENTENCE_PIECE["t5"]):
        ids = tokenizer("The weather", add_special_tokens=False)["input_ids"]
        assert decoded(tokenizer, ids) == "The weather"
        assert bytes_of(tokenizer, ids) == b" The weather"


def test_a_character_in_byte_tokens_comes_back_byte_by_byte():
    tokenizer = SENTENCE_PIECE["llama"]
    ids = ids_of(tokenizer, "a", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "▁", "<0x00>", "<0x0A>", "<tool_call>", "<s>")
    text, starts = TokenBytes.from_tokenizer(tokenizer).gather(np.array(ids))
    assert text.tobytes() == "a🙂 \x00\n<tool_call><s>".encode()
    assert starts.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 19, 22]


def test_end_of_sequence_and_padding_of_sentence_piece_have_no_bytes():
    tokenizer = SENTENCE_PIECE["gemma"]
    assert bytes_of(tokenizer, ids_of(tokenizer, "a", "<eos>", "<bos>", "<pad>", "<unk>")) == b"a<bos><unk>"


def test_an_added_run_of_marks_is_a_run_of_spaces():
    tokenizer = SENTENCE_PIECE["gemma"]
    [run] = ids_of(tokenizer, "▁▁▁")
    assert run in tokenizer("a   a")["input_ids"] and run in tokenizer.added_tokens_decoder
    assert bytes_of(tokenizer, [run]) == b"   "


def test_an_added_byte_token_is_a_byte_where_the_decoder_falls_back_to_bytes():
    for decoder, expected in ((FALL_BACK, b"\n"), (decoders.Metaspace(), b"<0x0A>")):
        tokenizer = with_decoder(decoder, ["a"])
        tokenizer.add_tokens(["<0x0A>"])
        assert decoded(tokenizer, [0, 1]) == "a" + expected.decode()
        assert bytes_of(tokenizer, [1]) == expected


def test_an_id_that_an_added_token_shares_with_another_is_the_added_tokens():
    # ids of added tokens are counted from the number of tokens, although the ids of the vocabulary may start anywhere
    ids = range(20, 40)
    backend = Tokenizer(models.BPE(vocab={f"old {token_id}": token_id for token_id in ids}, merges=[]))
    backend.decoder = FALL_BACK
    backend.add_tokens([f"new {token_id}" for token_id in ids])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert ids_of(tokenizer, "old 30", "new 30") == [30, 30]
    assert decoded(tokenizer, ids) == "".join(f"new {token_id}" for token_id in ids)
    assert bytes_of(tokenizer, ids).decode() == decoded(tokenizer, ids)


def test_without_byte_fallback_a_byte_token_is_text():
    tokenizer = SENTENCE_PIECE["t5"]
    assert bytes_of(tokenizer, ids_of(tokenizer, "<0x0A>", "▁", "<extra_id_1>")) == b"<0x0A> <extra_id_1>"


REPLACE, BYTES, FUSE, STRIP = decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip
MARKED = ["a", "▁", "▁b▁", "_c", "<0x41>", "<0x4a>", "<0xe6>", "<0x9D>", "<0xB1>", "<0xGG>", "<0x4>", " ", "東"]
CHAINS = {
    "Replace": REPLACE,
    "of another character": decoders.Sequence([decoders.Replace("_", "--"), BYTES]),
    "Replace, then of what it gave": decoders.Sequence([REPLACE, decoders.Replace(" ", "_"), BYTES]),
    "fallback": BYTES,
    "fallback, then replaced behind Fuse": decoders.Sequence([BYTES, FUSE, REPLACE, STRIP(" ", 1, 0)]),
    "fallback, then Metaspace": decoders.Sequence([BYTES, decoders.Metaspace(prepend_scheme="first")]),
    "sequences in sequences": decoders.Sequence([decoders.Sequence([REPLACE, BYTES]), decoders.Sequence([FUSE])]),
    "both ends stripped": decoders.Sequence([REPLACE, BYTES, FUSE, STRIP("a", 1, 1)]),
    "Metaspace": decoders.Metaspace(prepend_scheme="never"),
    "Metaspace of another mark": decoders.Metaspace(replacement="_"),
    "Fuse": FUSE,
}


@pytest.mark.parametrize("decoder", CHAINS.values(), ids=CHAINS)
@examples(30)
@given(runs=st.lists(st.sampled_from([[0], [1], [2], [3], [4], [5], [6, 7, 8], [9], [10], [11], [12]])))
def test_every_readable_decoder_is_followed_in_the_midst_of_a_text(decoder, runs):
    tokenizer, ids, edge = with_decoder(decoder, [*MARKED, "!"]), list(itertools.chain(*runs)), len(MARKED)
    assert "!" + bytes_of(tokenizer, ids).decode() + "!" == decoded(tokenizer, [edge, *ids, edge])


def test_bytes_that_spell_the_mark_of_a_space_are_kept():
    tokenizer = with_decoder(CHAINS["fallback, then replaced behind Fuse"], ["<0xE2>", "<0x96>", "<0x81>", "▁"])
    assert bytes_of(tokenizer, [0, 1, 2, 3]) == "▁ ".encode()


@given(numbers=st.lists(st.integers(0, 10**6)))
def test_tiktoken_ids_give_the_bytes_that_the_tokenizer_and_the_encoding_decode(kimi, numbers):
    audible = audible_ids(kimi)
    ids = [audible[number % len(audible)] for number in numbers]
    assert bytes_of(kimi, ids).decode("utf-8", "replace") == decoded(kimi, ids)
    of_the_encoding = [token_id for token_id in ids if token_id not in kimi.added_tokens_decoder]
    assert bytes_of(kimi, of_the_encoding) == kimi.model.decode_bytes(of_the_encoding)


@given(text=st.text(st.characters(codec="utf-8")))
def test_text_comes_back_from_tiktoken_ids_byte_by_byte(kimi, text):
    assert bytes_of(kimi, kimi.model.encode_ordinary(text)) == text.encode()


def test_tiktoken_special_and_added_tokens_are_their_text_and_ids_left_out_have_no_bytes(kimi):
    added, half = *ids_of(kimi, "<think>"), kimi.model.encode_single_token("東".encode()[:2])
    ids = [half, 264, 270, 10**6, kimi.eos_token_id, added, 269, 271, 258]
    assert bytes_of(kimi, ids) == "東".encode()[:2] + b"<|tool_calls_section_begin|><think> to"


@pytest.mark.parametrize("imported", [True, False])
def test_a_slow_tokenizer_is_refused_by_name_whether_tiktoken_is_imported_or_not(kimi, monkeypatch, imported):
    if not imported:
        monkeypatch.delitem(sys.modules, "tiktoken")
    with pytest.raises(TypeError, match=r"ByT5Tokenizer is a slow tokenizer.*tokenizer\.json"):
        TokenBytes.from_tokenizer(ByT5Tokenizer())
    assert ("tiktoken" in sys.modules) == imported


def test_a_tokenizer_that_does_not_say_its_kind_is_refused_by_name():
    class MistralCommonTokenizer:
        pass

    with pytest.raises(TypeError, match=r"MistralCommonTokenizer is a slow tokenizer.*tokenizer\.json"):
        TokenBytes.from_tokenizer(MistralCommonTokenizer())


@pytest.mark.parametrize(
    ("decoder", "kinds"),
    [
        (None, "no decoder"),
        (decoders.CTC(), "CTC"),
        (decoders.BPEDecoder(), "BPEDecoder"),
        (decoders.Sequence([decoders.ByteLevel(), REPLACE]), "ByteLevel + Replace"),
        (decoders.Sequence([REPLACE, STRIP(" ", 1, 0), FUSE]), "Replace + Strip + Fuse"),
        (decoders.Sequence([FUSE, decoders.Metaspace()]), "Fuse + Metaspace"),
        (decoders.Sequence([FUSE, BYTES]), "Fuse + ByteFallback"),
        (decoders.Sequence([FUSE, decoders.Replace("ab", "")]), "Fuse + Replace of more than a character"),
        (decoders.Replace(Regex("▁"), " "), "Replace of more than a character"),
    ],
)
def test_a_decoder_that_does_not_take_each_token_by_itself_is_refused_by_name(decoder, kinds):
    tokenizer = with_decoder(decoder, ["a"])
    with pytest.raises(TypeError, match="use a model whose tokenizer is byte-level BPE") as error:
        TokenBytes.from_tokenizer(tokenizer)
    assert str(error.value).startswith(f"{type(tokenizer).__name__} decodes with {kinds}, so ")


def test_a_word_piece_tokenizer_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^BertTokenizer decodes with WordPiece, "):
        TokenBytes.from_tokenizer(BertTokenizer(vocab={"[UNK]": 0, "a": 1, "##b": 2}))

"""Small tokenizers of each kind, trained here and held by the classes that hold the real ones."""

import json
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from transformers import GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast, T5Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

CORPUS = (
    '{"name": "get_weather", "parameters": {"city": "Paris"}}\n{"name": "get_time", "arguments": {}}\n' * 3,
    " The weather in Zürich is fine; I call the tool get_weather and then answer the user. " * 3,
)
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
FALL_BACK = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def llama() -> LlamaTokenizer:
    """SentencePiece BPE with byte fallback, whose decoder drops the space that opens a text."""
    vocabulary, merges = _trained_bpe(["<unk>", "<s>", "</s>", *BYTE_TOKENS])
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return tokenizer


def gemma() -> GemmaTokenizer:
    """SentencePiece BPE with byte fallback, whose added tokens hold runs of the mark of a space."""
    vocabulary, merges = _trained_bpe(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *BYTE_TOKENS])
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens([AddedToken("▁" * length, special=False, normalized=True) for length in (2, 3)])
    return tokenizer


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece Unigram with byte fallback."""
    scores = [*_trained_unigram(["<unk>", "</s>"]), *((token, -20.0) for token in BYTE_TOKENS)]
    backend = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = FALL_BACK
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


def t5() -> T5Tokenizer:
    """SentencePiece Unigram without byte fallback: its `<0x0A>` is text."""
    return T5Tokenizer(vocab=[*_trained_unigram(["<pad>", "</s>", "<unk>"]), ("<0x0A>", -20.0)], extra_ids=2)


def with_decoder(decoder: decoders.Decoder | None, vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of a vocabulary and a decoder; no text was ever encoded with it."""
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(vocabulary)}, merges=[]))
    if decoder is not None:
        backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def tiktoken_encoding() -> Any:
    """A tiktoken encoding of all bytes in reverse, three longer tokens and two special ones with ids left out."""
    import tiktoken

    pieces = [*(bytes([255 - rank]) for rank in range(256)), "東".encode()[:2], b" t", b" to"]
    return tiktoken.Encoding(
        "small",
        pat_str=r"\s?\S+|\s+",
        mergeable_ranks={piece: rank for rank, piece in enumerate(pieces)},
        special_tokens={"[EOS]": 265, "<|tool_calls_section_begin|>": 270},
    )


class TiktokenTokenizer(PreTrainedTokenizer):
    """A tiktoken encoding in a slow tokenizer, as Kimi K2 brings one: bytes become GPT-2's characters and back."""

    def __init__(self, encoding: Any, **options: Any):
        self.model = encoding
        character = bytes_to_unicode()
        self._byte = {character: byte for byte, character in character.items()}
        self._token = {
            rank: "".join(character[byte] for byte in encoding.decode_single_token_bytes(rank))
            for rank in [*range(259), 265, 270]
        }
        super().__init__(**options)

    @property
    def vocab_size(self) -> int:
        return self.model.n_vocab

    def get_vocab(self) -> dict[str, int]:
        return {token: rank for rank, token in self._token.items()}

    def _convert_token_to_id(self, token: str) -> int | None:
        return self.get_vocab().get(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self._token[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return bytes(self._byte[character] for character in "".join(tokens)).decode("utf-8", "replace")


def _trained_bpe(first: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of BPE with spaces marked, trained on the corpus; `first` come first."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=len(first) + 120, special_tokens=first, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _trained_unigram(first: list[str]) -> list[tuple[str, float]]:
    """Tokens and scores of Unigram with spaces marked, trained on the corpus; `first` come first."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=first, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    return [(token, score) for token, score in json.loads(backend.to_str())["model"]["vocab"]]

"""Token ids to the exact bytes they stand for, without decoding to text and tokenising again.

Decoded text loses where tokens begin, and tokenising it again need not give the ids that were sampled. A table from id
to bytes, built once per vocabulary, keeps both: a batch of ids becomes bytes by numpy indexing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TokenBytes:
    """The bytes of every token of one vocabulary, concatenated.

    Attributes:
        data: (total bytes,) uint8.
        offsets: (V + 2,) int64; token i owns data[offsets[i]:offsets[i + 1]]. Entry V stands for every id outside the
            vocabulary (models have more output rows than tokenizers have tokens) and is empty.
    """

    data: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> TokenBytes:
        """Build the table of a Hugging Face fast tokenizer that is byte-level BPE (Qwen, Llama 3, GPT-2).

        End-of-sequence and padding tokens get no bytes: they end a turn, they are not part of its text.

        Raises:
            TypeError: the tokenizer is of a kind whose bytes this table cannot know exactly.
        """
        _require_byte_level(tokenizer)
        added = tokenizer.added_tokens_decoder
        silent = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        vocabulary = tokenizer.get_vocab()
        pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, token_id in vocabulary.items():
            if token_id in silent:
                continue
            if token_id in added:
                pieces[token_id] = added[token_id].content.encode("utf-8", "surrogatepass")
            else:
                pieces[token_id] = _bytes_of(token)
        return cls.from_pieces(pieces)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> TokenBytes:
        """Build the table from the bytes of each id."""
        lengths = np.array([len(piece) for piece in pieces] + [0], dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        return cls(data=np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets=offsets)

    def gather(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of a flat run of ids.

        Args:
            ids: (N,) integers; ids outside the vocabulary have no bytes.

        Returns:
            text: (total bytes,) uint8, the bytes of all ids in order.
            starts: (N + 1,) int64; token k owns text[starts[k]:starts[k + 1]].
        """
        outside = len(self.offsets) - 2
        ids = np.where((ids < 0) | (ids > outside), outside, ids)
        first = self.offsets[ids]
        lengths = self.offsets[ids + 1] - first
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        index = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
        return self.data[index], starts

    def decode(self, ids: np.ndarray) -> bytes:
        """Bytes of a run of ids: (N,) integers."""
        return self.gather(np.asarray(ids, dtype=np.int64))[0].tobytes()


def _require_byte_level(tokenizer: Any) -> None:
    """Raise TypeError unless the tokenizer's own decoder maps characters to bytes as GPT-2 does."""
    if not tokenizer.is_fast:
        raise TypeError(
            f"{type(tokenizer).__name__} is a slow tokenizer, whose bytes per token cannot be read exactly; "
            "load the model's fast tokenizer (tokenizer.json)"
        )
    decoder = tokenizer.backend_tokenizer.decoder
    state = {"type": "no decoder"} if decoder is None else json.loads(decoder.__getstate__())
    kinds = [step["type"] for step in state.get("decoders", [state])]
    if "ByteLevel" not in kinds:
        raise TypeError(
            f"{type(tokenizer).__name__} decodes by {' + '.join(kinds)}; only byte-level BPE tokenizers "
            "(Qwen, Llama 3, GPT-2) can be read exactly"
        )


def _bytes_of(token: str) -> bytes:
    """Bytes of a token as the byte-level decoder takes it: a character that stands for no byte makes it plain text."""
    try:
        return bytes(_BYTE_OF_CHAR[char] for char in token)
    except KeyError:
        return token.encode("utf-8", "surrogatepass")


def _byte_of_char() -> dict[str, int]:
    """GPT-2's bijection of bytes and printable characters: printable bytes stand for themselves, the 68 others are
    moved up to the code points from 256 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(moved)}


_BYTE_OF_CHAR = _byte_of_char()

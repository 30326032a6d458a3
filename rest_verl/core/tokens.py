"""Token ids to the exact bytes they stand for, without decoding to text and tokenising again.

Decoded text loses where tokens begin, and tokenising it again need not give the ids that were sampled. A table from id
to bytes, built once per vocabulary, keeps both: a batch of ids becomes bytes by one look-up of all of them.

The bytes are read from what the tokenizer's own decoder does:

- byte-level BPE (Qwen, Llama 3, GPT-2): every character stands for a byte;
- SentencePiece as a fast tokenizer (Llama 2, Mistral, Gemma, T5): `▁` stands for a space and, where the decoder falls
  back to bytes, `<0x0A>` for a byte;
- tiktoken inside of a Python class (Kimi K2): the encoding holds the bytes of every token.

Decoders of the second kind drop the space that opens a text. That is about where a text begins and not about tokens:
here a token keeps its space, as it does in the middle of a response.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from string import hexdigits
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, Integer, UInt8


@dataclass(frozen=True)
class TokenBytes:
    """The bytes of every token of one vocabulary.

    Attributes:
        pieces: (V + 1,) large_binary, the bytes of each id. Entry V stands for every id outside the vocabulary (models
            have more output rows than tokenizers have tokens) and is empty.
    """

    pieces: pa.LargeBinaryArray

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, ends: bool = False) -> TokenBytes:
        """Build the table of a Hugging Face tokenizer.

        Added and special tokens have the bytes of their content; end-of-sequence and padding tokens have none: they
        end a turn, they are not part of its text.

        Args:
            tokenizer: the tokenizer.
            ends: give end-of-sequence and padding tokens the bytes of their content too, for people to read.

        Raises:
            TypeError: the tokenizer is of a kind whose bytes this table cannot know exactly.
        """
        pieces = pieces_of(tokenizer)
        for silent in () if ends else (tokenizer.eos_token_id, tokenizer.pad_token_id):
            pieces.pop(silent, None)
        in_order = [b""] * (max(pieces, default=-1) + 1)
        for token_id, piece in pieces.items():
            in_order[token_id] = piece
        return cls.from_pieces(in_order)

    @classmethod
    def from_pieces(cls, pieces: list[bytes]) -> TokenBytes:
        """Build the table from the bytes of each id."""
        return cls(pa.array([*pieces, b""], type=pa.large_binary()))

    def gather(
        self, ids: Integer[np.ndarray, " token"]
    ) -> tuple[UInt8[np.ndarray, " byte"], Int64[np.ndarray, " token+1"]]:
        """Bytes of a flat run of ids.

        Args:
            ids: ids outside the vocabulary have no bytes.

        Returns:
            text: the bytes of all ids in order; read-only.
            starts: token k owns text[starts[k]:starts[k + 1]]; read-only.
        """
        # Arrow copies token by token; numpy would need an index for every byte, which takes twice as long.
        _, starts, text = self.of(ids).buffers()
        return np.frombuffer(text, dtype=np.uint8), np.frombuffer(starts, dtype=np.int64)

    def of(self, ids: Integer[np.ndarray, " token"]) -> pa.LargeBinaryArray:
        """Bytes of each id, one entry an id; ids outside the vocabulary have no bytes."""
        # Taken as unsigned, a negative id lies beyond the vocabulary too: one minimum makes both the empty entry.
        rows = np.minimum(np.asarray(ids, dtype=np.int64).view(np.uint64), len(self.pieces) - 1)
        return self.pieces.take(pa.array(rows))

    def decode(self, ids: Integer[np.ndarray, " token"]) -> bytes:
        """Bytes of a run of ids."""
        return self.gather(ids)[0].tobytes()


def pieces_of(tokenizer: Any) -> dict[int, bytes]:
    """Bytes of each id of a Hugging Face tokenizer.

    Raises:
        TypeError: the tokenizer is of a kind whose bytes per token cannot be known exactly.
    """
    # Some classes, such as the one around mistral-common, do not say whether they are fast: they are not.
    if getattr(tokenizer, "is_fast", False):
        return _fast_pieces(tokenizer)
    if _is_tiktoken(getattr(tokenizer, "model", None)):
        return _tiktoken_pieces(tokenizer)
    raise TypeError(
        f"{type(tokenizer).__name__} is a slow tokenizer that decodes with code of its own and not with a tiktoken "
        "encoding, so its bytes per token cannot be read exactly; load the model's fast tokenizer (tokenizer.json)"
    )


def _is_tiktoken(model: Any) -> bool:
    """Whether the model of a tokenizer is a tiktoken encoding; nothing is while tiktoken is not imported."""
    tiktoken = sys.modules.get("tiktoken")
    return tiktoken is not None and isinstance(model, tiktoken.Encoding)


def _tiktoken_pieces(tokenizer: Any) -> dict[int, bytes]:
    """Bytes of each id by the encoding's own table, its special tokens included, and of what was added to it."""
    pieces = {}
    for token_id in range(tokenizer.model.n_vocab):
        try:
            pieces[token_id] = tokenizer.model.decode_single_token_bytes(token_id)
        except KeyError:  # an id that the encoding leaves out
            continue
    return pieces | {token_id: _utf8(token.content) for token_id, token in tokenizer.added_tokens_decoder.items()}


def _fast_pieces(tokenizer: Any) -> dict[int, bytes]:
    """Bytes of each id of a fast tokenizer, step by step as its decoder makes them of the tokens."""
    steps = _decoder_steps(tokenizer)
    added = {token_id: token.content for token_id, token in tokenizer.added_tokens_decoder.items()}
    tokens = {token_id: token for token, token_id in tokenizer.get_vocab().items()} | added
    if any(step["type"] == "ByteLevel" for step in steps):
        # Added text is not written in the byte alphabet. The decoder reads it as if it were and garbles an added "ü".
        plain = {token_id: _utf8(content) for token_id, content in added.items()}
        return {token_id: _byte_level(token) for token_id, token in tokens.items()} | plain
    pieces: dict[int, bytes] = {}
    for step in steps:
        # Added tokens are no exception here: Gemma adds runs of "▁", and trainers add "<0x0A>" as a special token.
        if step["type"] == "ByteFallback":
            pieces = {token_id: _BYTE_OF_TOKEN[token] for token_id, token in tokens.items() if token in _BYTE_OF_TOKEN}
        elif step["type"] == "Replace":
            old, new = step["pattern"]["String"], step["content"]
            tokens = {token_id: token.replace(old, new) for token_id, token in tokens.items()}
        elif step["type"] == "Metaspace":
            tokens = {token_id: token.replace(step["replacement"], " ") for token_id, token in tokens.items()}
    return {token_id: _utf8(token) for token_id, token in tokens.items()} | pieces


# Decoders that take each token by itself. Up to Fuse, which joins the tokens, every step does; behind it, replacing a
# single character still amounts to that, and stripping is about the ends of the whole text. (Where characters are
# replaced after falling back to bytes, the decoder replaces one that bytes spell as well; here these bytes are kept.)
_READABLE = re.compile(
    r"((Replace|Metaspace|ByteFallback) ?)*(Fuse ?((Replace|Strip) ?)*)?|ByteLevel ?(Fuse ?)?(Strip ?)*"
)


def _decoder_steps(tokenizer: Any) -> list[dict[str, Any]]:
    """The steps of the backend's decoder by its own state; TypeError unless they take each token by itself."""
    decoder = tokenizer.backend_tokenizer.decoder
    steps = [{"type": "no decoder"}] if decoder is None else _flat(json.loads(decoder.__getstate__()))
    kinds = [_kind(step) for step in steps]
    if not _READABLE.fullmatch(" ".join(kinds)):
        raise TypeError(
            f"{type(tokenizer).__name__} decodes with {' + '.join(kinds)}, so the bytes of a single token cannot be "
            "known; use a model whose tokenizer is byte-level BPE (Qwen, Llama 3, GPT-2), SentencePiece that decodes "
            "with Replace or Metaspace, ByteFallback, Fuse, Strip (Llama 2, Mistral, Gemma), or tiktoken (Kimi K2)"
        )
    return steps


def _flat(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a decoder, those of sequences in sequences included."""
    if state["type"] == "Sequence":
        return [step for part in state["decoders"] for step in _flat(part)]
    return [state]


def _kind(step: dict[str, Any]) -> str:
    """Name of a step. Replacing more than one fixed character could reach over the end of a token: another kind."""
    if step["type"] == "Replace" and len(step["pattern"].get("String", "")) != 1:
        return "Replace of more than a character"
    return step["type"]


def _utf8(token: str) -> bytes:
    """Bytes of plain text."""
    return token.encode("utf-8", "surrogatepass")


def _byte_level(token: str) -> bytes:
    """Bytes of a token as the byte-level decoder takes it: a character that stands for no byte makes it plain text."""
    try:
        return token.translate(_BYTE_OF_CHAR).encode("latin-1")
    except UnicodeEncodeError:
        return _utf8(token)


def _byte_of_char() -> dict[int, int]:
    """GPT-2's bijection of bytes and printable characters, by code point: printable bytes stand for themselves, the 68
    others are moved up to the code points from 256 on, in order. At their own code points they stand for no byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(printable)]
    bytes_of = {byte: byte for byte in printable} | {256 + rank: byte for rank, byte in enumerate(moved)}
    return bytes_of | dict.fromkeys(moved, sys.maxunicode)


_BYTE_OF_CHAR = _byte_of_char()
_BYTE_OF_TOKEN = {f"<0x{high}{low}>": bytes.fromhex(high + low) for high in hexdigits for low in hexdigits}

"""Token ids to the exact bytes they stand for, without decoding to text and tokenising again.

Decoded text loses where tokens begin, and tokenising it again need not give the ids that were sampled. A table from id
to bytes, built once per vocabulary, keeps both: a batch of ids becomes bytes by one look-up of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rest_verl.core.token_pieces import pieces_of


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

    def gather(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of a flat run of ids.

        Args:
            ids: (N,) integers; ids outside the vocabulary have no bytes.

        Returns:
            text: (total bytes,) uint8, the bytes of all ids in order; read-only.
            starts: (N + 1,) int64; token k owns text[starts[k]:starts[k + 1]]; read-only.
        """
        # Arrow copies token by token; numpy would need an index for every byte, which takes twice as long.
        _, starts, text = self.of(ids).buffers()
        return np.frombuffer(text, dtype=np.uint8), np.frombuffer(starts, dtype=np.int64)

    def of(self, ids: np.ndarray) -> pa.LargeBinaryArray:
        """Bytes of each id, one entry an id: (N,) integers; ids outside the vocabulary have no bytes."""
        # Taken as unsigned, a negative id lies beyond the vocabulary too: one minimum makes both the empty entry.
        rows = np.minimum(np.asarray(ids, dtype=np.int64).view(np.uint64), len(self.pieces) - 1)
        return self.pieces.take(pa.array(rows))

    def decode(self, ids: np.ndarray) -> bytes:
        """Bytes of a run of ids: (N,) integers."""
        return self.gather(ids)[0].tobytes()

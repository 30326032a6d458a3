"""A header and arrays of numbers as one compressed run of bytes, which a browser reads without a library.

Layout before gzip, all little-endian: uint32 length of the header; the header, JSON in ASCII, filled up with spaces to
a multiple of four bytes; the arrays one behind the other, each filled up with zeros to a multiple of four bytes. The
header's key `arrays` says of each array its name, its dtype as numpy writes it, its first byte behind the header and
its number of entries.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

DTYPES = ("<f4", "<u4", "|u1")


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Put a header and arrays of one dimension together; the same input gives the same bytes.

    Raises:
        ValueError: the header holds a number that JSON has none for, or an array is of none of `DTYPES`.
    """
    layout, blocks, at = [], [], 0
    for name, array in arrays.items():
        if array.dtype.str not in DTYPES:
            raise ValueError(f"array {name!r} of dtype {array.dtype.str}: allowed: {', '.join(DTYPES)}")
        layout.append([name, array.dtype.str, at, len(array)])
        blocks.append(_filled(array.tobytes(), b"\0"))
        at += len(blocks[-1])
    text = json.dumps({**header, "arrays": layout}, allow_nan=False, separators=(",", ":")).encode("ascii")
    head = _filled(text, b" ")
    whole = b"".join([len(head).to_bytes(4, "little"), head, *blocks])
    return gzip.compress(whole, compresslevel=6, mtime=0)


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of what `pack` made."""
    whole = gzip.decompress(packed)
    begin = 4 + int.from_bytes(whole[:4], "little")
    header = json.loads(whole[4:begin])
    arrays = {
        name: np.frombuffer(whole, np.dtype(dtype), count=length, offset=begin + at)
        for name, dtype, at, length in header.pop("arrays")
    }
    return header, arrays


def _filled(block: bytes, with_byte: bytes) -> bytes:
    return block + with_byte * (-len(block) % 4)

"""The records of an offline run of wandb."""

import struct
from collections.abc import Iterator


def wandb_records(file: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: 7 bytes of its own, then LevelDB's log, in blocks of 32 KiB.

    A chunk is 4 bytes of checksum, 2 of length, 1 of kind (1 whole; 2, 3, 4 the first, a middle, the last part of a
    record) and its data; fewer than 7 bytes at the end of a block are empty.
    """
    at, record = 7, b""
    while at + 7 <= len(file):
        if -at % 32768 < 7 and at % 32768:
            at += -at % 32768
            continue
        length, kind = struct.unpack_from("<HB", file, at + 4)
        record += file[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""

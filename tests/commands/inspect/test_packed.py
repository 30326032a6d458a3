"""The bytes that carry a step into the page."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from viewer_pages import unpack

from rest_verl.commands.inspect.step_data import pack

NUMBERS = arrays(np.dtype("<f4"), st.integers(0, 9), elements=st.floats(width=32))


@given(st.dictionaries(st.text(max_size=5), st.text()), NUMBERS, arrays(np.uint8, st.integers(0, 9)))
def test_header_and_arrays_come_back_bit_by_bit(header, numbers, flags):
    header.pop("arrays", None)
    got_header, got = unpack(pack(header, {"numbers": numbers, "flags": flags}))
    assert got_header == header
    assert got["numbers"].tobytes() == numbers.tobytes() and got["flags"].tobytes() == flags.tobytes()


def test_the_layout_is_what_the_module_says():
    packed = pack({"a": "ü"}, {"flags": np.array([7], np.uint8), "numbers": np.array([1.5], "<f4")})
    whole = gzip.decompress(packed)
    length = int.from_bytes(whole[:4], "little")
    assert length % 4 == 0 and whole[4 : 4 + length].isascii()
    header = json.loads(whole[4 : 4 + length])
    assert header == {"a": "ü", "arrays": [["flags", "|u1", 0, 1], ["numbers", "<f4", 4, 1]]}
    assert whole[4 + length :] == b"\x07\0\0\0" + np.float32(1.5).tobytes()


def test_the_same_input_gives_the_same_bytes():
    numbers = {"numbers": np.arange(9, dtype="<f4")}
    assert pack({"a": 1}, numbers) == pack({"a": 1}, numbers)


def test_another_dtype_and_a_number_outside_of_json_are_refused():
    with pytest.raises(ValueError, match=r"array 'x' of dtype <f8: allowed: <f4, <u4, \|u1"):
        pack({}, {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, {})

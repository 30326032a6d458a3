"""What is shown of tokens: plain text as it is, marks in place of everything else, and no byte lost."""

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.commands.inspect.token_text import NO_BYTES, PART_OF_CHARACTER, in_one_line, shown_text, shown_tokens


def read_back(parts):
    """The bytes that text and marks stand for."""
    raw = b""
    for place, part in enumerate(parts):
        if place % 2 == 0:
            raw += part.encode()
        elif part in (PART_OF_CHARACTER, NO_BYTES):
            pass
        elif part.startswith("\\x"):
            raw += bytes.fromhex(part[2:])
        elif part.startswith("⟨"):
            raw += chr(int(part[3:-1], 16)).encode("utf-8", "surrogatepass")
        else:
            raw += {"↵\n": b"\n", "⇥\t": b"\t", "␍": b"\r"}[part]
    return raw


@given(st.text(), st.lists(st.integers(min_value=0, max_value=200)))
def test_the_bytes_of_a_text_can_be_read_back_however_it_is_cut_into_tokens(text, cuts):
    raw = text.encode()
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[begin:end] for begin, end in pairwise(edges)]
    assert b"".join(map(read_back, shown_tokens(pieces))) == raw


@given(st.lists(st.binary(max_size=6)))
def test_bytes_that_are_no_text_can_be_read_back_too(pieces):
    shown = shown_tokens(pieces)
    assert len(shown) == len(pieces)
    assert b"".join(map(read_back, shown)) == b"".join(pieces)


@given(st.lists(st.binary(max_size=6)))
def test_what_is_plain_text_has_no_character_that_controls_the_page(pieces):
    for parts in shown_tokens(pieces):
        for character in "".join(parts[::2]):
            assert unicodedata.category(character)[0] not in "C" and not re.match(r"[^\S ]", character)


def test_ordinary_text_is_one_part():
    assert shown_tokens([b" the", "Zürich".encode(), b"{"]) == [(" the",), ("Zürich",), ("{",)]


def test_a_character_in_several_tokens_stands_whole_on_the_last_of_them():
    first, second, third = (bytes([byte]) for byte in "東".encode())
    assert shown_tokens([b"a" + first, second, third + b"b"]) == [
        ("a", PART_OF_CHARACTER),
        ("", PART_OF_CHARACTER),
        ("東b",),
    ]


def test_a_character_that_never_ends_is_shown_as_its_bytes_on_their_own_tokens():
    assert shown_tokens([b"\xe6\x9d", b"ok"]) == [("", "\\xe6", "", "\\x9d"), ("ok",)]
    assert shown_tokens([b"\xe6"]) == [("", "\\xe6")]


def test_a_token_without_bytes_says_so():
    assert shown_tokens([b"", b"\xe6", b"", b"\x9d\xb1"]) == [
        ("", NO_BYTES),
        ("", PART_OF_CHARACTER),
        ("", PART_OF_CHARACTER),  # it lies inside of a character
        ("東",),
    ]


def test_line_breaks_and_tabs_are_seen_and_still_act():
    assert shown_text("a\n\tb\r") == ("a", "↵\n", "", "⇥\t", "b", "␍")


@pytest.mark.parametrize(
    "code",
    [
        *(0x00, 0x1B, 0x7F, 0x85, 0xA0, 0xAD, 0x061C, 0x180E, 0x200B, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029),
        *(0x202A, 0x202E, 0x2066, 0x2069, 0x3000, 0x3164, 0xD800, 0xE000, 0xFEFF, 0xFFFE, 0xE0041, 0x10FFFF),
    ],
)
def test_what_cannot_be_seen_or_turns_text_round_is_named(code):
    assert shown_text(f"a{chr(code)}b") == ("a", f"⟨U+{code:04X}⟩", "b")


def test_a_line_of_anything_is_one_line():
    assert in_one_line("a\nb\t\u202e\ud800") == "a↵b⇥⟨U+202E⟩⟨U+D800⟩"

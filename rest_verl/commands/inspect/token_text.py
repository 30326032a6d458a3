"""What a reader sees of a token: its text where that is plain, and marks in place of what would not show as itself.

Marks stand for bytes that are no UTF-8, control characters, characters that turn the direction of text or have no
width, and all spaces but the ordinary one. So no text can change how the page around it reads.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

# Text and marks in turn: entries 0, 2, ... are text as it is, entries 1, 3, ... are marks.
Parts = tuple[str, ...]

PART_OF_CHARACTER = "⋯"  # the character stands on the token that ends it
NO_BYTES = "∅"
_SHORT = {"\n": "↵\n", "\t": "⇥\t", "\r": "␍"}
# printable to Unicode, yet blank or without width
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def shown_tokens(pieces: Sequence[bytes]) -> list[Parts]:
    """What is shown of each token of a text, in order.

    A character whose bytes lie in several tokens is shown on the last of them, and `PART_OF_CHARACTER` on the others.

    Args:
        pieces: the bytes of each token.
    """
    shown: list[Parts] = []
    while len(shown) < len(pieces):
        whole = _shown_whole(pieces[len(shown)])
        shown += [whole] if whole is not None else _shown_together(pieces, len(shown))
    return shown


def shown_text(text: str) -> Parts:
    """What is shown of any text; lone surrogates become marks too."""
    return _joined((character, _mark(character)) for character in text)


def in_one_line(text: str) -> str:
    """Any text as one line of plain text, marks included."""
    return "".join(shown_text(text)).replace("\n", "").replace("\t", "")


@lru_cache(maxsize=1 << 17)
def _shown_whole(piece: bytes) -> Parts | None:
    """What is shown of a token that holds whole characters; None for any other."""
    if not piece:
        return ("", NO_BYTES)
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return None
    return shown_text(text)


def _shown_together(pieces: Sequence[bytes], first: int) -> list[Parts]:
    """What is shown of the tokens from `first` on, up to one behind which no character is open."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    behind = first
    while behind == first or (behind < len(pieces) and decoder.getstate()[0]):
        decoder.decode(pieces[behind])
        behind += 1
    owner = [index for index in range(first, behind) for _ in pieces[index]]
    found: list[list[tuple[str, str | None]]] = [[] for _ in range(first, behind)]
    at = 0
    for character in b"".join(pieces[first:behind]).decode("utf-8", "surrogateescape"):
        length = len(character.encode("utf-8", "surrogateescape"))
        last = owner[at + length - 1]
        for index in range(owner[at], last):
            found[index - first].append(("", PART_OF_CHARACTER))
        byte = ord(character) - 0xDC00
        # a byte that is no UTF-8 was decoded to a surrogate, which UTF-8 itself cannot hold
        mark = f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else _mark(character)
        found[last - first].append((character, mark))
        at += length
    return [_joined(characters) if characters else ("", NO_BYTES) for characters in found]


def _joined(characters: Iterator[tuple[str, str | None]] | list[tuple[str, str | None]]) -> Parts:
    """Characters, each with its mark or None, as text and marks in turn."""
    parts = [""]
    for character, mark in characters:
        if mark is None:
            parts[-1] += character
        else:
            parts += [mark, ""]
    return tuple(parts if parts[-1] or len(parts) == 1 else parts[:-1])


def _mark(character: str) -> str | None:
    """The mark of a character; None for one that shows as itself."""
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable() and character not in _BLANK:
        return None
    return f"⟨U+{ord(character):04X}⟩"


LONGEST = 200  # characters
_SHARED = 40  # characters that all prompts begin with, from which on they are left out
# how the chat templates of the wire formats' models open a user's message
_USER = re.compile(
    r"<\|im_start\|>user|<\|start_header_id\|>user<\|end_header_id\|>|<start_of_turn>user|<\|turn>user|\[INST\]"
    r"|<｜User｜>|<\|user\|>|<\|start\|>user<\|message\|>|<\|im_user\|>user<\|im_middle\|>|<\[begin_of_document\]>user"
    r"|<\|begin▁of▁user\|>|^user:?$",
    re.MULTILINE,
)
_END = re.compile(r"<\|[a-z_]+\|>|<end_of_turn>|<turn\|>|\[/INST\]|<｜Assistant｜>|</s>|^assistant:?$", re.MULTILINE)


def headlines(prompts: Sequence[str]) -> list[str]:
    """The beginning of the last user's message of each prompt, without what all of them begin with.

    Args:
        prompts: the rendered prompts of a step, one for each group.

    Returns:
        for each prompt one line of at most `LONGEST` characters; empty for an empty prompt.
    """
    messages = [" ".join(_last_message(prompt).split()) for prompt in prompts]
    shared = _shared_length(min(messages), max(messages)) if len(set(messages)) > 1 else 0
    start = shared if shared >= _SHARED else 0
    return [_short(("… " if start else "") + message[start:]) for message in messages]


def _shared_length(one: str, other: str) -> int:
    """How many characters two different texts have in common at their beginning."""
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _last_message(prompt: str) -> str:
    """The last user's message; the whole prompt where none is found."""
    found = list(_USER.finditer(prompt))
    message = prompt[found[-1].end() :] if found else prompt
    end = _END.search(message)
    inside = message[: end.start()] if end else message
    return inside if inside.strip() else prompt


def _short(text: str) -> str:
    line = in_one_line(text[: LONGEST + 1])
    return line if len(text) <= LONGEST else f"{line[:LONGEST]}…"

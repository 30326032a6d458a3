"""How the page shows a token: plain text as it is, and marks in place of everything that would not show as itself.

Marks replace invalid UTF-8, control characters, bidirectional and zero-width characters, and all spaces except the
ordinary one. So no text can change how the page around it reads.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

# Alternates between text and marks: entries 0, 2, ... are plain text, entries 1, 3, ... are marks.
Parts = tuple[str, ...]

PART_OF_CHARACTER = "⋯"  # the character is shown on the token that completes it
NO_BYTES = "∅"
_SHORT = {"\n": "↵\n", "\t": "⇥\t", "\r": "␍"}
# printable according to Unicode, but blank or zero-width
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def shown_tokens(pieces: Sequence[bytes]) -> list[Parts]:
    """How each token of a text is shown, in order.

    A character spread over several tokens is shown on the last of them, and `PART_OF_CHARACTER` on the others.

    Args:
        pieces: the bytes of each token.
    """
    shown: list[Parts] = []
    while len(shown) < len(pieces):
        whole = _show_whole(pieces[len(shown)])
        shown += [whole] if whole is not None else _show_joined(pieces, len(shown))
    return shown


def shown_text(text: str) -> Parts:
    """How any text is shown; lone surrogates become marks too."""
    return _parts((character, _mark(character)) for character in text)


def in_one_line(text: str) -> str:
    """Any text as one line of plain text with marks."""
    return "".join(shown_text(text)).replace("\n", "").replace("\t", "")


@lru_cache(maxsize=1 << 17)
def _show_whole(piece: bytes) -> Parts | None:
    """How a token of whole characters is shown; None for any other token."""
    if not piece:
        return ("", NO_BYTES)
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return None
    return shown_text(text)


def _show_joined(pieces: Sequence[bytes], first: int) -> list[Parts]:
    """How the tokens from `first` on are shown, up to the first one that leaves no character incomplete."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    end = first
    while end == first or (end < len(pieces) and decoder.getstate()[0]):
        decoder.decode(pieces[end])
        end += 1
    owner = [index for index in range(first, end) for _ in pieces[index]]
    found: list[list[tuple[str, str | None]]] = [[] for _ in range(first, end)]
    at = 0
    for character in b"".join(pieces[first:end]).decode("utf-8", "surrogateescape"):
        length = len(character.encode("utf-8", "surrogateescape"))
        last = owner[at + length - 1]
        for index in range(owner[at], last):
            found[index - first].append(("", PART_OF_CHARACTER))
        byte = ord(character) - 0xDC00
        # an invalid byte was decoded to a surrogate, which valid UTF-8 cannot contain
        mark = f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else _mark(character)
        found[last - first].append((character, mark))
        at += length
    return [_parts(characters) if characters else ("", NO_BYTES) for characters in found]


def _parts(characters: Iterator[tuple[str, str | None]] | list[tuple[str, str | None]]) -> Parts:
    """Characters, each with its mark or None, as alternating text and marks."""
    parts = [""]
    for character, mark in characters:
        if mark is None:
            parts[-1] += character
        else:
            parts += [mark, ""]
    return tuple(parts if parts[-1] or len(parts) == 1 else parts[:-1])


def _mark(character: str) -> str | None:
    """The mark for a character; None if it shows as itself."""
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable() and character not in _BLANK:
        return None
    return f"⟨U+{ord(character):04X}⟩"


LONGEST = 200  # characters
_SHARED = 40  # shortest common beginning of all prompts, in characters, that is left out
# how the chat templates of the wire formats' models open a user message
_USER = re.compile(
    r"<\|im_start\|>user|<\|start_header_id\|>user<\|end_header_id\|>|<start_of_turn>user|<\|turn>user|\[INST\]"
    r"|<｜User｜>|<\|user\|>|<\|start\|>user<\|message\|>|<\|im_user\|>user<\|im_middle\|>|<\[begin_of_document\]>user"
    r"|<\|begin▁of▁user\|>|^user:?$",
    re.MULTILINE,
)
_END = re.compile(r"<\|[a-z_]+\|>|<end_of_turn>|<turn\|>|\[/INST\]|<｜Assistant｜>|</s>|^assistant:?$", re.MULTILINE)


def headlines(prompts: Sequence[str]) -> list[str]:
    """The beginning of each prompt's last user message, without their common beginning.

    Args:
        prompts: the rendered prompts of a step, one per group.

    Returns:
        one line per prompt of at most `LONGEST` characters; empty for an empty prompt.
    """
    messages = [" ".join(_last_message(prompt).split()) for prompt in prompts]
    shared = _shared_length(min(messages), max(messages)) if len(set(messages)) > 1 else 0
    start = shared if shared >= _SHARED else 0
    return [_shorten(("… " if start else "") + message[start:]) for message in messages]


def _shared_length(one: str, other: str) -> int:
    """Number of characters in the common beginning of two different texts."""
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _last_message(prompt: str) -> str:
    """The last user message; the whole prompt if there is none."""
    found = list(_USER.finditer(prompt))
    message = prompt[found[-1].end() :] if found else prompt
    end = _END.search(message)
    inside = message[: end.start()] if end else message
    return inside if inside.strip() else prompt


def _shorten(text: str) -> str:
    line = in_one_line(text[: LONGEST + 1])
    return line if len(text) <= LONGEST else f"{line[:LONGEST]}…"

"""Make untrusted text safe to print: output of models, data, servers and logs may control a terminal.

An escape sequence can change a window's title, overwrite earlier output or write to the clipboard, and a
bidirectional control character makes one name look like another. Rich and click pass both through.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with every control character escaped as in Python (`\\x1b`), except for line breaks and tabs. Lone
    surrogates are escaped too, so that every stream accepts the result."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )

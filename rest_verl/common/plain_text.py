"""Text that only shows: what models, data, servers and logs hold is printed, and a terminal obeys some of it.

An escape sequence can retitle a window, move the cursor over what was said before or write to the clipboard, and a
character that turns the direction of text makes one name look like another. Rich and click pass both on.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """Any text with every character that would control how text is shown written as Python escapes it, as in `\\x1b`;
    line breaks and tabs stay. No lone surrogate is left, so that every stream takes it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )

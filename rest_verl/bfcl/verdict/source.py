"""What the readers of Java and JavaScript share: finding parts of source text in time linear in its length.

BFCL finds them with regular expressions that take quadratic or exponential time on hostile text. Those used here do
not, and the rest is found by hand; what is found is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPACE = re.compile(r"\s*")


class Undecidable(ValueError):
    """BFCL's checker stops with an error of its own at this point, so there is no verdict to agree with."""


def integer(digits: str) -> int:
    """Read decimal digits; Undecidable where they are none, or more than Python converts (4,300)."""
    try:
        return int(digits)
    except ValueError:
        raise Undecidable("an integer that cannot be converted") from None


def number_or_text(text: str) -> int | float | str:
    """Read text as Python reads a number, integers first; text that is none stays as it is."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def skip_space(text: str, position: int) -> int:
    """Return the position of the first character from here on that is no white space."""
    found = _SPACE.match(text, position)
    return found.end() if found else position


def between(text: str, opening: re.Pattern[str], closing: str, least: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each stretch that follows an opening and runs to the next closing on the same line.

    Args:
        opening: matches no empty text; a match of it holds no second one.
        least: characters that the stretch has at least; a closing among them is part of it.
    """
    end = newline = -1
    position = 0
    while found := opening.search(text, position):
        start = position = found.end()
        if end < start + least:
            end = text.find(closing, start + least)
            if end < 0:
                return
            newline = text.rfind("\n", start, end)
        if newline < start:
            yield start, end
            position = end + len(closing)

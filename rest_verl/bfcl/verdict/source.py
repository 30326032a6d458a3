"""What the readers of Java and JavaScript share: finding parts of source text in linear time.

BFCL uses regular expressions that take quadratic or exponential time on hostile text. The regular expressions and the
code here find the same parts in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPACE = re.compile(r"\s*")


class Undecidable(ValueError):
    """BFCL's checker stops with an error at this point, so there is no verdict to agree with."""


def integer(digits: str) -> int:
    """Read decimal digits; Undecidable if there are none, or more than Python converts (4,300)."""
    try:
        return int(digits)
    except ValueError:
        raise Undecidable("an integer cannot be converted") from None


def number_or_text(text: str) -> int | float | str:
    """Read text as a Python number, integers first; other text stays as it is."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def skip_space(text: str, position: int) -> int:
    """Return the position of the first character from here on that is not white space."""
    found = _SPACE.match(text, position)
    return found.end() if found else position


def between(text: str, opening: re.Pattern[str], closing: str, least: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each stretch between an opening and the next closing on the same line.

    Args:
        opening: does not match empty text; a match contains no second one.
        least: minimum number of characters in the stretch; a closing among them is part of it.
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

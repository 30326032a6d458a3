"""Calls that would take a trajectory, and with it the whole process, much too long.

A call runs in the event loop that all trajectories of a worker share, and a power of a giant number runs in C, where
no time-out reaches it. Few methods can take long; what makes them do so is refused before they run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

DIGITS = 4300  # of an integer: Python writes no longer one, so the reference fails as well, but after computing it
PRECISION = 1000  # digits of a logarithm or square root
LISTING = 1_000_000  # characters that a listing of all files may come to, with a share for each; BFCL has 25,000

_SHARE = 64  # characters that each file of a listing counts for, beside its path

# A number as text that is short or of a moderate size: mpmath writes out an exponent of a billion digit by digit.
_MODERATE = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?\s*", re.ASCII)


def refuse_costly(name: str, instance: Any, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if a call would take too long; the message is for the model.

    Args:
        name: of a public method of one of BFCL's API classes.
        instance: that it is called on.
        arguments: JSON values, fitting or not.
    """
    if refuse := _REFUSE.get(name):
        refuse(instance, arguments)


def _power(instance: Any, arguments: Mapping[str, Any]) -> None:
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if not isinstance(base, int) or not isinstance(exponent, int) or abs(base) < 2 or exponent < 1:
        return  # computed with floats, or too small to grow
    # compared before it is multiplied: the exponent may be larger than any float
    if exponent > DIGITS / math.log10(2) or exponent * math.log10(abs(base)) > DIGITS:
        raise ValueError(f"the result would have more than {DIGITS} digits")


def _round(instance: Any, arguments: Mapping[str, Any]) -> None:
    number, places = arguments.get("number"), arguments.get("decimal_places")
    if isinstance(number, int) and isinstance(places, int) and places < -DIGITS:
        raise ValueError(f"decimal_places must not be below -{DIGITS}")


def _logarithm(instance: Any, arguments: Mapping[str, Any]) -> None:
    _precision(instance, arguments)
    for key in ("value", "base"):
        text = arguments.get(key)
        if isinstance(text, str) and any(map(str.isdigit, text)) and not _MODERATE.fullmatch(text):
            raise ValueError(f"{key} must be a number")


def _precision(instance: Any, arguments: Mapping[str, Any]) -> None:
    try:
        digits = int(arguments.get("precision", 0))
    except (TypeError, ValueError, OverflowError):
        return  # no number: the method says so itself
    if digits > PRECISION:
        raise ValueError(f"precision must be at most {PRECISION} digits")


def _listing(instance: Any, arguments: Mapping[str, Any]) -> None:
    """A directory can be copied into itself, and copies share what is in them: paths may be endless or countless."""
    left = LISTING
    waiting = [(instance.root, 0), (instance._current_dir, 0)]
    while waiting:
        directory, depth = waiting.pop()
        for name, item in directory.contents.items():
            length = depth + 1 + len(name)
            left -= length + _SHARE
            if left < 0:
                raise ValueError("there are too many files and directories to go through")
            if hasattr(item, "contents"):
                waiting.append((item, length))


_REFUSE: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "power": _power,
    "round_number": _round,
    "logarithm": _logarithm,
    "square_root": _precision,
    "find": _listing,
    "du": _listing,
}

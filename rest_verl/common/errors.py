"""An exception of the user's own code as one line: its type, its message, and where in that code it was raised."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OWN = Path(__file__).parents[1]
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def raised(error: BaseException) -> str:
    """Describe an exception that code outside of this package raised.

    Returns:
        `TypeError: the message (mine.py:12)`: the deepest line that is neither of this package nor installed, or else
        the deepest of all; of a syntax error the line that cannot be read.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    theirs = [frame for frame in frames if _is_theirs(frame.filename)] or frames
    place = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {message}' if message else ''}{place}"


def _is_theirs(file: str) -> bool:
    return not file.startswith(_INSTALLED) and _OWN not in Path(file).parents

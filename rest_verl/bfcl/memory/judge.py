"""What BFCL asks of an answer from memory: that it mentions an accepted value. Equal to bfcl-eval's `agentic_checker`.

Texts are compared in lower case, without the characters , . / - _ * ^ ( ), with one kind of quote, and only as whole
words: "7" is in "7 days" and not in "17 days".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rest_verl.reward.response import Response

_IGNORED = str.maketrans("'", '"', ",./-_*^()")


def mentions(text: str, accepted: Iterable[str]) -> bool:
    """Whether a text contains one of the accepted values."""
    standard = _standard(text)
    return any(re.search(rf"\b{re.escape(_standard(value))}\b", standard) for value in accepted)


def final_message(response: Response) -> str | None:
    """The last turn without its reasoning, which is what BFCL judges; None if it makes a call, readable or not.

    Reasoning that was not closed is not part of the answer.
    """
    if not response.turns:
        return None
    text, turn = response.texts[-1], response.turns[-1]
    if turn.calls or response.wire_format.is_malformed_call(text, turn):
        return None
    kept, position = [], 0
    for start, end in sorted([*turn.think, *turn.markers]):
        kept.append(text[position:start])
        position = max(position, end)
    return b"".join([*kept, text[position:]]).decode("utf-8", "replace").strip()


def _standard(text: str) -> str:
    return text.translate(_IGNORED).lower()

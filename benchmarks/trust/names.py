"""Names with commas between them, as options of the commands take them."""

from __future__ import annotations

from collections.abc import Collection

from rest_verl.common.names import unknown_name


def known_names(kind: str, text: str, allowed: Collection[str]) -> list[str]:
    """The names in a text, each once, in its order.

    Args:
        kind: what the names are of, for the message.
        text: names with commas between them.
        allowed: the names that there are.

    Raises:
        ValueError: there is no such name.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in allowed:
            raise ValueError(unknown_name(kind, name, allowed))
    return list(dict.fromkeys(names))

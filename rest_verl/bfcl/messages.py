"""Messages of BFCL's users, as the rows of its environments hold them."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT


@dataclass(frozen=True, config=STRICT)
class TaskMessage:
    """A user message, ready for the chat template."""

    role: str
    content: str

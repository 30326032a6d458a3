"""A multi-turn task of BFCL as a row carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rest_verl.bfcl.multi_turn.apis import API_CLASSES
from rest_verl.common.suggest import unknown_name
from rest_verl.config.ramp import STRICT
from rest_verl.core.tool_calls import ToolCall


@dataclass(frozen=True, config=STRICT)
class TaskMessage:
    """A message of the user, ready for the chat template."""

    role: str
    content: str


@dataclass(frozen=True, config=STRICT)
class Task:
    """What the environment is made with. Each key is a key of `environment_kwargs`.

    Attributes:
        id: BFCL's own.
        initial_config: by class, what it begins with.
        involved_classes: the API classes that can be called.
        turns: the messages of each turn of the user but the first, which the prompt holds.
        ground_truth: the calls that are due in each turn.
        long_context: whether states and results are padded.
        held_out: by the number of a turn (as text, since JSON has no other keys; the first is 0), the names that
            cannot be called before it.
    """

    id: str
    initial_config: dict[str, dict[str, Any]]
    involved_classes: list[str]
    turns: list[list[TaskMessage]]
    ground_truth: list[list[ToolCall]]
    long_context: bool
    held_out: dict[str, list[str]]

    def __post_init__(self) -> None:
        for name in self.involved_classes:
            if name not in API_CLASSES:
                raise ValueError(f"involved_classes: {unknown_name('API class of BFCL', name, API_CLASSES)}")
        if len(self.ground_truth) != len(self.turns) + 1:
            raise ValueError(
                f"ground_truth has {len(self.ground_truth)} turns and turns has {len(self.turns)}: the first turn is "
                "in the prompt, so turns must have one less"
            )
        if not any(self.ground_truth):
            raise ValueError("ground_truth has no call in any turn, so there is nothing to score")
        for turn in self.held_out:
            if not turn.isdecimal() or not 0 < int(turn) < len(self.ground_truth):
                raise ValueError(f"held_out: {turn!r} is no later turn; allowed: 1 to {len(self.turns)} as text")


_TASK = TypeAdapter(Task)


def read_task(kwargs: Mapping[str, Any]) -> Task:
    """Read the JSON values of `environment_kwargs`.

    Raises:
        ValueError: a key is missing, unknown or does not fit; the message names each.
    """
    try:
        return _TASK.validate_python(kwargs)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors()
        ]
        raise ValueError(f"arguments of the environment bfcl_multi_turn: {'; '.join(faults)}") from None

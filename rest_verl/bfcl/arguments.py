"""Arguments of BFCL's environments: the JSON values of a row's `environment_kwargs`, checked by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT

T = TypeVar("T")


@dataclass(frozen=True, config=STRICT)
class TaskMessage:
    """A user message, ready for the chat template."""

    role: str
    content: str


def read_arguments(adapter: TypeAdapter[T], kwargs: Mapping[str, Any], environment: str) -> T:
    """Read the arguments of an environment.

    Raises:
        ValueError: keys are missing, unknown or invalid; the message names each.
    """
    try:
        return adapter.validate_python(kwargs)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors()
        ]
        raise ValueError(f"arguments of the environment {environment}: {'; '.join(faults)}") from None

"""The arguments that a row gives to its environment or its user: JSON values, checked, with variables of the worker.

`${NAME}` and `${NAME:-default}` are environment variables where the agent loop runs, so that no key and no address has
to stand in the data. Nothing here is ever text of a model.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def validated(adapter: TypeAdapter[T], given: Any, what: str) -> T:
    """Values of JSON as the type of the adapter.

    Raises:
        ValueError: keys are missing, unknown or invalid; the message begins with `what` and names each.
    """
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        # Where an object or a text is allowed, the errors of the object say more than "not a text".
        faults = [
            f"{'.'.join(str(part) for part in item['loc'] if '[' not in str(part))} "
            f"{item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors()
            if item["loc"][-1:] != ("str",)
        ]
        raise ValueError(f"{what}: {'; '.join(faults)}") from None


def expand(text: str) -> str:
    """Text with the environment variables that it names.

    Raises:
        ValueError: a variable is not set and has no default.
    """
    return _VARIABLE.sub(_value, text)


def _value(variable: re.Match[str]) -> str:
    name, default = variable.groups()
    value = os.environ.get(name, default)
    if value is None:
        raise ValueError(
            f"the environment variable {name} is not set where the agent loop runs: export it before the run, or pass "
            f"it with +ray_kwargs.ray_init.runtime_env.env_vars.{name}=..."
        )
    return value

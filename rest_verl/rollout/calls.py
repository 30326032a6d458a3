"""The calls of a generated turn, read from its bytes, and their results."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeVar

from rest_verl.core.tool_calls import NO_TOOLS, ToolSchemas, WireFormat
from rest_verl.rollout.environment import Earned, ToolError
from rest_verl.rollout.safe_text import replace_lone_surrogates, text_of_error

T = TypeVar("T")

# Errors of a call. `failed`: the environment refused it with a ToolError; `exception`: any other exception.
ERRORS = ("unreadable", "unknown_tool", "wrong_arguments", "failed", "exception", "timeout", "too_many_calls")
UNREADABLE = "This call could not be read. Write it whole, with the tool's name and its arguments as an object."
MAX_NAME_LENGTH = 100  # characters of a name in messages
MAX_DEPTH = 64  # levels of nesting in arguments: verl copies trajectories recursively


@dataclass(eq=False)
class Call:
    """One call of a turn.

    Attributes:
        tool_call_id: id that links the tool's message to the call, unique in the trajectory. It has the form that
            Kimi's chat template prints; other templates do not print it.
        name: name as the model wrote it; None if it wrote none.
        arguments: decoded arguments; None if the call cannot be read.
        result: text that the model reads.
        error: one of `ERRORS`; None if the call succeeded.
        truncated: whether the result was cut.
        seconds: duration of the call in seconds.
        media: images and videos from a verl tool, by verl's names.
        reward: reward from a verl tool, or what an environment says that the call earned.
    """

    tool_call_id: str
    name: str | None
    arguments: dict[str, Any] | None
    result: str = ""
    error: str | None = None
    truncated: bool = False
    seconds: float = 0.0
    media: dict[str, Any] = field(default_factory=dict)
    reward: float | None = None

    def row(self) -> dict[str, Any]:
        """The call as a row of the turn table."""
        shown = {"name": self.name, "arguments": self.arguments, "result": self.result, "error": self.error}
        return shown | {"seconds": self.seconds} | ({"truncated": True} if self.truncated else {})


@dataclass(eq=False)
class Failure(Exception):
    """A failed call.

    Attributes:
        error: one of `ERRORS`.
        message: text for the model.
    """

    error: str
    message: str


def read_calls(
    wire_format: WireFormat,
    pieces: Sequence[bytes],
    ids: Sequence[int],
    first: int = 0,
    tools: ToolSchemas = NO_TOOLS,
) -> tuple[str, list[Call]]:
    """Read a generated turn from the exact bytes of its ids.

    Args:
        wire_format: wire format of the policy.
        pieces: bytes of each id; the last entry stands for all larger ids.
        ids: token ids of the turn.
        first: number of calls before this turn in the trajectory.
        tools: tools that the policy was offered.

    Returns:
        The turn's answer, and its calls; a call that cannot be read is included, without arguments.
    """
    last = len(pieces) - 1
    text = b"".join([pieces[min(token, last)] for token in ids])
    turn = wire_format.parse(text)
    calls = []
    read = wire_format.read_calls(text, turn, tools)
    for number, (span, call) in enumerate(zip(turn.calls, read, strict=True), first):
        written = text[slice(*span.name)].decode(errors="replace") if span.name else None
        name = call.name if call else written
        arguments = call.arguments if call and _is_shallow(call.arguments, MAX_DEPTH) else None
        calls.append(Call(f"functions.{shown_name(name)}:{number}", name, arguments))
    return b"".join(text[slice(*span)] for span in turn.response).decode(errors="replace"), calls


def shown_name(name: str | None) -> str:
    """A name short enough for a message."""
    return (name or "unreadable")[:MAX_NAME_LENGTH]


async def run_tool_call(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await a call of the tool `name`.

    Raises:
        Failure: in place of any exception that the call raises.
    """
    try:
        return await work
    except Failure:
        raise
    except ToolError as error:
        raise Failure("failed", text_of_error(error) or "the call failed") from error
    except KeyError as error:
        # A tool may raise KeyError for its own keys; only a KeyError of the tool's name means an unknown tool.
        if error.args == (name,):
            raise unknown_tool(name) from error
        raise Failure("exception", f"KeyError: {text_of_error(error)}") from error
    except TypeError as error:
        raise Failure("wrong_arguments", f"wrong arguments: {text_of_error(error)}") from error
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # a tool that exits must not end the worker
        raise Failure("exception", f"{type(error).__name__}: {text_of_error(error)}") from error


def read_result(result: Any) -> tuple[str, float | None]:
    """The result of an environment's tool as its text and what it earned, if it says so; Failure if it is neither text
    nor `Earned`, which is a bug of the environment."""
    text, amount = (result.text, result.amount) if isinstance(result, Earned) else (result, None)
    if not isinstance(text, str):
        raise Failure("exception", f"the tool returned {type(text).__name__} instead of text")
    if amount is not None and not (isinstance(amount, Real) and math.isfinite(amount)):
        raise Failure("exception", f"the tool earned {amount!r:.50}, which is no finite number")
    return text, None if amount is None else float(amount)


def json_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the client can send: without lone surrogates, at which its writer would break for good.

    Raises:
        TypeError: JSON cannot hold them, as numbers of thousands of digits or infinities, which some formats allow.
    """
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise TypeError(f"no JSON: {error}") from error
    return json.loads(replace_lone_surrogates(text))


def unknown_tool(name: str) -> Failure:
    """Failure of a call to a tool that does not exist."""
    return Failure("unknown_tool", f"there is no tool {shown_name(name)!r}")


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether a JSON value has at most `levels` levels."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)

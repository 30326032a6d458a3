"""The calls of a generated turn: read from its bytes, and what each came to."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rest_verl.core.tool_calls import WireFormat
from rest_verl.rollout.environment import ToolError
from rest_verl.rollout.safe_text import text_of_error

T = TypeVar("T")

# What can go wrong with a call. `failed`: the environment refused it in its own words; `exception`: anything else.
ERRORS = ("unreadable", "unknown_tool", "wrong_arguments", "failed", "exception", "timeout", "too_many_calls")
UNREADABLE = "This call could not be read. Write it whole, with the tool's name and its arguments as an object."
LONGEST_NAME = 100  # characters of a name that messages repeat
DEEPEST = 64  # levels of arguments in one another; what carries a trajectory on through verl copies them by recursion


@dataclass(eq=False)
class Call:
    """One call of a turn.

    Attributes:
        tool_call_id: what ties the tool's message to the call, unique in the trajectory. In the shape that Kimi's
            chat template shows; others do not show it.
        name: as the model wrote it; None where it wrote none.
        arguments: decoded; None where the call cannot be read.
        result: what the model gets to read.
        error: one of `ERRORS`; None where the call went well.
        truncated: whether the result was cut.
        seconds: that the call took.
        media: images and videos of a tool of verl's, by the name that verl gives them.
        reward: of a tool of verl's.
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
        """The call in the turn table."""
        shown = {"name": self.name, "arguments": self.arguments, "result": self.result, "error": self.error}
        return shown | {"seconds": self.seconds} | ({"truncated": True} if self.truncated else {})


@dataclass(eq=False)
class Failure(Exception):
    """A call that came to nothing.

    Attributes:
        error: one of `ERRORS`.
        message: for the model.
    """

    error: str
    message: str


def read_calls(
    wire_format: WireFormat, pieces: Sequence[bytes], ids: Sequence[int], first: int = 0
) -> tuple[str, list[Call]]:
    """Read a generated turn from the exact bytes of its ids.

    Args:
        wire_format: how the policy writes its turns.
        pieces: the bytes of each id; the last entry stands for all ids beyond.
        ids: of the turn.
        first: number of calls before this turn in the trajectory.

    Returns:
        The turn's answer, and its calls; one that cannot be read is there too, without arguments.
    """
    beyond = len(pieces) - 1
    text = b"".join([pieces[min(token, beyond)] for token in ids])
    turn = wire_format.parse(text)
    calls = []
    read = wire_format.read_calls(text, turn)
    for number, (span, call) in enumerate(zip(turn.calls, read, strict=True), first):
        written = text[slice(*span.name)].decode(errors="replace") if span.name else None
        name = call.name if call else written
        arguments = call.arguments if call and _is_shallow(call.arguments, DEEPEST) else None
        calls.append(Call(f"functions.{shown_name(name)}:{number}", name, arguments))
    return b"".join(text[slice(*span)] for span in turn.response).decode(errors="replace"), calls


def shown_name(name: str | None) -> str:
    """A name that fits into a message."""
    return (name or "unreadable")[:LONGEST_NAME]


async def caught(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await a call of the tool with this name.

    Raises:
        Failure: in place of whatever the call raised.
    """
    try:
        return await work
    except Failure:
        raise
    except ToolError as error:
        raise Failure("failed", text_of_error(error) or "the call failed") from error
    except KeyError as error:
        # A tool may raise it about a key of its own; only one about the tool's name says that there is no such tool.
        if error.args == (name,):
            raise unknown_tool(name) from error
        raise Failure("exception", f"KeyError: {text_of_error(error)}") from error
    except TypeError as error:
        raise Failure("wrong_arguments", f"wrong arguments: {text_of_error(error)}") from error
    except (Exception, SystemExit) as error:  # a tool that exits must not take the worker with it
        raise Failure("exception", f"{type(error).__name__}: {text_of_error(error)}") from error


def text_of(result: Any) -> str:
    """The result of an environment's tool; Failure if it is no text, which is the environment's mistake."""
    if not isinstance(result, str):
        raise Failure("exception", f"the tool returned {type(result).__name__} instead of text")
    return result


def unknown_tool(name: str) -> Failure:
    """A call of a tool that is not there."""
    return Failure("unknown_tool", f"there is no tool {shown_name(name)!r}")


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether a JSON value has at most so many levels."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)

"""The arguments of the environment `mcp`: which servers, which of their tools, and what is asked before and after.

Servers are written as clients of MCP write them (`mcpServers`), so that a server's own instructions can be pasted:
a command to start for each trajectory, or the URL of a server that runs. They can name environment variables
(`rollout.row_arguments`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rest_verl.config.ramp import STRICT
from rest_verl.rollout.row_arguments import expand, validated


@dataclass(frozen=True, config=STRICT)
class Server:
    """One server: `command`, which speaks over its standard input and output, or `url` of streamable HTTP.

    Attributes:
        command: program to start, without a shell.
        args: its arguments.
        env: environment variables of the program. Of the worker's own it gets HOME, LOGNAME, PATH, SHELL, TERM and
            USER alone.
        cwd: its working directory; None for the worker's.
        url: address of a server that runs already.
        headers: HTTP headers of every request.
        type: transport, as some clients write it; `command` and `url` already say it.
    """

    command: str | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    type: Literal["stdio", "http", "streamable-http", "streamable_http"] | None = None

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either command, a program to start, or url, the address of one that runs")
        if self.type is not None and (self.type == "stdio") != (self.command is not None):
            raise ValueError(
                f"type={self.type!r} does not go with {'command' if self.command else 'url'}: leave it out"
            )
        if self.url is not None and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd belong to a command; a server at a url takes headers")
        if self.command is not None and self.headers:
            raise ValueError("headers belong to a url; a command takes env")

    def expanded(self) -> Server:
        """The server with the values of the environment variables that it names.

        Raises:
            ValueError: a variable is not set.
        """
        return Server(
            command=_expand(self.command),
            args=[expand(one) for one in self.args],
            env={key: expand(value) for key, value in self.env.items()},
            cwd=_expand(self.cwd),
            url=_expand(self.url),
            headers={key: expand(value) for key, value in self.headers.items()},
        )

    def shown(self) -> str:
        """The server in a message: as it was written, so without the values of variables."""
        return self.url if self.url is not None else " ".join([str(self.command), *self.args])


@dataclass(frozen=True, config=STRICT)
class HiddenCall:
    """A call that the environment makes itself, of a tool that the model neither sees nor can call."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class McpSettings:
    """The keys of `environment_kwargs`.

    Attributes:
        servers: servers by name; or the path of a JSON file {"mcpServers": {name: server}} that all rows share.
        tools: names of the tools that the model is offered and can call; None for all that the servers list.
        setup: called after the servers have started, before the model's first turn.
        score: called at the end of the trajectory; its result is a number in [0, 1], or an object with `score` and
            further numbers. None leaves the reward to the scorer of the row's data source.
        parallel: whether the calls of one turn may run at the same time.
        start_seconds: time limit for starting a server and listing its tools, in seconds.
    """

    servers: dict[str, Server] | str
    tools: list[str] | None = None
    setup: HiddenCall | None = None
    score: HiddenCall | None = None
    parallel: bool = False
    start_seconds: float = Field(default=60.0, gt=0)

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty: name at least one")
        hidden = {call.tool for call in (self.setup, self.score) if call is not None}
        if shown := sorted(hidden & set(self.tools or ())):
            raise ValueError(f"tools has {', '.join(shown)}, which setup or score calls: the model must not see them")

    @property
    def hidden(self) -> frozenset[str]:
        """Names of the tools that only the environment calls."""
        return frozenset(call.tool for call in (self.setup, self.score) if call is not None)


_SETTINGS = TypeAdapter(McpSettings)
_SERVERS = TypeAdapter(dict[str, Server])


def read_settings(kwargs: Mapping[str, Any]) -> McpSettings:
    """Read the JSON values of `environment_kwargs`.

    Raises:
        ValueError: keys are missing, unknown or invalid; the message names each.
    """
    return validated(_SETTINGS, kwargs, "arguments of the environment mcp")


def servers_of(settings: McpSettings) -> dict[str, Server]:
    """The servers by name, read from their file if the settings name one.

    Raises:
        ValueError: the file cannot be read or is wrong.
    """
    if not isinstance(settings.servers, str):
        return settings.servers
    path = Path(settings.servers).expanduser()
    try:
        given = json.loads(path.read_bytes())["mcpServers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"servers={settings.servers!r}: cannot be read as a JSON object with mcpServers "
            f"({type(error).__name__}: {error}). It must be there on every node that runs agent loops"
        ) from error
    return validated(_SERVERS, given, f"mcpServers of {settings.servers}")


def _expand(text: str | None) -> str | None:
    """`expand`, for what may be None."""
    return None if text is None else expand(text)

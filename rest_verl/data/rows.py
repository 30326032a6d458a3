"""The common layout of all rows made here, so that verl can concatenate any of their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = dict[str, Any]

_EXTRA_INFO = [("index", pa.int64()), ("id", pa.string()), ("split", pa.string()), ("tools", pa.string())]

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct(_EXTRA_INFO)),
    ]
)

# Rows with an environment; a row whose tools are unknown has no field `tools`. verl fills the fields that other rows
# lack with None when it concatenates them.
ENVIRONMENT_SCHEMA = SCHEMA.set(
    SCHEMA.get_field_index("extra_info"),
    pa.field(
        "extra_info", pa.struct([*_EXTRA_INFO, ("environment", pa.string()), ("environment_kwargs", pa.string())])
    ),
)


@dataclass(frozen=True)
class RowEnvironment:
    """The environment that a row acts on.

    Attributes:
        name: its registered name.
        kwargs: its arguments, JSON values.
    """

    name: str
    kwargs: Mapping[str, Any]

    def extra_info(self) -> dict[str, str]:
        """The fields of extra_info; the arguments are JSON text, so that all environments have the same schema."""
        return {
            "environment": self.name,
            "environment_kwargs": json.dumps(self.kwargs, ensure_ascii=False, allow_nan=False),
        }


def make_row(
    data_source: str,
    index: int,
    id: str,
    split: str,
    prompt: list[dict[str, str]],
    ground_truth: str,
    environment: RowEnvironment | None = None,
    tools: str | None = None,
) -> Row:
    """Return one row in the layout of SCHEMA, or of ENVIRONMENT_SCHEMA if it has an environment.

    Args:
        data_source: determines the scorer and groups verl's metrics.
        index: number of the row in its data set, by which verl distinguishes prompts.
        id: identifies the row in its original data.
        split: train, validation or test.
        prompt: [{"role": str, "content": str}, ...].
        ground_truth: read by the data source's scorer; an environment scores instead of it.
        environment: the environment that the row acts on.
        tools: names and schemas of the tools that the prompt offers (`formats.tools.tools_text`), by which calls are
            read; None if they are unknown.
    """
    info = {"index": index, "id": id, "split": split} | ({} if tools is None else {"tools": tools})
    return {
        "data_source": data_source,
        "prompt": [{"role": message["role"], "content": message["content"]} for message in prompt],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": info | (environment.extra_info() if environment else {}),
    }


NO_CALL = (
    "<think> None of the tools at hand can do what is asked, so I call none and say so. </think>\n"
    "<response> I cannot do this with the tools that I have. </response>"
)
_THINK_CALL = "<think> The tools at hand can do what is asked, so I call them with the values the user gave. </think>"


def turn_of_calls(calls: Iterable[tuple[str, dict[str, Any]]]) -> str:
    """Return a turn that makes these (name, parameters) calls.

    Text is not escaped, as a model would write it.
    """
    lines = [json.dumps({"name": name, "parameters": given}, ensure_ascii=False) for name, given in calls]
    return "\n".join([_THINK_CALL, "<tool_call>", *lines, "</tool_call>"])

"""The tools that a system message lists in its text, as ToolRL's rows, its API-Bank files and our own prompts do:

1. Name: get_weather
Description: the weather of a city
Parameters: {"city": {"type": "string", "description": "..."}}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rest_verl.formats.parse.json_calls import strict_json
from rest_verl.formats.parse.python_calls import python_literal
from rest_verl.formats.tools import tool_schemas, tools_text

# A description may have lines of its own, but no line of another tool. The parts exclude each other line by line.
_TOOL = re.compile(
    r"^\d+\. Name: (?P<name>.+)\n"
    r"Description:(?:.*\n(?!\d+\. Name: |Parameters: ))*.*\n"
    r"Parameters: (?P<parameters>.*)$",
    re.MULTILINE,
)


def listed_tools(prompt: Iterable[Mapping[str, Any]]) -> str | None:
    """The text of `extra_info.tools` for a prompt whose system messages list tools; None if none can be read. A tool
    whose parameters are neither a JSON object nor a Python dict, as in API-Bank, is left out."""
    documents = []
    for message in prompt:
        if message.get("role") == "system":
            for tool in _TOOL.finditer(message["content"]):
                parameters = _object(tool["parameters"])
                if parameters is not None:
                    documents.append({"name": tool["name"].strip(), "parameters": parameters})
    return tools_text(tool_schemas(documents)) if documents else None


def _object(text: str) -> dict[str, Any] | None:
    for read in (lambda: strict_json(text.encode("utf-8", "surrogatepass")), lambda: python_literal(text)):
        try:
            value = read()
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None

"""A turn as labelled parts: bytes with the region they belong to, known because they were put together here."""

import json
from typing import Any

from rest_verl.core.regions import Region, region_spans
from rest_verl.core.tool_calls import ToolCall, Turn
from rest_verl.formats import get_format

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
PRECEDENCE = (NAME, ARGS, FORMAT, RESPONSE, THINK)

Part = tuple[bytes, Region]
Call = tuple[str, dict[str, Any]]  # name and arguments


def to_json(value: Any) -> bytes:
    """JSON as a model writes it, text as it is."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def text_of(parts: list[Part]) -> bytes:
    """The bytes of a turn."""
    return b"".join(text for text, _ in parts)


def labels_of(parts: list[Part]) -> list[Region]:
    """The region of each byte of a turn."""
    return [region for text, region in parts for _ in text]


def painted(turn: Turn, length: int) -> list[Region]:
    """The region that a parse gives to each byte of a turn."""
    regions = [OTHER] * length
    for region, (start, end) in region_spans(turn):
        regions[start:end] = [region] * (end - start)
    return regions


def read(format: str, text: str, tools: dict[str, Any] | None = None) -> list[ToolCall | None]:
    """The calls that a format reads in a turn, by the parameters that the row's tools declare."""
    wire_format, raw = get_format(format), text.encode()
    return wire_format.read_calls(raw, wire_format.parse(raw), tools or {})

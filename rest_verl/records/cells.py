"""A recorded trajectory as cells of a table: bounded texts, and its tokens as HTML, coloured by region."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from typing import Any

# dark on light, told apart with any colour vision, as in the viewer
_COLOURS = {"think": "#cfe8f9", "response": "#cdeee3", "format": "#efd5e3", "args": "#fbe3b4", "name": "#f7cdb4"}
_CUT = " [cut]"


@dataclass(frozen=True)
class Cells:
    """One row of `records.schema`, for a table.

    Attributes:
        step, data_source, picked, score: as in the record.
        prompt: its end.
        response: text of all tokens.
        turns: number of turns that the policy generated.
        calls, results: JSON lists, one entry a call.
        reward: JSON object of the components.
        tokens: an HTML fragment.
    """

    step: int
    data_source: str
    picked: str
    prompt: str
    response: str
    turns: int
    calls: str
    results: str
    score: float
    reward: str
    tokens: str

    def values(self) -> list[Any]:
        """The cells in the order of COLUMNS."""
        return list(astuple(self))


COLUMNS = tuple(field.name for field in fields(Cells))


def cells_of(row: Mapping[str, Any], max_bytes: int) -> Cells:
    """Make the cells of a row.

    Args:
        row: a row of `records.schema`, as `pyarrow` gives it.
        max_bytes: most bytes of all cells together; longer texts are cut, a prompt at its beginning.
    """
    share = max_bytes // 6
    calls = [call for turn in row["turns"] or [] for call in turn["calls"] or []]
    made = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return Cells(
        step=row["step"],
        data_source=row["data_source"] or "",
        picked=row["picked"],
        prompt=_end(_text(row["prompt"] or b""), share),
        response=_cut(_text(b"".join(row["bytes"])), share),
        turns=len(row["turns"] or []),
        calls=_cut(json.dumps(made, ensure_ascii=False), share),
        results=_cut(json.dumps([call["error"] or call["result"] for call in calls], ensure_ascii=False), share),
        score=row["score"],
        reward=_cut(json.dumps(dict(row["reward"] or [])), share),
        tokens=_html(row, share),
    )


def _html(row: Mapping[str, Any], max_bytes: int) -> str:
    """The tokens of a row: those of one region that follow each other have one colour, what tools and users said is
    grey."""
    begin, end = '<div style="white-space:pre-wrap;font-family:monospace;color:#1a1a1a;background:#ffffff">', "</div>"
    parts, left = [begin], max_bytes - len(begin) - len(end)
    for region, text in _runs(row):
        style = "color:#767676" if region is None else f"background:{_COLOURS.get(region, '#ffffff')}"
        opening = f'<span title="{region or "tool or user"}" style="{style}">'
        room = left - len(opening) - len("</span>") - len(_CUT)
        if room < 0:
            break
        # a character becomes up to six bytes as HTML
        shown = text if len(text) * 6 <= room else _cut(text, room // 6)
        parts.append(f"{opening}{html.escape(shown)}</span>")
        left -= len(parts[-1].encode())
        if shown != text:
            break
    return "".join([*parts, end])


def _runs(row: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """(region, text) of neighbouring tokens of one region; None for what the policy did not generate."""
    regions = [
        region if generated else None for region, generated in zip(row["region"], row["generated"], strict=True)
    ]
    for region, tokens in groupby(zip(regions, row["bytes"], strict=True), key=lambda token: token[0]):
        yield region, _text(b"".join(piece for _, piece in tokens))


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def _cut(text: str, max_bytes: int) -> str:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return text
    return raw[: max(max_bytes - len(_CUT), 0)].decode("utf-8", "ignore") + _CUT


def _end(text: str, max_bytes: int) -> str:
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= max_bytes else _CUT + raw[len(raw) - max_bytes + len(_CUT) :].decode("utf-8", "ignore")

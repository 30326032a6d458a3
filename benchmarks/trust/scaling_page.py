"""What benchmarks/scaling.py found, as tables and sentences: everything is computed from the result file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from page import markdown_table

from trust.scaling_clusters import (
    Table,
    answer,
    assumed,
    clusters,
    limits,
    lines_of,
    moved,
    spread,
    together,
)
from trust.scaling_fit import Line, Load, fit
from trust.scaling_parts import (
    AHEAD,
    AHEAD_METRICS,
    MEMORY,
    MEMORY_VERL,
    NOW,
    OWN,
    OWN_MEMORY,
    QUEUE,
    READING,
    RECORDS,
    REST,
    SCORING,
    TAGGING,
    VERL,
    VERLS,
    VERLS_MEMORY,
    WORKERS,
)

MIB = 2**20


def section(result: dict[str, Any], loads: Sequence[Load]) -> list[str]:
    """Everything between the marks of docs/scaling.md."""
    lines = lines_of(result)
    rest, verl = together(lines, REST), together(lines, VERL)
    parts = [
        "### What the driver does for a batch",
        "",
        *markdown_table(*measured(result)),
        "",
        *markdown_table(*fitted(result, lines)),
        "",
        *beyond(result),
        "",
        "### Clusters",
        "",
        *markdown_table(*assumed(loads)),
        "",
        *markdown_table(*clusters(rest, loads)),
        "",
        *markdown_table(*limits(rest, verl, loads)),
        "",
        *answer(rest, verl, loads),
        "",
        "![ResT's and verl's work on the driver as a share of a step, by GPUs](images/scaling.png)",
        "",
        "### Nodes",
        "",
        *markdown_table(*nodes(result)),
        "",
        "### In the workers",
        "",
        *markdown_table(*workers(result)),
        "",
        *spread(result, loads),
        "",
        "### What would move the limit",
        "",
        *markdown_table(*remedied(result)),
        "",
        *moved(result, rest, verl),
    ]
    return parts


def measured(result: dict[str, Any]) -> Table:
    """Seconds of each part by size."""
    steps = result["steps"]
    head = ["seconds", *(f"{rows:,} x {tokens:,}" for rows, tokens in (one["size"] for one in steps))]
    rows = [[part, *(f"{one['seconds'][part]:.3f}" for one in steps)] for part in REST]
    rows.append(["**ResT together** (`timing_s/rest`)", *(f"**{_sum(one, REST):.2f}**" for one in steps)])
    rows += [[part, *(f"{one['seconds'][part]:.3f}" for one in steps)] for part in (RECORDS, *VERL)]
    rows.append(["**verl together**", *(f"**{_sum(one, VERL):.2f}**" for one in steps)])
    rows.append(["ResT / verl", *(f"{_sum(one, REST) / _sum(one, VERL):.2f}" for one in steps)])
    for name, parts in (("ResT", REST), ("verl", VERL)):
        rows.append([f"{name}: CPU of the driver", *(f"{_sum(one, parts, 'cpu'):.2f}" for one in steps)])
    for part in (MEMORY_VERL, MEMORY):
        rows.append([f"{part}, MiB", *(f"{one['bytes'][part] / MIB:,.0f}" for one in steps)])
    return head, rows


def _sum(step: dict[str, Any], parts: Sequence[str], clock: str = "seconds") -> float:
    return math.fsum(step[clock][part] for part in parts)


def fitted(result: dict[str, Any], lines: dict[str, Line]) -> Table:
    """The line of each part, and how far it is from what was measured."""
    shown = {part: lines[part] for part in (*REST, RECORDS, *VERL)}
    rows = [[part, *_coefficients(line), f"{line.error:.0%}"] for part, line in shown.items()]
    for name, parts in (("**ResT together**", REST), ("**verl together**", VERL)):
        line = together(lines, parts)
        error = max(
            abs(line.at(one["size"][0], one["size"][0] * one["size"][1]) / _sum(one, parts) - 1)
            for one in result["steps"]
        )
        rows.append([name, *_coefficients(line), f"{error:.0%}"])
    return ["fit", "ms a batch", "us a response", "ns a token", "largest error"], rows


def _coefficients(line: Line) -> list[str]:
    return [f"{line.batch * 1e3:.1f}", f"{line.response * 1e6:.1f}", f"{line.token * 1e9:.0f}"]


def beyond(result: dict[str, Any]) -> list[str]:
    """Arithmetic without a queue, in larger batches than those that were fitted."""
    alone = result["alone"]["sizes"]
    head = ["without a queue", "million tokens", f"{OWN}, s", f"{VERLS}, s", "MiB for a while, ResT", "verl"]
    rows = [
        [
            f"{one['size'][0]:,} x {one['size'][1]:,}",
            f"{_tokens(one) / 1e6:.0f}",
            f"{one[OWN]:.2f}",
            f"{one[VERLS]:.2f}",
            f"{one[OWN_MEMORY] / MIB:,.0f}",
            f"{one[VERLS_MEMORY] / MIB:,.0f}",
        ]
        for one in alone
    ]
    few = [one for one in alone if one is not alone[-1]]
    largest = alone[-1]
    rows_, tokens = largest["size"][0], _tokens(largest)
    said = []
    for name in (OWN, VERLS):
        line = fit([tuple(one["size"]) for one in few], [one[name] for one in few])
        ahead = line.at(rows_, tokens)
        said.append(
            f"{name}: {ahead:.1f} s foretold, {largest[name]:.1f} s measured ({ahead / largest[name] - 1:+.0%})"
        )
    return [
        *markdown_table(head, rows),
        "",
        f"How good such a line is beyond what it was fitted to: fitted without the largest size, it foretells that "
        f"one as follows. {'; '.join(said)}. The process had {result['alone']['peak'] / 2**30:.1f} GiB at its peak.",
    ]


def _tokens(one: dict[str, Any]) -> int:
    return one["size"][0] * one["size"][1]


def nodes(result: dict[str, Any]) -> Table:
    """The same batch in queues of more storage units."""
    size = result["nodes"][0]["size"]
    head = [
        "storage units of the queue",
        f"ResT, s, {size[0]:,} x {size[1]:,}",
        "of it the queue, s",
        "verl, s",
    ]
    rows = [
        [
            str(one["units"]),
            f"{_sum(one, REST):.2f}",
            f"{_sum(one, QUEUE):.2f}",
            f"{_sum(one, VERL):.2f}",
        ]
        for one in result["nodes"]
    ]
    return head, rows


def workers(result: dict[str, Any]) -> Table:
    """What is done for a response where there are many processes."""
    parts = (SCORING, READING, TAGGING)
    rows = [[f"{one['tokens']:,}", *(f"{one[part] * 1e6:,.0f}" for part in parts)] for one in result["workers"]]
    return ["tokens of a response", *(f"{part}, us" for part in parts)], rows


def remedied(result: dict[str, Any]) -> Table:
    """Seconds of each variant."""
    found = result["remedies"]
    head = ["`timing_s/rest`, s", *(f"{one['size'][0]:,} x {one['size'][1]:,}" for one in found)]
    rows = [
        [name, *(_against(one["seconds"][name], one["seconds"][NOW], name) for one in found)]
        for name in (NOW, WORKERS, AHEAD, AHEAD_METRICS)
    ]
    return head, rows


def _against(seconds: float, now: float, name: str) -> str:
    return f"{seconds:.2f}" if name == NOW else f"{seconds:.2f} ({seconds / now - 1:+.0%})"

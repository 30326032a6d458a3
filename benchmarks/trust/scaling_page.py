"""What benchmarks/scaling.py found, as tables, sentences and a figure: everything is computed from the result file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from page import markdown_table

from rest_verl.figures import new_figure
from trust.scaling_fit import Line, Load, fit, gpus_at, share
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

CLUSTERS = (8, 64, 256, 1024, 4096)
LIMITS = (0.01, 0.05)
TYPICAL = 2048  # tokens of a response
ASKED = 1000  # GPUs before which the driver should not become the limit
MIB = 2**20
FIGURE = Path(__file__).parents[2] / "docs" / "images" / "scaling.png"

Table = tuple[list[str], list[list[str]]]


def lines_of(result: dict[str, Any]) -> dict[str, Line]:
    """The line of each part of the driver's work."""
    sizes = [tuple(one["size"]) for one in result["steps"]]
    return {
        part: fit(sizes, [max(one["seconds"][part], 1e-6) for one in result["steps"]])
        for part in (*REST, RECORDS, *VERL)
    }


def together(lines: dict[str, Line], parts: Sequence[str]) -> Line:
    """The line of several parts."""
    return sum((lines[part] for part in parts), Line(0, 0, 0))


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
        *moved(result, loads, rest),
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


def assumed(loads: Sequence[Load]) -> Table:
    """What is assumed of a run."""
    rows = [
        [load.name, f"{load.tokens_per_gpu_second:,g}", f"{load.step_seconds:,g}", f"{load.response_tokens:,g}"]
        for load in loads
    ]
    return ["assumed", "tokens a GPU and second", "seconds of a step", "tokens of a response"], rows


def clusters(rest: Line, loads: Sequence[Load]) -> Table:
    """What ResT adds to a step, by GPUs."""
    rows = [[load.name, *(_percent(share(rest, load, gpus)) for gpus in CLUSTERS)] for load in loads]
    return ["ResT adds to a step, with GPUs:", *(f"{gpus:,}" for gpus in CLUSTERS)], rows


def limits(rest: Line, verl: Line, loads: Sequence[Load]) -> Table:
    """At how many GPUs each share is reached, by ResT and by verl's own work."""
    head = ["GPUs at which it adds", *(f"ResT {limit:.0%}" for limit in LIMITS), *(f"verl {x:.0%}" for x in LIMITS)]
    rows = [
        [load.name, *(_gpus(gpus_at(line, load, limit)) for line in (rest, verl) for limit in LIMITS)]
        for load in loads
    ]
    return head, rows


def answer(rest: Line, verl: Line, loads: Sequence[Load]) -> list[str]:
    """The answer in words."""
    a_token, verls = (line.token + line.response / TYPICAL for line in (rest, verl))
    a_second = {limit: limit / a_token for limit in LIMITS}
    rates = ", ".join(f"{limit:.0%} at {rate:,.0f}" for limit, rate in a_second.items())
    at = {load.name: share(rest, load, ASKED) for load in loads}
    held = [f"{name} ({_percent(value)})" for name, value in at.items() if value <= 0.02]
    broken = [f"{name} ({_percent(value)})" for name, value in at.items() if value > 0.02]
    return [
        "What counts is how many tokens the whole cluster makes in a second. With responses of "
        f"{TYPICAL:,} tokens ResT adds {rates} tokens a second, however long a step is.",
        "",
        f"At {ASKED:,} GPUs ResT's part is within 2 % of a step for {_list(held)}, and beyond it for {_list(broken)}. "
        f"verl's own advantages and metrics for the same batch take {verls / a_token:.1f} times as long as ResT's "
        "part, in the same process and with the same queue. verl's reading and writing of old log-probs and its "
        "balancing of the batch come on top of that and were not measured.",
    ]


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


def spread(result: dict[str, Any], loads: Sequence[Load]) -> list[str]:
    """How many processes the workers' part keeps busy."""
    busiest = max(loads, key=lambda load: load.tokens_per_gpu_second / load.response_tokens)
    a_second = ASKED * busiest.tokens_per_gpu_second / busiest.response_tokens
    found = result["workers"]
    each = np.interp(
        busiest.response_tokens, [one["tokens"] for one in found], [one[SCORING] + one[READING] for one in found]
    )
    busy = a_second * each
    return [
        "This is spread over verl's agent-loop and reward workers and done while other responses are generated. "
        f"{ASKED:,} GPUs make {a_second:,.0f} responses of {busiest.name} a second, which keep {busy:.1f} processes "
        "busy.",
    ]


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


def moved(result: dict[str, Any], loads: Sequence[Load], rest: Line) -> list[str]:
    """Where the limit would be with each variant."""
    largest = result["remedies"][-1]
    said = []
    for name in (WORKERS, AHEAD, AHEAD_METRICS):
        left = largest["seconds"][name] / largest["seconds"][NOW]
        said.append(f"with {name} to {1 / left:.1f} times as many GPUs")
    return [f"The limits above would move {', '.join(said)}."]


def draw(result: dict[str, Any], loads: Sequence[Load], path: Path = FIGURE) -> Path:
    """Shares of a step by GPUs: ResT's part as lines, verl's as dashes, the limits as thin lines."""
    lines = lines_of(result)
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    sizes = [2**power for power in range(3, 13)]
    for number, load in enumerate(loads):
        for parts, style in ((REST, "-"), (VERL, "--")):
            line = together(lines, parts)
            shares = [100 * share(line, load, gpus) for gpus in sizes]
            label = load.name if style == "-" else None
            axes.plot(sizes, shares, style, color=f"C{number}", label=label)
    for limit in LIMITS:
        axes.axhline(100 * limit, color="0.6", linewidth=0.8)
        axes.annotate(f"{limit:.0%}", (sizes[0], 100 * limit), fontsize=8, color="0.4", va="bottom")
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="added to a step, %", xticks=CLUSTERS)
    axes.set_xticklabels([f"{gpus:,}" for gpus in CLUSTERS])
    axes.minorticks_off()
    axes.set_title("Work on the driver: ResT (lines) and verl's advantages and metrics (dashes)", fontsize=10)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def _gpus(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none of them"

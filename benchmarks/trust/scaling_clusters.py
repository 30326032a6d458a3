"""What the driver's costs mean for clusters: shares of a step and limits, as tables, sentences and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rest_verl.common.figures import new_figure
from trust.scaling_fit import Line, Load, fit, gpus_at, share
from trust.scaling_parts import AHEAD, AHEAD_METRICS, NOW, READING, RECORDS, REST, SCORING, VERL, WORKERS

CLUSTERS = (8, 64, 256, 1024, 4096)
LIMITS = (0.01, 0.05)
TYPICAL = 2048  # tokens of a response
ASKED = 1000  # GPUs before which the driver should not become the limit
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


def moved(result: dict[str, Any], rest: Line, verl: Line) -> list[str]:
    """Where the limit would be with each variant, and what that is of all that the driver does."""
    largest = result["remedies"][-1]
    left = {name: largest["seconds"][name] / largest["seconds"][NOW] for name in (WORKERS, AHEAD, AHEAD_METRICS)}
    said = [f"with {name} to {1 / value:.1f} times as many GPUs" for name, value in left.items()]
    rows, tokens = largest["size"]
    ours, verls = (line.at(rows, rows * tokens) for line in (rest, verl))
    saved = (1 - min(left.values())) * ours / (ours + verls)
    return [
        f"The limits above would move {', '.join(said)}.",
        "",
        "None of them is in the package: each was tried from outside on the trainer's own code. verl's own part stays "
        f"with all of them, and with the best one the two parts together would take {saved:.0%} less.",
    ]


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

"""What ResT costs as batches and clusters grow: each part of the driver's work against responses and tokens (step.py
measures it, and weighting.py the arithmetic without a queue), the work of the workers against the length of a response
(workers.py), and at how many GPUs the driver's part becomes a share of a step.

Responses are simulated, and a batch repeats 64 of them. All processes share this machine's cores, so the queue's
storage competes with the driver, which it does not on a cluster. Costs are fitted as seconds per batch, response and
token; clusters.py says what follows for a cluster. Add your own run to those that others published by the options.

    pip install --no-deps dashscope          # whose package holds the vocabulary
    python benchmarks/scaling.py --publish   # on a quiet machine; ten minutes
    python benchmarks/scaling.py --quick
    python benchmarks/scaling.py --published --tokens-per-gpu-second 700 --step-seconds 240 --response-tokens 1800
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from clusters import LOADS, Line, Load, fit, gpus_at, share
from harness import Fresh, Out, Publish, Quick, Study, read_result, save_picture, table, workers

from rest_verl.common.figures import new_figure

Size = tuple[int, int]  # responses, tokens of each
Pieces = dict[str, Any]

# Parts of a step on the driver: ResT's, the records, verl's own.
READ, PAD, TAG, WEIGH, METRICS, WRITE = (
    *("reading ids, mask, entropy", "padding and the remainder", "tagging", "weights", "metrics", "writing weights"),
)
REST, QUEUE, RECORDS = (READ, PAD, TAG, WEIGH, METRICS, WRITE), (READ, WRITE), "records (32 trajectories)"
VERL = ADVANTAGES, VERL_METRICS = "verl: advantages", "verl: metrics"
MEMORIES = MEMORY_VERL, MEMORY = "memory of verl's advantages", "the same with ResT"
# The arithmetic without a queue, and the memory that it takes on top.
SIDES = OWN, VERLS = "ResT: weights, metrics", "verl: advantages, metrics"
SIDES_MEMORY = OWN_MEMORY, VERLS_MEMORY = "memory of ResT's", "memory of verl's"
IN_WORKERS = SCORING, READING, TAGGING = "reward manager", "reading the calls of a turn", "tagging one response"

STEPS = [(512, 512), (512, 2048), (2048, 512), (512, 8192), (2048, 2048), (8192, 512), (4096, 2048), (4096, 4096)]
ALONE = [(512, 512), (2048, 2048), (512, 16384), (4096, 4096), (16384, 2048), (8192, 8192), (16384, 8192)]
LENGTHS = [256, 1024, 4096, 16384]
UNITS, ALL_UNITS = 8, (2, 8, 16)  # storage units of the queue: verl's default; two for each node, verl advises
NODES = (2048, 2048)
QUICK_SIZES = [(256, 256), (256, 512), (512, 256), (512, 512)]
CLUSTERS = (8, 64, 256, 1024, 4096)
LIMITS = (0.01, 0.05)  # shares of a step at which the numbers of GPUs are computed
LIMIT = 0.02  # of a step: what ResT may cost
TYPICAL = 2048  # tokens of a response
ASKED = 1000  # GPUs
MIB = 2**20


def total(step: dict[str, Any], parts: Sequence[str], clock: str = "seconds") -> float:
    """Seconds of some parts of a measured step."""
    return math.fsum(step[clock][part] for part in parts)


def line_of(steps: Sequence[dict[str, Any]], parts: Sequence[str]) -> Line:
    """The sum of the lines of some parts of a step."""
    sizes = [step["size"] for step in steps]
    lines = [fit(sizes, [max(step["seconds"][part], 1e-6) for step in steps]) for part in parts]
    return sum(lines, Line(0, 0, 0))


def findings(pieces: Pieces, loads: Sequence[Load]) -> dict[str, Any]:
    """What follows from the measurements, as numbers and as tables."""
    rest, verl = (line_of(pieces["steps"], parts) for parts in (REST, VERL))
    token, verls = (line.token + line.response / TYPICAL for line in (rest, verl))
    alone = pieces["alone"]
    return {
        # tokens that the whole cluster makes in a second, at which ResT adds that share to any step
        "tokens_a_second": {f"{limit:.0%}": limit / token for limit in LIMITS},
        "verl_per_rest": verls / token,
        "growth": growth(alone),
        "prediction": {"rest": prediction(alone, OWN), "verl": prediction(alone, VERLS)},
        "busy_workers": busy_workers(pieces["workers"], loads),
        "tables": tables(pieces, rest, verl, loads),
    }


def growth(sizes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How ResT's arithmetic grows with tokens: the exponent (1 is linear), and the seconds of a step of which the
    largest size is `LIMIT`."""
    tokens, seconds = [math.prod(one["size"]) for one in sizes], [one[OWN] for one in sizes]
    exponent = float(np.polyfit(np.log(tokens), np.log(seconds), 1)[0])
    return {"exponent": exponent, "step_seconds": seconds[-1] / LIMIT}


def prediction(sizes: Sequence[dict[str, Any]], side: str) -> float:
    """How well a line predicts a batch larger than those that it was fitted to: the relative error for the largest
    size of a line that was fitted without it."""
    *few, largest = sizes
    line = fit([one["size"] for one in few], [one[side] for one in few])
    return line.at(largest["size"][0], math.prod(largest["size"])) / largest[side] - 1


def busy_workers(lengths: Sequence[dict[str, Any]], loads: Sequence[Load]) -> dict[str, Any]:
    """How many processes the workers' part keeps busy at ASKED GPUs, for the load with the most responses."""
    busiest = max(loads, key=lambda load: load.tokens_per_gpu_second / load.response_tokens)
    rate = ASKED * busiest.tokens_per_gpu_second / busiest.response_tokens
    tokens, seconds = zip(*((one["tokens"], one[SCORING] + one[READING]) for one in lengths), strict=True)
    processes = rate * float(np.interp(busiest.response_tokens, tokens, seconds))
    return {"model": busiest.name, "responses_a_second": rate, "processes": processes}


def tables(pieces: Pieces, rest: Line, verl: Line, loads: Sequence[Load]) -> dict[str, Any]:
    """All tables, as the result file has them."""
    steps, nodes = pieces["steps"], pieces["nodes"]
    single, both = {part: (part,) for part in (*REST, RECORDS, *VERL)}, {"ResT": REST, "verl": VERL}
    sums = {f"**{name} together**": parts for name, parts in both.items()}
    measured = [[name, *(f"{total(one, parts):.3f}" for one in steps)] for name, parts in single.items()]
    measured += [[name, *(f"**{total(one, parts):.2f}**" for one in steps)] for name, parts in sums.items()]
    measured.append(["ResT / verl", *(f"{total(one, REST) / total(one, VERL):.2f}" for one in steps)])
    for name, parts in both.items():
        measured.append([f"{name}: CPU of the driver", *(f"{total(one, parts, 'cpu'):.2f}" for one in steps)])
    for part in MEMORIES:
        measured.append([f"{part}, MiB", *(f"{one['bytes'][part] / MIB:,.0f}" for one in steps)])
    limits = [(line, limit) for line in (rest, verl) for limit in LIMITS]
    return {
        "measured": table(["seconds", *map(_size, steps)], measured),
        "fitted": table(
            ["fit", "ms a batch", "us a response", "ns a token", "largest error"],
            [_fitted(name, parts, steps) for name, parts in (single | sums).items()],
        ),
        "alone": table(
            ["without a queue", *(f"{side}, CPU s" for side in SIDES), "ResT / verl", "MiB on top, ResT", "verl"],
            [
                [_size(one), *(f"{one[side]:.3f}" for side in SIDES), f"{one[OWN] / one[VERLS]:.2f}"]
                + [f"{one[memory] / MIB:,.0f}" for memory in SIDES_MEMORY]
                for one in pieces["alone"]
            ],
        ),
        "clusters": table(
            ["ResT adds to a step", "tokens a GPU and second", "seconds of a step", "tokens of a response"]
            + [f"{gpus:,} GPUs" for gpus in CLUSTERS],
            [[*load.numbers, *(_percent(share(rest, load, gpus)) for gpus in CLUSTERS)] for load in loads],
        ),
        "limits": table(
            ["GPUs at which it adds", *(f"{name} {limit:.0%}" for name in ("ResT", "verl") for limit in LIMITS)],
            [[load.name, *(f"{gpus_at(line, load, limit):,.0f}" for line, limit in limits)] for load in loads],
        ),
        "nodes": table(
            ["storage units of the queue", f"ResT, s, {_size(nodes[0])}", "of it the queue, s", "verl, s"],
            [[one["units"], *(f"{total(one, of):.2f}" for of in (REST, QUEUE, VERL))] for one in nodes],
        ),
        "workers": table(
            ["tokens of a response", *(f"{part}, us" for part in IN_WORKERS)],
            [[f"{one['tokens']:,}", *(f"{one[part] * 1e6:,.0f}" for part in IN_WORKERS)] for one in pieces["workers"]],
        ),
    }


def _fitted(name: str, parts: Sequence[str], steps: Sequence[dict[str, Any]]) -> list[str]:
    line = line_of(steps, parts)
    errors = [line.at(one["size"][0], math.prod(one["size"])) / total(one, parts) - 1 for one in steps]
    costs = [f"{line.batch * 1e3:.1f}", f"{line.response * 1e6:.1f}", f"{line.token * 1e9:.0f}"]
    return [name, *costs, f"{max(map(abs, errors)):.0%}"]


def _size(one: dict[str, Any]) -> str:
    return f"{one['size'][0]:,} x {one['size'][1]:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def draw(result: dict[str, Any]) -> None:
    """Shares of a step by GPUs: ResT's part as lines, verl's as dashes, the limits as thin lines."""
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    sizes = [2**power for power in range(3, 13)]
    for parts, style in ((REST, "-"), (VERL, "--")):
        line = line_of(result["pieces"]["steps"], parts)
        for number, load in enumerate(LOADS):
            shares = [100 * share(line, load, gpus) for gpus in sizes]
            axes.plot(sizes, shares, style, color=f"C{number}", label=load.name if style == "-" else None)
    for limit in LIMITS:
        axes.axhline(100 * limit, color="0.6", linewidth=0.8)
        axes.annotate(f"{limit:.0%}", (sizes[0], 100 * limit), fontsize=8, color="0.4", va="bottom")
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="added to a step, %", xticks=CLUSTERS)
    axes.set_xticklabels([f"{gpus:,}" for gpus in CLUSTERS])
    axes.minorticks_off()
    axes.set_title("Work on the driver: ResT (lines) and verl's advantages and metrics (dashes)", fontsize=10)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    save_picture(figure, "scaling")


def apart(function: str, *arguments: Any) -> Any:
    """What a function `module:name` returns in a fresh process, which finds no memory or connection of another."""
    with workers(1) as pool:
        return pool.submit(_quietly, function, arguments).result()


def _quietly(function: str, arguments: tuple[Any, ...]) -> Any:
    # verl, on import, names each accelerator that is not there
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    module, name = function.split(":")
    return getattr(import_module(module), name)(*arguments)


def driver_steps(sizes: list[Size], all_units: Sequence[int]) -> list[dict[str, Any]]:
    """Steps of these sizes, with a queue of each number of storage units."""
    return [
        {"size": list(size), "units": units, **one}
        for units in all_units
        for size, one in zip(sizes, apart("step:measure", "entropy_adaptive", sizes, units), strict=True)
    ]


def work_of(quick: bool) -> dict[str, Any]:
    """The measurement of each part."""
    steps, alone = (QUICK_SIZES, QUICK_SIZES) if quick else (STEPS, ALONE)
    same, lengths = (QUICK_SIZES[-1:], LENGTHS[:2]) if quick else ([NODES], LENGTHS)
    return {
        "steps": partial(driver_steps, steps, [UNITS]),
        "nodes": partial(driver_steps, same, ALL_UNITS),
        "alone": partial(apart, "weighting:arithmetic", alone),
        "workers": partial(apart, "workers:of_lengths", lengths),
    }


def main(
    tokens_per_gpu_second: Annotated[
        float | None, typer.Option(min=0, help="Of your run; verl logs it as perf/throughput.")
    ] = None,
    step_seconds: Annotated[float, typer.Option(min=0, help="Of your run; verl's perf/time_per_step.")] = 300.0,
    response_tokens: Annotated[float, typer.Option(min=1, help="Of your run; verl's response_length/mean.")] = 2048.0,
    published: Annotated[
        bool, typer.Option("--published", help="Measure nothing; use the published numbers.")
    ] = False,
    quick: Quick = False,
    out: Out = Path("runs/scaling"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure what ResT costs as batches grow, and what that means for clusters."""
    own = []
    if tokens_per_gpu_second is not None:
        own = [Load("your run", tokens_per_gpu_second, step_seconds, response_tokens)]
    out = out / "quick" if quick else out / "published" if published else out
    study = Study("scaling", {"quick": quick}, out, fresh=fresh or published)
    if published:
        study.pieces = (read_result("scaling") or {})["pieces"]
    else:
        study.run(work_of(quick))
    # The page keeps to the published runs.
    study.finish(findings(study.pieces, [*LOADS, *own]), publish and not (quick or published or own), draw)


if __name__ == "__main__":
    typer.run(main)

"""What ResT costs as batches and clusters grow: each part of the driver's work against responses and tokens, the work
of the workers against the length of a response, and at how many GPUs the driver's part becomes a share of a step.

The trainer's method, verl's own functions, Ray and the transfer queue are the real ones; responses are simulated, a
batch repeats 64 of them, and nothing is generated. All processes share this machine's cores, so the queue's storage
competes with the driver, which it does not on a cluster. Costs are fitted as seconds per batch, response and token.
What a cluster does follows from three numbers of a run; those of the table are published ones
(NVIDIA NeMo RL 0.4, docs/about/performance-summary.md, GRPO on policy on H100); add your own run's by options.

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
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from harness import Fresh, Out, Publish, Quick, Study, known, read_result, save_picture, table, workers
from scipy.optimize import nnls

from rest_verl.common.figures import new_figure

Size = tuple[int, int]  # responses, tokens of each
Pieces = dict[str, Any]

# Parts of a step on the driver, with a queue: ResT's, the records, verl's own.
READ, PAD, TAG, WEIGH, METRICS, WRITE = (
    *("reading ids, mask, entropy", "padding and the remainder", "tagging", "weights", "metrics", "writing weights"),
)
REST, QUEUE, RECORDS = (READ, PAD, TAG, WEIGH, METRICS, WRITE), (READ, WRITE), "records (32 trajectories)"
VERL = ADVANTAGES, VERL_METRICS = "verl: advantages", "verl: metrics"
MEMORY_VERL, MEMORY = "memory of verl's advantages", "the same with ResT"
# Without a queue.
OWN, VERLS = "ResT: tagging, weights, metrics", "verl: advantages, metrics"
OWN_MEMORY, VERLS_MEMORY = "memory of ResT's", "memory of verl's"
# In workers.
SCORING, READING, TAGGING = "reward manager", "reading the calls of a turn", "tagging one response"

PARTS = ("steps", "nodes", "alone", "workers")
STEPS = [(512, 512), (512, 2048), (2048, 512), (512, 8192), (2048, 2048), (8192, 512), (4096, 2048), (4096, 4096)]
ALONE = [(512, 512), (2048, 2048), (512, 16384), (4096, 4096), (16384, 2048), (8192, 8192), (16384, 8192)]
LENGTHS = [256, 1024, 4096, 16384]
UNITS, OTHER_UNITS = 8, (2, 16)  # storage units of the queue: verl's default; two for each node, verl advises
NODES = (2048, 2048)
QUICK_SIZES = [(256, 256), (256, 512), (512, 256), (512, 512)]
CLUSTERS = (8, 64, 256, 1024, 4096)
LIMITS = (0.01, 0.05)
TYPICAL = 2048  # tokens of a response
ASKED = 1000  # GPUs
MIB = 2**20


@dataclass(frozen=True)
class Line:
    """What a batch costs: seconds per batch, response and token, 0 or more each; `error` is the largest relative error
    over the sizes that it was fitted to, of a sum the largest of its parts."""

    batch: float
    response: float
    token: float
    error: float = 0.0

    def at(self, responses: float, tokens: float) -> float:
        """Seconds of a batch with that many responses and tokens in all."""
        return self.batch + self.response * responses + self.token * tokens

    def __add__(self, other: Line) -> Line:
        error = max(self.error, other.error)
        return Line(self.batch + other.batch, self.response + other.response, self.token + other.token, error)


def fit(sizes: Sequence[Sequence[int]], costs: Sequence[float]) -> Line:
    """The line of least squares of relative errors, with no cost below 0.

    Args:
        sizes: responses, and tokens of each; three or more that are not in proportion.
        costs: of each size, above 0.
    """
    responses, each = np.array(sizes, dtype=float).T
    columns = np.stack([np.ones(len(sizes)), responses, responses * each], axis=1)
    scale = columns.max(axis=0)  # as large as each other, or the smallest of them would count as 0
    measured = np.array(costs)
    found, _ = nnls(columns / scale / measured[:, None], np.ones(len(sizes)))
    error = np.abs(columns / scale @ found / measured - 1).max()
    batch, response, token = (found / scale).tolist()
    return Line(batch, response, token, float(error))


@dataclass(frozen=True)
class Load:
    """What a training run does, however many GPUs it has: the batch grows with the cluster, the step takes as long.
    Tokens are those of a batch divided by the seconds of a step and by the GPUs; the step is one without ResT."""

    name: str
    tokens_per_gpu_second: float
    step_seconds: float
    response_tokens: float  # on average

    @property
    def numbers(self) -> list[str]:
        """Its name and numbers, for a table."""
        return [self.name, *(f"{x:,g}" for x in (self.tokens_per_gpu_second, self.step_seconds, self.response_tokens))]

    def batch(self, gpus: float) -> tuple[float, float]:
        """Responses and tokens of a step. All tokens count as those of responses, which is more than there are."""
        tokens = gpus * self.tokens_per_gpu_second * self.step_seconds
        return tokens / self.response_tokens, tokens


LOADS = (
    Load("Llama 3.1 8B", 1562, 97.7, 1060),
    Load("Qwen3-30B-A3B", 925, 225, 3154),
    Load("Qwen3-32B", 540, 393, 3206),
    Load("Qwen3-235B-A22B", 45.7, 506, 5671),
    Load("DeepSeek V3", 11, 154, 745),
)


def share(line: Line, load: Load, gpus: float) -> float:
    """What a part of the driver's work adds to a step, as a share of the step without it."""
    return line.at(*load.batch(gpus)) / load.step_seconds


def gpus_at(line: Line, load: Load, limit: float) -> float:
    """The number of GPUs at which the share reaches a limit: infinite if it never does, 0 if it starts above."""
    left = limit * load.step_seconds - line.batch
    growth = line.response * load.batch(1)[0] + line.token * load.batch(1)[1]
    if left <= 0:
        return 0.0
    return left / growth if growth > 0 else math.inf


def line_of(pieces: Pieces, parts: Sequence[str]) -> Line:
    """The sum of the lines of some parts of a step."""
    sizes = [step["size"] for step in pieces["steps"]]
    lines = [fit(sizes, [max(step["seconds"][part], 1e-6) for step in pieces["steps"]]) for part in parts]
    return sum(lines, Line(0, 0, 0))


def total(step: dict[str, Any], parts: Sequence[str], clock: str = "seconds") -> float:
    """Seconds of some parts of a measured step."""
    return math.fsum(step[clock][part] for part in parts)


def findings(pieces: Pieces, loads: Sequence[Load]) -> dict[str, Any]:
    """What follows from the measurements, as numbers and as tables; nothing before all parts are measured."""
    if not set(PARTS) <= set(pieces):
        return {}
    rest, verl = line_of(pieces, REST), line_of(pieces, VERL)
    token, verls = (line.token + line.response / TYPICAL for line in (rest, verl))
    return {
        # tokens that the whole cluster makes in a second, at which ResT adds that share to any step
        "tokens_a_second": {f"{limit:.0%}": limit / token for limit in LIMITS},
        "verl_per_rest": verls / token,
        "prediction": prediction(pieces["alone"]["sizes"]),
        "peak_gib": pieces["alone"]["peak"] / 2**30,
        "busy_workers": busy_workers(pieces, loads),
        "tables": tables(pieces, rest, verl, loads),
    }


def prediction(sizes: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How well a line predicts a batch larger than those that it was fitted to: fitted without the largest size, the
    seconds it predicts for that size and those measured."""
    *few, largest = sizes
    rows, tokens = largest["size"]
    found = {}
    for key, name in (("rest", OWN), ("verl", VERLS)):
        predicted = fit([one["size"] for one in few], [one[name] for one in few]).at(rows, rows * tokens)
        error = predicted / largest[name] - 1
        found[key] = {"predicted": predicted, "measured": largest[name], "error": error}
    return found


def busy_workers(pieces: Pieces, loads: Sequence[Load]) -> dict[str, Any]:
    """How many processes the workers' part keeps busy at ASKED GPUs, for the load with the most responses."""
    busiest = max(loads, key=lambda load: load.tokens_per_gpu_second / load.response_tokens)
    rate = ASKED * busiest.tokens_per_gpu_second / busiest.response_tokens
    lengths, seconds = zip(*((one["tokens"], one[SCORING] + one[READING]) for one in pieces["workers"]), strict=True)
    processes = rate * float(np.interp(busiest.response_tokens, lengths, seconds))
    return {"model": busiest.name, "responses_a_second": rate, "processes": processes}


def tables(pieces: Pieces, rest: Line, verl: Line, loads: Sequence[Load]) -> dict[str, Any]:
    """All tables, as the result file has them."""
    steps, alone, nodes = pieces["steps"], pieces["alone"]["sizes"], pieces["nodes"]
    both = (("**ResT together** (`timing_s/rest`)", REST), ("**verl together**", VERL))
    measured = [[part, *(f"{one['seconds'][part]:.3f}" for one in steps)] for part in (*REST, RECORDS, *VERL)]
    measured += [[name, *(f"**{total(one, parts):.2f}**" for one in steps)] for name, parts in both]
    measured.append(["ResT / verl", *(f"{total(one, REST) / total(one, VERL):.2f}" for one in steps)])
    for name, parts in (("ResT", REST), ("verl", VERL)):
        measured.append([f"{name}: CPU of the driver", *(f"{total(one, parts, 'cpu'):.2f}" for one in steps)])
    for part in (MEMORY_VERL, MEMORY):
        measured.append([f"{part}, MiB", *(f"{one['bytes'][part] / MIB:,.0f}" for one in steps)])
    fitted = [_fitted(part, (part,), pieces) for part in (*REST, RECORDS, *VERL)]
    fitted += [_fitted(name, parts, pieces) for name, parts in both]
    limits = [(line, limit) for line in (rest, verl) for limit in LIMITS]
    own_memory, in_workers = (OWN_MEMORY, VERLS_MEMORY), (SCORING, READING, TAGGING)
    return {
        "measured": table(["seconds", *map(_size, steps)], measured),
        "fitted": table(["fit", "ms a batch", "us a response", "ns a token", "largest error"], fitted),
        "alone": table(
            ["without a queue", f"{OWN}, s", f"{VERLS}, s", "MiB on top, ResT", "verl"],
            [[_size(one), *_numbers(one, (OWN, VERLS)), *_numbers(one, own_memory, 1 / MIB, ",.0f")] for one in alone],
        ),
        "clusters": table(
            ["ResT adds to a step", "tokens a GPU and second", "seconds of a step", "tokens of a response"]
            + [f"{gpus:,} GPUs" for gpus in CLUSTERS],
            [[*load.numbers, *(_percent(share(rest, load, gpus)) for gpus in CLUSTERS)] for load in loads],
        ),
        "limits": table(
            ["GPUs at which it adds", *(f"{name} {limit:.0%}" for name in ("ResT", "verl") for limit in LIMITS)],
            [[load.name, *(_gpus(gpus_at(line, load, limit)) for line, limit in limits)] for load in loads],
        ),
        "nodes": table(
            ["storage units of the queue", f"ResT, s, {_size(nodes[0])}", "of it the queue, s", "verl, s"],
            [[str(one["units"]), *(f"{total(one, parts):.2f}" for parts in (REST, QUEUE, VERL))] for one in nodes],
        ),
        "workers": table(
            ["tokens of a response", *(f"{part}, us" for part in in_workers)],
            [[f"{one['tokens']:,}", *_numbers(one, in_workers, 1e6, ",.0f")] for one in pieces["workers"]],
        ),
    }


def _fitted(name: str, parts: Sequence[str], pieces: Pieces) -> list[str]:
    line = line_of(pieces, parts)
    sizes = [(one["size"][0], one["size"][0] * one["size"][1], total(one, parts)) for one in pieces["steps"]]
    error = max(abs(line.at(rows, tokens) / seconds - 1) for rows, tokens, seconds in sizes)
    return [name, f"{line.batch * 1e3:.1f}", f"{line.response * 1e6:.1f}", f"{line.token * 1e9:.0f}", f"{error:.0%}"]


def _numbers(one: dict[str, Any], parts: Sequence[str], unit: float = 1.0, form: str = ".2f") -> list[str]:
    return [format(one[part] * unit, form) for part in parts]


def _size(one: dict[str, Any]) -> str:
    return f"{one['size'][0]:,} x {one['size'][1]:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def _gpus(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def draw(result: dict[str, Any]) -> None:
    """Shares of a step by GPUs: ResT's part as lines, verl's as dashes, the limits as thin lines."""
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    sizes = [2**power for power in range(3, 13)]
    for parts, style in ((REST, "-"), (VERL, "--")):
        line = line_of(result["pieces"], parts)
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
        for size, one in zip(sizes, apart("trust.scaling_work:step_parts", sizes, units), strict=True)
    ]


def work_of(quick: bool, memory: float) -> dict[str, Any]:
    """The measurement of each part."""
    steps, alone = (QUICK_SIZES, QUICK_SIZES) if quick else (STEPS, ALONE)
    same, lengths = (QUICK_SIZES[-1:], LENGTHS[:2]) if quick else ([NODES], LENGTHS)
    return {
        "steps": partial(driver_steps, steps, [UNITS]),
        "nodes": partial(driver_steps, same, sorted((UNITS, *OTHER_UNITS))),
        "alone": partial(apart, "trust.scaling_work:arithmetic", alone, memory),
        "workers": partial(apart, "trust.scaling_work:a_response", lengths),
    }


def main(
    tokens_per_gpu_second: Annotated[
        float | None, typer.Option(min=0, help="Of your run; verl logs it as perf/throughput.")
    ] = None,
    step_seconds: Annotated[float, typer.Option(min=0, help="Of your run; verl's perf/time_per_step.")] = 300.0,
    response_tokens: Annotated[float, typer.Option(min=1, help="Of your run; verl's response_length/mean.")] = 2048.0,
    memory_gib: Annotated[float, typer.Option(min=1, help="Most memory of batches without a queue.")] = 20.0,
    parts: Annotated[str, typer.Option(help="Parts to measure, separated by commas.")] = ",".join(PARTS),
    published: Annotated[
        bool, typer.Option("--published", help="Measure nothing; use the published numbers.")
    ] = False,
    quick: Quick = False,
    out: Out = Path("runs/scaling"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure what ResT costs as batches grow, and what that means for clusters."""
    own = (
        []
        if tokens_per_gpu_second is None
        else [Load("your run", tokens_per_gpu_second, step_seconds, response_tokens)]
    )
    out = out / "quick" if quick else out / "published" if published else out
    study = Study("scaling", {"quick": quick}, out, fresh=fresh or published)
    if published:
        study.pieces = (read_result("scaling") or {"pieces": {}})["pieces"]
    else:
        memory = min(memory_gib * 2**30, 0.9 * psutil.virtual_memory().available)
        work = work_of(quick, memory)
        study.run({part: work[part] for part in known(parts, "part", PARTS)})
    # The page keeps to the published runs.
    study.finish(findings(study.pieces, [*LOADS, *own]), publish and not (quick or published or own), draw)


if __name__ == "__main__":
    typer.run(main)

"""What ResT costs as batches and clusters grow: each part of the driver's work against responses and tokens, the work
of the workers against the length of a response, and at how many GPUs the driver's part becomes a share of a step.

The trainer's method, verl's own functions, Ray and the transfer queue are the real ones; responses are simulated, a
batch repeats 64 of them, and nothing is generated. All processes share this machine's cores, so the queue's storage
competes with the driver, which it does not on a cluster. Costs are fitted as so much a batch, a response and a token.
What a cluster does follows from three numbers of a run; those of the table are published ones
(NVIDIA NeMo RL 0.4, docs/about/performance-summary.md, GRPO on policy on H100), and an own run's can be given.

    pip install --no-deps dashscope          # whose package holds the vocabulary
    python benchmarks/scaling.py             # on a quiet machine; ten minutes; writes docs/scaling.md
    python benchmarks/scaling.py --quick --no-write
    python benchmarks/scaling.py --kept --tokens-per-gpu-second 700 --step-seconds 240 --response-tokens 1800
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from evidence.results import read_result, said_by, write_result
from page import write_between_marks
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from trust.scaling_clusters import draw
from trust.scaling_fit import Load
from trust.scaling_page import section
from trust.scaling_parts import apart

from rest_verl.common.names import unknown_name

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
LOADS = (
    Load("Llama 3.1 8B", 1562, 97.7, 1060),
    Load("Qwen3-30B-A3B", 925, 225, 3154),
    Load("Qwen3-32B", 540, 393, 3206),
    Load("Qwen3-235B-A22B", 45.7, 506, 5671),
    Load("DeepSeek V3", 11, 154, 745),
)
PARTS = ("steps", "nodes", "alone", "workers", "remedies")
STEPS = [(512, 512), (512, 2048), (2048, 512), (512, 8192), (2048, 2048), (8192, 512), (4096, 2048), (4096, 4096)]
ALONE = [(512, 512), (2048, 2048), (512, 16384), (4096, 4096), (16384, 2048), (8192, 8192), (16384, 8192)]
REMEDIES = [(2048, 2048), (4096, 2048)]
LENGTHS = [256, 1024, 4096, 16384]
UNITS, OTHER_UNITS = 8, (2, 16)  # verl's default; two for each node, verl advises
NODES = (2048, 2048)
QUICK = [(256, 256), (256, 512), (512, 256), (512, 512)]


def measure(parts: list[str], quick: bool, memory_gib: float) -> Iterator[tuple[str, Any]]:
    """Measure parts of what docs/scaling.md is made of, and yield each by its name."""
    steps, alone, remedies, lengths = (
        (QUICK, QUICK, QUICK[-1:], LENGTHS[:2]) if quick else (STEPS, ALONE, REMEDIES, LENGTHS)
    )
    memory = min(memory_gib * 2**30, 0.9 * psutil.virtual_memory().available)
    for part in parts:
        if part == "steps":
            found: Any = driver_steps(steps, UNITS)
        elif part == "nodes":
            same = QUICK[-1] if quick else NODES
            found = [one for units in sorted((UNITS, *OTHER_UNITS)) for one in driver_steps([same], units)]
        elif part == "alone":
            found = apart("trust.scaling_alone", "arithmetic", alone, memory)
        elif part == "workers":
            found = apart("trust.scaling_alone", "a_response", lengths)
        else:
            found = apart("trust.scaling_remedies", "remedies", remedies, UNITS)
        yield part, found


def driver_steps(sizes: list[tuple[int, int]], units: int) -> list[dict[str, Any]]:
    """Steps of these sizes, with a queue of so many storage units."""
    timed = apart("trust.scaling_driver", "step_parts", sizes, units)
    return [{"size": list(size), "units": units, **one} for size, one in zip(sizes, timed, strict=True)]


def known_parts(parts: str) -> str:
    """The parts, if there are such."""
    for part in parts.split(","):
        if part not in PARTS:
            raise typer.BadParameter(unknown_name("part", part, PARTS))
    return parts


def main(
    tokens_per_gpu_second: Annotated[
        float | None, typer.Option(min=0, help="Of your run, by GPU; verl logs it as perf/throughput.")
    ] = None,
    step_seconds: Annotated[float, typer.Option(min=0, help="Of your run's step; verl's perf/time_per_step.")] = 300.0,
    response_tokens: Annotated[float, typer.Option(min=1, help="Of your run; verl's response_length/mean.")] = 2048.0,
    memory_gib: Annotated[float, typer.Option(min=1, help="That batches without a queue may take.")] = 20.0,
    parts: Annotated[str, typer.Option(callback=known_parts, help="What to measure.")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="Small batches.")] = False,
    kept: Annotated[bool, typer.Option("--kept", help="Measure nothing: take what was found before.")] = False,
    write: Annotated[bool, typer.Option(help="Write the result, docs/scaling.md and its figure.")] = True,
) -> None:
    """Measure what ResT costs as batches grow, and say what that means for clusters."""
    console = Console()
    loads = list(LOADS)
    if tokens_per_gpu_second is not None:
        loads.append(Load("your run", tokens_per_gpu_second, step_seconds, response_tokens))
        write = False  # the page keeps to the published runs
    found = read_result("scaling") or {}
    if not kept:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task(parts, total=None)
            for part, result in measure(parts.split(","), quick, memory_gib):
                found[part] = result
                progress.update(bar, description=f"{part} done")
                if write:
                    write_result("scaling", {name: found[name] for name in PARTS if name in found})
    if missing := [part for part in PARTS if part not in found]:
        console.print(f"no page yet, for these parts are not measured: {', '.join(missing)}")
        return
    lines = section(found, loads)
    console.print(Markdown("\n".join(lines)))
    if write:
        made_by = (read_result("scaling") or found)["made_by"]
        write_between_marks("benchmarks/scaling.py", [*lines, "", said_by(made_by)], PAGE)
        console.print(f"written: {draw(found, loads)} and docs/{PAGE.name}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)

"""What ResT costs against GRPO: seconds and memory of a step of stock verl, and the token weights by themselves at the
sizes of a cluster.

Through verl: the quickstart's task, starting model and recipe on a CPU, with `+rest=grpo` and with presets of ResT.
Runs of a pair have the same seeds and the same reward, the order turns round from pair to pair, and nothing is
validated or saved. The learning rate is 0, so that every run keeps the starting model: all of them generate alike, and
what differs is cost alone. The first steps, in which everything is loaded and allocated, are left out.

By themselves: tagging, weights and metrics as the trainer computes them, with one thread, on simulated responses in
ids of a real vocabulary. A batch repeats its first rows, and each response is as long as the size allows, which is the
most that a size can cost. No queue is there; benchmarks/step.py measures the queue's part.

    pip install --no-deps dashscope     # whose package holds the vocabulary
    python benchmarks/overhead.py       # on a quiet machine; about an hour
    python benchmarks/overhead.py --quick --no-write
"""

from __future__ import annotations

import ctypes
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer
from evidence.overhead_section import PARTS, section
from evidence.results import read_result, write_result
from hydra import compose, initialize_config_module
from quickstart import RECIPE, prepare_start
from qwen import qwen_tokenizer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress, TaskID
from transformers.utils.logging import disable_progress_bar
from verl_run import RunFailed, read_metrics, run_verl
from weighting import make_batch, seconds_of

from rest_verl.common.names import unknown_name
from rest_verl.config.rest import load, preset_names
from rest_verl.core.regions import RegionTagger, TaggedBatch
from rest_verl.formats import get_format
from rest_verl.weighting.metrics import weight_metrics
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

BASE, PRESETS = "grpo", "paper,entropy_adaptive"
SAME_FOR_ALL = [
    *RECIPE,
    "actor_rollout_ref.actor.optim.lr=0",
    "rest.reward.rules=toolrl",
    "trainer.val_before_train=False",
    "trainer.test_freq=-1",
    "trainer.save_freq=-1",
]
WARM_UP = 2
TIMEOUT_SECONDS = 1800.0
TRAINER = "TaskRunner"  # the Ray actor that verl's trainer, and so ResT, runs in
LOOK_SECONDS = 2.0

SIZES = ((128, 4, 2048), (256, 4, 2048), (512, 4, 2048), (512, 8, 4096), (1024, 8, 8192))  # prompts, rollouts, tokens
QUICK_SIZES = SIZES[:3]
DIFFERENT_ROWS = 64
REPEATS = 3


def through_verl(pairs: int, steps: int, presets: list[str], out: Path, progress: Progress) -> dict[str, Any]:
    """Train with GRPO and every preset in every pair: what evidence.overhead_section reads as `verl`."""
    start = prepare_start(out, 0, progress)
    in_turn = [BASE, *presets]
    bar = progress.add_task("through verl", total=pairs * len(in_turn) * steps)
    runs: list[dict[str, Any]] = []
    for pair in range(pairs):
        for preset in in_turn if pair % 2 == 0 else in_turn[::-1]:
            progress.update(bar, description=f"pair {pair + 1} of {pairs}: {preset}")
            runs.append(one_run(preset, pair, steps, start, out, partial(_advance, progress, bar, len(runs) * steps)))
    return {"learning_rate": 0, "warm_up": WARM_UP, "runs": runs}


def one_run(
    preset: str, pair: int, steps: int, start: Path, out: Path, on_step: Callable[[int], None]
) -> dict[str, Any]:
    """Train once: tokens and seconds of each step after the warm-up, by stage as verl names it; peaks of memory."""
    folder = (out / f"pair{pair}" / preset).resolve()
    overrides = [
        f"+rest={preset}",
        *SAME_FOR_ALL,
        f"data.train_files={start / 'train.parquet'}",
        f"data.val_files={start / 'validation.parquet'}",
        f"data.seed={pair}",
        f"actor_rollout_ref.model.path={start / 'model'}",
        f"actor_rollout_ref.rollout.seed={pair}",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
    ]
    silent = Progress(disable=True)  # its bars wait for a validation that these runs leave out
    with watched(lambda: on_step(len(read_metrics(folder / "metrics.jsonl")))) as peaks:
        run = run_verl(overrides, folder, steps, silent, TIMEOUT_SECONDS)
    if not peaks["trainer"]:
        raise RunFailed(f"no process of verl had {TRAINER} in its name: its memory was not measured")
    logged = [step.metrics for step in run if step.step > WARM_UP]
    stages = [name for name in logged[0] if name.startswith("timing_s/")]
    return {
        "preset": preset,
        "pair": pair,
        "tokens": [int(step["perf/total_num_tokens"]) for step in logged],
        "seconds": {name.removeprefix("timing_s/"): [round(step[name], 4) for step in logged] for name in stages},
        "peak_mib": {name: round(size / 2**20) for name, size in peaks.items()},
    }


@contextmanager
def watched(on_look: Callable[[], None]) -> Iterator[dict[str, float]]:
    """Look at the processes below this one, again and again until the context ends. Yields peaks of resident memory in
    bytes, as the kernel keeps them for each process, which misses nothing between two looks and costs next to nothing:

    `trainer`: that of the trainer's process.
    `all`: those of all processes added up. What processes share counts in each.
    """
    peaks = {"trainer": 0.0, "all": 0.0}
    over = threading.Event()
    highest: dict[psutil.Process, float] = defaultdict(float)

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for process in psutil.Process().children(recursive=True):
                try:
                    highest[process] = max(highest[process], peak_resident(process.pid))
                    if TRAINER in process.name():
                        peaks["trainer"] = highest[process]
                except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    continue  # it has ended meanwhile
            peaks["all"] = sum(highest.values())
            on_look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def peak_resident(pid: int | str) -> float:
    """The most bytes that a process has had in memory so far. Linux only, as verl is."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def peak_beside(work: Callable[[], None]) -> float:
    """The most bytes that a piece of work takes at a time, beside what this process has before it."""
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator has kept of earlier work would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is there now
    before = peak_resident("self")
    work()
    return peak_resident("self") - before


def by_themselves(sizes: tuple[tuple[int, int, int], ...], presets: list[str], progress: Progress) -> dict[str, Any]:
    """Time the token weights of each preset and size: what evidence.overhead_section reads as `alone`."""
    torch.set_num_threads(1)
    bar = progress.add_task("vocabulary", total=1 + len(sizes) * len(presets))
    tokenizer = qwen_tokenizer()
    tagger = RegionTagger(tokenizer, get_format("hermes"))
    progress.advance(bar)
    rows: list[dict[str, Any]] = []
    for prompts, rollouts, tokens in sizes:
        different = make_batch(tokenizer, "hermes", DIFFERENT_ROWS, tokens, random.Random(0))
        responses = different.repeat(prompts * rollouts // DIFFERENT_ROWS, 1)
        mask = torch.ones_like(responses)
        entropy = torch.rand(responses.shape, generator=torch.Generator().manual_seed(0))
        for preset in presets:
            progress.update(bar, description=f"{preset}: {prompts} x {rollouts} x {tokens}")
            work = partial(weigh, TokenWeighting(settings(preset), total_steps=100), tagger, responses, mask, entropy)
            more = peak_beside(work) / 2**20  # before it is timed: memory is taken once, and then kept
            seconds = seconds_of(work, REPEATS)
            size = {"prompts": prompts, "rollouts": rollouts, "tokens": tokens}
            rows.append({"preset": preset, **size, "seconds": round(seconds, 4), "more_mib": round(more)})
            progress.advance(bar)
    return {"different_rows": DIFFERENT_ROWS, "sizes": rows}


def weigh(
    weighting: TokenWeighting,
    tagger: RegionTagger,
    responses: torch.Tensor,
    mask: torch.Tensor,
    entropy: torch.Tensor,
) -> None:
    """What the trainer does each step between reading from the queue and writing to it; all of (rows, tokens)."""
    batch = StepBatch(1, TaggedBatch(tagger(responses, mask), mask), entropy)
    weighting(batch)
    weight_metrics(batch)
    weighting.metrics(1)


def settings(preset: str) -> Any:
    """The settings of a preset in verl's config, for responses in Hermes' format."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return load(compose("ppo_trainer", [f"+rest={preset}", "+platform=cpu", "rest.format=hermes"]))


def known_presets(presets: str) -> str:
    """The presets, if there are such and each weights tokens."""
    weighting = [name for name in preset_names() if name != BASE]
    for preset in presets.split(","):
        if preset not in weighting:
            raise typer.BadParameter(unknown_name("preset", preset, weighting))
    return presets


def known_parts(parts: str) -> str:
    """The parts, if there are such."""
    for part in parts.split(","):
        if part not in PARTS:
            raise typer.BadParameter(unknown_name("part", part, PARTS))
    return parts


def _advance(progress: Progress, bar: TaskID, before: int, steps: int) -> None:
    progress.update(bar, completed=before + steps)


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs, each with seeds of its own.")] = 3,
    steps: Annotated[int, typer.Option(min=WARM_UP + 1, help="Steps of a run, the warm-up among them.")] = 12,
    presets: Annotated[str, typer.Option(callback=known_presets, help="What to compare with GRPO.")] = PRESETS,
    parts: Annotated[str, typer.Option(callback=known_parts, help="What to measure.")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="One pair of 4 steps, and small batches.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/overhead"),
    write: Annotated[bool, typer.Option(help="Write the result and docs/evidence.md.")] = True,
) -> None:
    """Measure what ResT costs."""
    disable_progress_bar()  # transformers' own bars would tear ours
    console = Console()
    if write:
        from evidence.document import write_page  # before anything is measured: it may lack what it draws with
    found: dict[str, Any] = {}
    try:
        with Progress(console=Console(stderr=True)) as progress:
            if "verl" in parts.split(","):
                found["verl"] = through_verl(
                    1 if quick else pairs, 4 if quick else steps, presets.split(","), out, progress
                )
            if "alone" in parts.split(","):
                found["alone"] = by_themselves(QUICK_SIZES if quick else SIZES, presets.split(","), progress)
    except RunFailed as failure:
        console.print(str(failure), style="red", markup=False)  # a log's brackets are no markup
        raise typer.Exit(1) from None
    if write:
        before = read_result("overhead") or {}
        # A part that was measured another time keeps its own command and date.
        kept = {part: {"made_by": before["made_by"]} | before[part] for part in PARTS if part in before}
        path = write_result("overhead", kept | found)
        write_page()
        console.print(f"written: {path} and docs/evidence.md", soft_wrap=True)
    console.print(Markdown("\n".join(section(found))))


if __name__ == "__main__":
    typer.run(main)

"""What ResT costs against GRPO in a step of stock verl, in seconds and memory: the quickstart's task, starting model
and recipe on a CPU, with `+rest=grpo` and with presets of ResT.

Runs of a pair have the same seeds and the same reward, the order turns round from pair to pair, and nothing is
validated or saved. The learning rate is 0, so that every run keeps the starting model: all of them generate alike, and
only cost differs. The first steps, in which everything is loaded and allocated, are left out.

    python benchmarks/overhead.py             # on a quiet machine; about an hour
    python benchmarks/overhead.py --quick     # one pair of 4 steps: ten minutes
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from evidence.intervals import mean_interval, ratio_interval
from harness import Fresh, Out, Publish, Quick, Study, known, table
from page_numbers import shown
from quickstart import RECIPE, prepare_start
from scaling import LIMIT
from trust.runs import of_start, train
from verl_run import RunFailed
from weighting import peak_resident

from rest_verl.config.rest import preset_names

BASE, PRESETS = "grpo", "paper,entropy_adaptive"
# Stages that ResT has no part in: it acts between the responses and the update of the model.
UNTOUCHED = ("gen", "update_weights")
SAME_FOR_ALL = [
    *RECIPE,
    "actor_rollout_ref.actor.optim.lr=0",
    "rest.reward.rules=toolrl",
    "trainer.val_before_train=False",
    "trainer.test_freq=-1",
    "trainer.save_freq=-1",
]
WARM_UP, QUICK_STEPS, TIMEOUT_SECONDS = 2, 4, 1800.0
TRAINER, LOOK_SECONDS = "TaskRunner", 2.0  # the Ray actor that verl's trainer, and so ResT, runs in

Seconds = list[list[float]]  # by pair and step
Runs = Sequence[Mapping[str, Any]]  # of one preset, by pair


def one_run(preset: str, pair: int, steps: int, start: Path, study: Study) -> dict[str, Any]:
    """Train once: seconds of each step after the warm-up, by stage as verl names it; peaks of memory.
    Raises `RunFailed` where verl failed or no process was its trainer."""
    folder = study.path.parent / f"pair{pair}" / preset
    overrides = [
        f"+rest={preset}",
        *SAME_FOR_ALL,
        *of_start(start),
        f"data.seed={pair}",
        f"actor_rollout_ref.rollout.seed={pair}",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
    ]
    with watched() as peaks:
        run = train(overrides, folder, steps, study.progress, TIMEOUT_SECONDS)
    if not peaks["trainer"]:
        raise RunFailed(f"no process of verl had {TRAINER} in its name: its memory was not measured")
    logged = [step.metrics for step in run if step.step > WARM_UP]
    stages = [name for name in logged[0] if name.startswith("timing_s/")]
    return {
        "preset": preset,
        "pair": pair,
        "seconds": {name.removeprefix("timing_s/"): [round(step[name], 4) for step in logged] for name in stages},
        "peak_mib": {name: round(size / 2**20) for name, size in peaks.items()},
    }


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Look at the processes below this one until the context ends. Yields peaks of resident memory in bytes, as the
    kernel keeps them for each process, which misses nothing between two looks and costs next to nothing: `trainer`,
    that of the trainer's process; `all`, those of all processes added up (what processes share counts in each)."""
    peaks, over = {"trainer": 0.0, "all": 0.0}, threading.Event()
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

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def share(parts: Seconds, wholes: Seconds) -> dict[str, Any]:
    """The ratio of the totals of parts and wholes, both of the same shape, with its interval over the steps of all
    pairs, and that of each pair, where differences from run to run show."""
    by_pair = [math.fsum(part) / math.fsum(whole) for part, whole in zip(parts, wholes, strict=True)]
    return {**ratio_interval(_flat(parts), _flat(wholes)).ends(), "by_pair": by_pair}


def verdict(
    found: Mapping[str, Any], untouched: Mapping[str, Any] | None = None, alone: bool = False
) -> dict[str, Any]:
    """Whether what `share` found is at most `LIMIT`: decided where the interval and every single pair agree. The part
    of a difference that stages without ResT make, `untouched`, must not be put down to ResT. One pair decides only
    what is no difference between runs, `alone`."""
    ends = [*found["by_pair"], math.inf if found["high"] is None else found["high"]]
    least = min(*found["by_pair"], -math.inf if found["low"] is None else found["low"])
    if not alone and len(found["by_pair"]) < 2:
        said, why = "undecided", "there is one pair only"
    elif untouched is not None and abs(untouched["estimate"]) > LIMIT:
        said, why = "undecided", f"stages without ResT differ by {untouched['estimate']:.2%}"
    elif max(ends) <= LIMIT:
        said, why = "holds", ""
    else:
        said, why = ("does not hold", "") if least > LIMIT else ("undecided", "the noise is too large")
    return {**found, "verdict": said, "why": why}


def against_grpo(ours: Runs, theirs: Runs) -> dict[str, Any]:
    """Verdicts on the claim that a preset costs at most `LIMIT` of a step, in three ways, and how far runs compare."""
    own, whole = seconds(ours, ["step"]), seconds(theirs, ["step"])
    untouched = share(minus(seconds(ours, UNTOUCHED), seconds(theirs, UNTOUCHED)), whole)
    more = {
        kind: [one["peak_mib"][kind] - other["peak_mib"][kind] for one, other in zip(ours, theirs, strict=True)]
        for kind in ("trainer", "all")
    }
    return {
        "clock": verdict(share(seconds(ours, ["rest"]), own), alone=True),
        "touched": verdict(share(minus(touched(ours), touched(theirs)), whole)),
        "step": verdict(share(minus(own, whole), whole), untouched),
        "more_mib": {kind: {**mean_interval(values).verdict(), "by_pair": values} for kind, values in more.items()},
    }


def stages(ours: Runs, theirs: Runs) -> list[list[str]]:
    """Rows: seconds of each stage that verl logs under GRPO and a preset, and the difference."""
    whole = seconds(theirs, ["step"])
    names = [name for name in theirs[0]["seconds"] if name != "step"]
    rows = [(f"`{name}`", seconds(ours, [name]), seconds(theirs, [name])) for name in names]
    without = "all but " + " and ".join(f"`{name}`" for name in UNTOUCHED)
    rows += [(without, touched(ours), touched(theirs)), ("`step`", seconds(ours, ["step"]), whole)]
    found = []
    for name, us, them in rows:
        part = share(minus(us, them), whole)
        pairs = f"{min(part['by_pair']):.2%} to {max(part['by_pair']):.2%}"
        found.append([name, f"{np.mean(_flat(them)):.3f}", f"{np.mean(_flat(us)):.3f}", shown(part, ".2%"), pairs])
    return found


def findings(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Verdicts and tables."""
    ordered, names = sorted(pieces, key=lambda one: one["pair"]), dict.fromkeys(one["preset"] for one in pieces)
    runs = {name: [one for one in ordered if one["preset"] == name] for name in names}
    theirs = runs.pop(BASE)
    tables = {
        name: table(["stage", "GRPO, s", f"`{name}`, s", "difference", "pair by pair"], stages(ours, theirs))
        for name, ours in runs.items()
    }
    return {"verdicts": {name: against_grpo(ours, theirs) for name, ours in runs.items()}, "tables": tables}


def seconds(runs: Runs, names: Sequence[str]) -> Seconds:
    """Seconds of some stages together."""
    return [[math.fsum(step) for step in zip(*(run["seconds"][name] for name in names), strict=True)] for run in runs]


def touched(runs: Runs) -> Seconds:
    """Seconds of a step without the stages that ResT has no part in."""
    return minus(seconds(runs, ["step"]), seconds(runs, UNTOUCHED))


def minus(ours: Seconds, theirs: Seconds) -> Seconds:
    """Differences, step by step."""
    return [[a - b for a, b in zip(us, them, strict=True)] for us, them in zip(ours, theirs, strict=True)]


def _flat(by_pair: Any) -> list[float]:
    return list(chain.from_iterable(by_pair))


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs, each with seeds of its own.")] = 3,
    steps: Annotated[int, typer.Option(min=WARM_UP + 1, help="Steps of a run, the warm-up included.")] = 12,
    presets: Annotated[str, typer.Option(help="Presets to compare with GRPO.")] = PRESETS,
    quick: Quick = False,
    out: Out = Path("runs/overhead"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Measure what ResT costs."""
    names = known(presets, "preset", [name for name in preset_names() if name != BASE])
    if quick:
        out, pairs, steps = out / "quick", 1, QUICK_STEPS
    study = Study("overhead_verl", {"learning_rate": 0, "warm_up": WARM_UP, "steps": steps}, out, fresh=fresh)
    start = prepare_start(out, 0, study.progress)
    turns = [(name, pair) for pair in range(pairs) for name in [BASE, *names][:: -1 if pair % 2 else 1]]
    study.run({f"{name}/{pair}": partial(one_run, name, pair, steps, start, study) for name, pair in turns})
    study.finish(findings(list(study.pieces.values())), publish and not quick)


if __name__ == "__main__":
    typer.run(main)

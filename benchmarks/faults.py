"""What becomes of a training when something breaks: every fault is done to a real run of stock verl, Ray and vLLM.

All runs of a study share one folder with a checkpoint after each step, like a long training: each resumes from what
the one before it left, so every fault also shows whether training can be resumed after it. Of a run that must stop,
the time until it has stopped is taken, and its reason; of one that must continue, that it logs all its steps.

The driver itself is killed too (SIGKILL, without a chance to clean up), at random moments: each run resumes from what
the one before it left, and one more, undisturbed, from what the last one left.

    python benchmarks/faults.py                 # some two hours on two cores
    python benchmarks/faults.py --only worker,disk
    python benchmarks/faults.py --only SIGKILL
    python benchmarks/faults.py --only worker --fresh --publish    # only these rows of docs/trust.md
    python benchmarks/faults.py --quick         # one fault: five minutes

One disturbance fills a small disk, which takes the right to mount one: without it that row says so.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer
from harness import ROOT, Fresh, Out, Publish, Quick, Study, read_result, table
from quickstart import prepare_start
from rich.progress import Progress
from trust.disturbances import DISTURBANCES, STALL_SECONDS, Disturbance, Killer, in_a_step
from trust.runs import (
    CHECKPOINTS,
    RECIPE,
    WORKERS,
    WORKERS_PATH,
    newest_step,
    of_start,
    train,
    with_texts,
)
from verl_run import RunFailed, read_metrics

TIMEOUT_SECONDS = 600.0
# Seconds in which a run must have stopped once it cannot continue: verl's look at the queue, Ray's at a process, and
# the end of vLLM and Ray on two busy cores.
IN_TIME = 120.0
STEPS = 2  # of a run that is to continue
LONG = 50  # steps of one that is killed before its last
SHOWN = 150  # characters of a message in the table
HEAD = ["fault", "what the log says", "noticed after", "checkpoint before, resumed from", "held", "date"]


def train_to(steps: int, further: list[str], folder: Path, start: Path, progress: Progress) -> tuple[list[int], str]:
    """Train to a step with further overrides: the steps that were logged, and why the run failed if it did."""
    overrides = [
        "+rest=entropy_adaptive",
        *RECIPE,
        *of_start(start),
        "trainer.save_freq=1",
        f"trainer.default_local_dir={(folder / CHECKPOINTS).resolve()}",
        *WORKERS,
        *further,  # a later override of a key holds
    ]
    failed = ""
    try:
        train(overrides, folder, steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        failed = str(failure)
    return [step.step for step in read_metrics(folder / "metrics.jsonl")], failed


@contextmanager
def small_disk(key: str, kib: int, folder: Path) -> Iterator[list[str]]:
    """A disk of some KiB under a key of the config; yields the override."""
    mounted = (folder / "small").resolve()
    mounted.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(mounted)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield [f"{key}={mounted}"]
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def disturb(disturbance: Disturbance, folder: Path, start: Path, progress: Progress) -> dict[str, Any]:
    """Do one thing to a run, and resume where it stopped; returns `outcome`."""
    before, problems = newest_step(folder), list[str]()
    overrides = disturbance.prepare(folder, start)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    killer = None
    if disturbance.kill:
        killer = Killer(disturbance.kill, partial(disturbance.moment, folder, before), disturbance.wait)
        killer.start()
    begun, key = time.monotonic(), disturbance.small_disk
    disk: AbstractContextManager[list[str]] = small_disk(key, disturbance.kib, folder) if key else nullcontext([])
    with disk as small:
        # A run in which something is killed never comes to its last step.
        steps = before + (LONG if killer else STEPS)
        logged, failed = train_to(steps, [*overrides, *small], folder, start, progress)
    ended = time.monotonic()
    log = (folder / "verl.log").read_text(errors="replace")
    (folder / f"{disturbance.name.replace(' ', '-')}.log").write_text(log)
    if disturbance.says not in log:
        problems.append(f"its log does not say {disturbance.says!r}")
    if bool(failed) != disturbance.ends:
        problems.append("it stopped" if failed else "it continued")
    if killer:
        killer.end()
        if killer.at is None:
            problems.append(f"no process was called {disturbance.kill}")
        begun = killer.at or begun
    said, seconds, resumed_from, again = said_in(log, disturbance), None, before, list[int]()
    if logged != [*range(before + 1, before + 1 + len(logged) if failed else before + STEPS + 1)]:
        problems.append(f"it logged the steps {logged}")
    if disturbance.of_driver:
        resumed_from = newest_step(folder)
        said = f"{disturbance.wait:.0f} s after its {'first step' if disturbance.moment is in_a_step else 'start'}"
        said += f", {len(logged)} steps"
        if not before <= resumed_from <= before + len(logged) + 1:
            problems.append(f"the newest checkpoint went from {before} to {resumed_from}")
    elif failed:
        seconds = ended - begun
        if killer and seconds > IN_TIME:
            problems.append(f"it took longer than {IN_TIME:.0f} s to stop")
        remedy, resumed_from = disturbance.remedy(folder)
        again, failed = train_to(resumed_from + 1, remedy, folder, start, progress)
        if again != [resumed_from + 1]:
            problems.append(f"resumed, it logged the steps {again}: {failed.splitlines()[-1] if failed else ''}")
    return outcome(said, seconds, before, resumed_from, (logged, again), problems)


def outcome(
    said: str,
    seconds: float | None,
    before: int,
    resumed_from: int,
    logged: tuple[list[int], list[int]],
    problems: list[str],
) -> dict[str, Any]:
    """What became of a disturbed run, and of the one that resumed it: the line of its log with the reason (empty if it
    continued without one); seconds from the fault to its end (None if it continued); step of the newest checkpoint
    before it, and the step that was resumed from; steps that both logged; and what was not as it must be."""
    return {
        "held": not problems,
        "said": printable(said).replace(f"{ROOT}/", ""),  # the result is for other machines too
        "seconds": seconds if seconds is None else round(seconds),
        "before": before,
        "resumed_from": resumed_from,
        "logged": [*logged],
        "problems": problems,
        "date": date.today().isoformat(),
    }


def said_in(log: str, disturbance: Disturbance) -> str:
    """What a log says of a disturbance: the line that must be there, from the end of what logging or an error's name
    put before it; or else the last error of a run that must stop."""
    part, found = disturbance.says, []
    if part:
        for line in log.splitlines():
            before, there, after = line.partition(part)
            heads = list(re.finditer(r"\w+Error: |[A-Z]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+:", before))
            found += [(before[heads[-1].end() :] if heads else "") + there + after] if there else []
    elif disturbance.ends:
        found = re.findall(r"\b(?:\w+\.)*\w+(?:Error|Exception): .+", log)
    return found[-1] if found else ""


def printable(text: str) -> str:
    """Text of a log without what would break a table."""
    return "".join(char if char.isprintable() else " " for char in text).replace("|", "\\|")


def line_of(name: str, piece: dict[str, Any]) -> list[str]:
    """A line of the table."""
    said = piece["said"] or "it continued"
    return [
        name,
        said if len(said) <= SHOWN else said[:SHOWN] + " ...",
        "" if piece["seconds"] is None else f"{piece['seconds']} s",
        f"{piece['before']}, {piece['resumed_from']}",
        printable("; ".join(piece["problems"])) or "yes",
        piece["date"],
    ]


def findings(pieces: dict[str, Any]) -> dict[str, Any]:
    """The table, and what it says as a whole."""
    lost = {name: piece["before"] - piece["resumed_from"] for name, piece in pieces.items()}
    return {
        "faults": len(pieces),
        "held": sum(piece["held"] for piece in pieces.values()),
        "steps_lost": {name: steps for name, steps in lost.items() if steps > 0},
        "tables": {"faults": table(HEAD, [line_of(name, piece) for name, piece in pieces.items()])},
    }


def merged(published: dict[str, Any], pieces: dict[str, Any]) -> dict[str, Any]:
    """Rows in place of published ones of the same name, in the order of the whole study."""
    found = {**published, **pieces}
    return {one.name: found[one.name] for one in DISTURBANCES if one.name in found}


def main(
    only: Annotated[str, typer.Option(help="Only faults with one of these texts, separated by commas.")] = "",
    quick: Quick = False,
    out: Out = Path("runs/trust/faults"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Break trainings, and resume them."""
    home, out = out.parent, out / "quick" if quick else out
    todo = with_texts(only, DISTURBANCES, lambda one: one.name)[: 1 if quick else None]
    study = Study("trust_faults", {"stall_seconds": STALL_SECONDS, "quick": quick}, out, fresh=fresh)
    with study.progress:
        start = prepare_start(home, 0, study.progress)

    def prepared(disturbance: Disturbance) -> dict[str, Any]:
        before = newest_step(out)
        if not before and not quick:  # two checkpoints, so that there is an older one
            _, failed = train_to(2, [], out, start, study.progress)
            if failed:
                raise RunFailed(failed)
        try:
            return disturb(disturbance, out, start, study.progress)
        except subprocess.CalledProcessError as error:
            return outcome("", None, before, before, ([], []), [f"no disk: {error.stderr.decode()}"])

    # The driver checks `rest.modules` before Ray gives its workers their environment.
    path = os.pathsep.join(filter(None, [WORKERS_PATH, os.environ.get("PYTHONPATH")]))
    with patch.dict(os.environ, PYTHONPATH=path):
        found = study.run({one.name: partial(prepared, one) for one in todo})
    if publish:
        study.pieces = merged((read_result("trust_faults") or {}).get("pieces", {}), study.pieces)
    study.finish(findings(study.pieces), publish and not quick)
    raise typer.Exit(int(not all(piece["held"] for piece in found.values())))


if __name__ == "__main__":
    typer.run(main)

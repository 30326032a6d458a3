"""What becomes of a training when something breaks: every fault is done to a real run of stock verl, Ray and vLLM.

All runs of a study share one folder with a checkpoint after each step, like a long training: each resumes from what
the one before it left, so every fault also shows whether training can be resumed after it. Of a run that must stop,
the time until it has stopped is taken, and its reason; of one that must continue, that it logs all its steps.

`--kills N` kills the driver itself (SIGKILL, without a chance to clean up) at N random moments: each run resumes from
what the one before it left, and one more, undisturbed, from what the last one left.

    python benchmarks/faults.py                 # some two hours on two cores
    python benchmarks/faults.py --only worker,disk
    python benchmarks/faults.py --only none --kills 10
    python benchmarks/faults.py --only worker --kills 0 --fresh --publish    # only these rows of docs/trust.md
    python benchmarks/faults.py --quick         # one fault: five minutes

One disturbance fills a small disk, which takes the right to mount one: without it that row says so.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer
from harness import ROOT, Fresh, Out, Publish, Quick, Study, read_result, table
from rich.progress import Progress
from trust.disturbances import DISTURBANCES, STALL_SECONDS, Disturbance, Killer
from trust.runs import (
    CHECKPOINTS,
    RECIPE,
    WORKERS,
    WORKERS_PATH,
    newest_step,
    of_start,
    prepare_start,
    train,
)
from verl_run import RunFailed, read_metrics

TIMEOUT_SECONDS = 600.0
# Seconds in which a run must have stopped once it cannot continue: verl's look at the queue, Ray's at a process, and
# the end of vLLM and Ray on two busy cores.
IN_TIME = 120.0
STEPS = 2  # of a run that is to continue
LONG = 50  # steps of one that is killed before its last
AMID_ROLLOUT = 2.0  # seconds after a step
NONE, AFTER = "none", "nothing, after the last SIGKILL"
DRIVER = f"{sys.executable} -m verl.trainer.main_ppo"  # as run_verl starts it
# Seconds after the start of a run, most of which are start-up here, and after its first step: rollout, update, saving.
KILL_AFTER_START, KILL_AFTER_STEP = (20.0, 240.0), (0.0, 60.0)
SHOWN = 150  # characters of a message in the table
HEAD = ["fault", "what the log says", "noticed after", "checkpoint before, resumed from", "held", "date"]
Do = Callable[[Path, Path, Progress], dict[str, Any]]


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
    before = newest_step(folder)
    overrides = disturbance.prepare(folder, start)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    killer = None
    if disturbance.kill:
        begun_checkpoint = folder / CHECKPOINTS / f"global_step_{before + 1}"
        moment = begun_checkpoint.exists if disturbance.saving else partial(read_metrics, folder / "metrics.jsonl")
        killer = Killer(disturbance.kill, moment, 0.0 if disturbance.saving else AMID_ROLLOUT)
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
    problems = [] if disturbance.says in log else [f"its log does not say {disturbance.says!r}"]
    if bool(failed) != disturbance.ends:
        problems.append("it stopped" if failed else "it continued")
    if killer:
        killer.end()
        if killer.at is None:
            problems.append(f"no process was called {disturbance.kill}")
        begun = killer.at or begun
    seconds, resumed_from, again = None, before, list[int]()
    if failed:
        seconds = ended - begun
        if killer and seconds > IN_TIME:
            problems.append(f"it took longer than {IN_TIME:.0f} s to stop")
        remedy, resumed_from = disturbance.remedy(folder)
        again, failed = train_to(resumed_from + 1, remedy, folder, start, progress)
        if again != [resumed_from + 1]:
            problems.append(f"resumed, it logged the steps {again}: {failed.splitlines()[-1] if failed else ''}")
    elif logged != [*range(before + 1, before + STEPS + 1)]:
        problems.append(f"it logged the steps {logged}")
    return outcome(said_in(log, disturbance), seconds, before, resumed_from, (logged, again), problems)


def kill_driver(place: int, folder: Path, start: Path, progress: Progress) -> dict[str, Any]:
    """Kill the driver at a random moment of a run that would train for long: of all of it for an even place, of the
    time after its first step for an odd one; returns `outcome`."""
    before, metrics, amid = newest_step(folder), folder / "metrics.jsonl", bool(place % 2)
    metrics.unlink(missing_ok=True)
    wait = random.Random(place).uniform(*(KILL_AFTER_STEP if amid else KILL_AFTER_START))
    killer = Killer(DRIVER, partial(read_metrics, metrics) if amid else lambda: True, wait)
    killer.start()
    logged, failed = train_to(before + LONG, [], folder, start, progress)
    killer.end()
    after = newest_step(folder)
    problems = [] if failed else ["it was not killed"]
    if logged and logged[0] != before + 1:
        problems.append(f"it began at step {logged[0]}")
    if logged != sorted(set(logged)):
        problems.append(f"it logged the steps {logged}")
    if not before <= after <= before + len(logged) + 1:
        problems.append(f"the newest checkpoint went from {before} to {after}")
    said = f"{wait:.0f} s after its {'first step' if amid else 'start'}, {len(logged)} steps"
    return outcome(said, None, before, after, (logged, []), problems)


def resume(folder: Path, start: Path, progress: Progress) -> dict[str, Any]:
    """Resume what the last SIGKILL left, undisturbed; returns `outcome`."""
    before = newest_step(folder)
    logged, failed = train_to(before + 1, [], folder, start, progress)
    problems = [] if logged == [before + 1] else [f"it logged the steps {logged}: {failed}"]
    return outcome("", None, before, newest_step(folder), (logged, []), problems)


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


def chosen(only: str) -> list[Disturbance]:
    """The disturbances with one of the texts, separated by commas, in their name; all for no text."""
    texts = [text.strip() for text in only.split(",") if text.strip()]
    found = [one for one in DISTURBANCES if not texts or any(text in one.name for text in texts)]
    if not found and only != NONE:
        raise typer.BadParameter(f"nothing of that name: there are {', '.join(one.name for one in DISTURBANCES)}")
    return found


def merged(published: dict[str, Any], pieces: dict[str, Any]) -> dict[str, Any]:
    """Rows in place of published ones of the same name, in the order of the whole study."""
    found = {**published, **pieces}
    return {
        name: found[name] for name in dict.fromkeys([*(one.name for one in DISTURBANCES), *found]) if name in found
    }


def main(
    only: Annotated[
        str, typer.Option(help=f"Only faults with one of these texts, separated by commas, or {NONE}.")
    ] = "",
    kills: Annotated[int, typer.Option(min=0, help="Number of times that the driver is killed.")] = 10,
    quick: Quick = False,
    out: Out = Path("runs/trust/faults"),
    fresh: Fresh = False,
    publish: Publish = False,
) -> None:
    """Break trainings, and resume them."""
    home, out = out.parent, out / "quick" if quick else out
    todo: dict[str, Do] = {one.name: partial(disturb, one) for one in chosen(only)}
    # Those before the first step come first.
    todo |= {f"SIGKILL {n + 1}": partial(kill_driver, n) for n in sorted(range(kills), key=lambda n: n % 2)}
    todo |= {AFTER: resume} if kills else {}
    if quick:
        todo = dict([*todo.items()][:1])
    study = Study("trust_faults", {"stall_seconds": STALL_SECONDS, "quick": quick}, out, fresh=fresh)
    start = prepare_start(home)

    def prepared(do: Do) -> dict[str, Any]:
        before = newest_step(out)
        if not before and not quick:  # two checkpoints, so that there is an older one
            _, failed = train_to(2, [], out, start, study.progress)
            if failed:
                raise RunFailed(failed)
        try:
            return do(out, start, study.progress)
        except subprocess.CalledProcessError as error:
            return outcome("", None, before, before, ([], []), [f"no disk: {error.stderr.decode()}"])

    # The driver checks `rest.modules` before Ray gives its workers their environment.
    path = os.pathsep.join(filter(None, [WORKERS_PATH, os.environ.get("PYTHONPATH")]))
    with patch.dict(os.environ, PYTHONPATH=path):
        found = study.run({name: partial(prepared, do) for name, do in todo.items()})
    if publish:
        study.pieces = merged((read_result("trust_faults") or {}).get("pieces", {}), study.pieces)
    study.finish(findings(study.pieces), publish and not quick)
    raise typer.Exit(int(not all(piece["held"] for piece in found.values())))


if __name__ == "__main__":
    typer.run(main)

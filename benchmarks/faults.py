"""What becomes of a training when something breaks: every fault is done to a real run of stock verl, Ray and vLLM.

All runs of a study share one folder with a checkpoint after each step, as a long training does: each goes on from
what the one before it left, so that every fault also shows whether training can be resumed after it. Of a run that
must end, the time until it has ended is taken, and its reason; of one that must go on, that it logs all its steps.

`--kills N` kills the driver itself (SIGKILL, without a chance to clean up) at a random moment, again and again: each
run goes on from what the one before it left, and one more, undisturbed, from what the last did.

    python benchmarks/faults.py                 # some two hours on two cores
    python benchmarks/faults.py --only worker
    python benchmarks/faults.py --only none --kills 10
    python benchmarks/faults.py --only worker --kills 0 --update    # these rows of docs/trust.md alone

One disturbance fills a small disk, which takes the right to mount one: without it that line says so.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from transformers.utils.logging import disable_progress_bar
from trust.disturbances import DISTURBANCES, IN_TIME, STALL_SECONDS, Disturbance
from trust.fault_table import HEAD, Outcome, in_place, line_of, notes_on, said_in
from trust.group import Group, publish, read_group
from trust.killer import Killer
from trust.runs import BENCHMARKS, CHECKPOINTS, RECIPE, newest_step, of_start, prepare_start
from verl_run import RunFailed, read_metrics, run_verl

TIMEOUT_SECONDS = 600.0
STEPS = 2  # of a run that is to go on
LONG = 50  # steps of one that is to be killed before it comes to its end
AMID_ROLLOUT = 2.0  # seconds after a step
NONE = "none"
AFTER = "nothing, after the last SIGKILL"
DRIVER = f"{sys.executable} -m verl.trainer.main_ppo"  # as run_verl starts it
# Seconds after the start of a run, most of which are start-up here, and after its first step: rollout, update, saving.
KILL_AFTER_START, KILL_AFTER_STEP = (20.0, 240.0), (0.0, 60.0)
ABOUT = f"""\
Each fault is done to a real training that saves after every step; then the training is resumed, with the override that
its message named where it named one. "Noticed after" is the time from the fault until the driver had ended, vLLM's and
Ray's own end included; of a fault that was there before the run, from the run's start, which takes some two minutes
here. Tools and loops that hang, and asynchronous runs, had `rest.stall_seconds={STALL_SECONDS}`. A row keeps the day
it was made on until `--update` makes it again."""


def train(folder: Path, start: Path, steps: int, further: list[str], progress: Progress) -> tuple[list[int], str]:
    """Train to a step: the steps that were logged, and why the run failed if it did."""
    overrides = [
        "+rest=entropy_adaptive",
        *RECIPE,
        *of_start(start),
        "trainer.save_freq=1",
        f"trainer.default_local_dir={(folder / CHECKPOINTS).resolve()}",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH={BENCHMARKS}",
        *further,  # a later override of a key holds
    ]
    before, failed = list(progress.task_ids), ""
    try:
        run_verl(overrides, folder, steps, progress, TIMEOUT_SECONDS)
    except RunFailed as failure:
        failed = str(failure)
    for task in set(progress.task_ids) - set(before):  # lines for each of many runs would fill the terminal
        progress.remove_task(task)
    return [step.step for step in read_metrics(folder / "metrics.jsonl")], failed


@contextmanager
def small_disk(key: str, kib: int, folder: Path) -> Iterator[list[str]]:
    """A disk of so many KiB under a key of the config; yields the override. Nothing for no key."""
    if not key:
        yield []
        return
    mounted = (folder / "small").resolve()
    mounted.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(mounted)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield [f"{key}={mounted}"]
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def disturb(disturbance: Disturbance, folder: Path, start: Path, progress: Progress) -> Outcome:
    """Do one thing to a run, and resume where it ended."""
    before = newest_step(folder)
    overrides = disturbance.prepare(folder, start)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    killer = None
    if disturbance.saving:
        begun_checkpoint = folder / CHECKPOINTS / f"global_step_{before + 1}"
        killer = Killer(disturbance.kill, begun_checkpoint.exists)
    elif disturbance.kill:
        killer = Killer(disturbance.kill, partial(read_metrics, folder / "metrics.jsonl"), AMID_ROLLOUT)
    if killer:
        killer.start()
    begun = time.monotonic()
    with small_disk(disturbance.small_disk, disturbance.kib, folder) as small:
        # A run in which something is killed never comes to its last step.
        steps = before + (LONG if killer else STEPS)
        logged, failed = train(folder, start, steps, [*overrides, *small], progress)
    ended = time.monotonic()
    log = (folder / "verl.log").read_text(errors="replace")
    (folder / f"{disturbance.name.replace(' ', '-')}.log").write_text(log)
    problems = []
    if disturbance.says not in log:
        problems.append(f"its log does not say {disturbance.says!r}")
    if bool(failed) != disturbance.ends:
        problems.append("it ended" if failed else "it went on")
    again: list[int] = []
    seconds = None
    if killer:
        killer.end()
        if killer.at is None:
            problems.append(f"no process was called {disturbance.kill}")
        begun = killer.at or begun
    gone_on_from = before
    if failed:
        seconds = ended - begun
        if killer and seconds > IN_TIME:
            problems.append(f"it took longer than {IN_TIME:.0f} s to end")
        remedy, gone_on_from = disturbance.remedy(folder)
        again, failed = train(folder, start, gone_on_from + 1, remedy, progress)
        if again != [gone_on_from + 1]:
            problems.append(f"resumed, it logged the steps {again}: {failed.splitlines()[-1] if failed else ''}")
    elif logged != [*range(before + 1, before + STEPS + 1)]:
        problems.append(f"it logged the steps {logged}")
    return Outcome(
        disturbance.name, said_in(log, disturbance), seconds, before, gone_on_from, (logged, again), problems
    )


def kill_driver(place: int, folder: Path, start: Path, progress: Progress) -> Outcome:
    """Kill the driver at a random moment of a run that would train for long: of all of it for an even place, of the
    time after its first step for an odd one."""
    before = newest_step(folder)
    metrics = folder / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    amid = bool(place % 2)
    wait = random.Random(place).uniform(*(KILL_AFTER_STEP if amid else KILL_AFTER_START))
    killer = Killer(DRIVER, partial(read_metrics, metrics) if amid else lambda: True, wait)
    killer.start()
    logged, failed = train(folder, start, before + LONG, [], progress)
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
    return Outcome(f"SIGKILL {place + 1}", said, None, before, after, (logged, []), problems)


def go_on(folder: Path, start: Path, progress: Progress) -> Outcome:
    """Resume what the last SIGKILL left, undisturbed."""
    before = newest_step(folder)
    logged, failed = train(folder, start, before + 1, [], progress)
    problems = [] if logged == [before + 1] else [f"it logged the steps {logged}: {failed}"]
    return Outcome(AFTER, "", None, before, newest_step(folder), (logged, []), problems)


def chosen(only: str) -> list[Disturbance]:
    """The disturbances with one of the texts, commas between them, in their name; all for no text."""
    texts = [text.strip() for text in only.split(",") if text.strip()]
    found = [one for one in DISTURBANCES if not texts or any(text in one.name for text in texts)]
    if not found and only != NONE:
        raise typer.BadParameter(f"nothing of that name: there are {', '.join(one.name for one in DISTURBANCES)}")
    return found


def main(
    only: Annotated[str, typer.Option(help=f"Only faults with one of these texts, commas between, or {NONE}.")] = "",
    kills: Annotated[int, typer.Option(min=0, help="How often the driver is killed.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder of the training.")] = Path("runs/trust/faults"),
    write: Annotated[bool, typer.Option(help="Write the result file and docs/trust.md, of a whole study.")] = True,
    update: Annotated[bool, typer.Option(help="Write them for a part: its rows in place of those there.")] = False,
) -> None:
    """Break trainings, and resume them."""
    disable_progress_bar()  # transformers' own bars would tear ours
    # The driver checks `rest.modules` before Ray gives its workers their environment.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(BENCHMARKS), os.environ.get("PYTHONPATH")]))
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "outcomes.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    work: list[tuple[str, Callable[[Path, Path, Progress], Outcome]]] = [
        *((one.name, partial(disturb, one)) for one in chosen(only)),
        *(
            (f"SIGKILL {place + 1}", partial(kill_driver, place))
            for place in sorted(range(kills), key=lambda n: n % 2)
        ),
    ]
    if kills:
        work.append((AFTER, go_on))
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("faults", total=len(work))
        start = prepare_start(out.parent)
        if not newest_step(out):  # two checkpoints, so that there is an older one
            progress.update(bar, description="training undisturbed")
            if reason := train(out, start, 2, [], progress)[1]:
                raise RunFailed(reason)
        for name, do in work:
            progress.update(bar, description=name)
            if name not in found:
                found[name] = asdict(do(out, start, progress))
                kept.write_text(json.dumps(found, indent=1))
            progress.advance(bar)
    rows = [line_of(Outcome(**found[name])) for name, _ in work]
    failed = any(row[4] != "yes" for row in rows)
    if update and (published := read_group("faults")) is not None:
        rows = in_place(rows, published.rows)
    whole = write and (update or (not only and kills > 0))
    failures = sum(row[4] != "yes" for row in rows)
    publish(Group("faults", "Faults", ABOUT, HEAD, rows, notes_on(rows), failures), whole)
    raise typer.Exit(int(failed))


if __name__ == "__main__":
    typer.run(main)

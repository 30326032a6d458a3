"""What is tried with a combination of versions: the doctor, the unit tests, multi-turn rollouts, two steps of verl.
Outside of the range of versions it is what the doctor and the first use say."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

from quickstart import prepare_start
from rich.progress import Progress
from verl_run import read_metrics

from trust.combinations import Combination, python_of
from trust.environments import variables_of
from trust.outcomes import read_record
from trust.processes import Done, run_group

STEPS = 2
TESTS_SECONDS, RUN_SECONDS, SHORT_SECONDS = 5400.0, 1200.0, 400.0
FIRST_USE = ["+rest=paper"]
MULTI_TURN = ["tests/e2e/test_environment_on_cpu.py", "tests/e2e/test_multi_turn_on_cpu.py"]
# What verl's own validation asks of every run.
REQUIRED = [
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
]


@dataclass(frozen=True)
class Said:
    """What came of a check.

    Attributes:
        held: whether it is as it has to be.
        said: what a reader of the table wants to know.
        details: each a line below the table.
    """

    held: bool
    said: str
    details: tuple[str, ...] = ()


def starting_model(out: Path, progress: Progress) -> Path:
    """The folder of the quickstart's task and starting model below another, made where it is not there yet."""
    return prepare_start(out, 0, progress)


def ask_doctor(combination: Combination, checkout: Path) -> Said:
    """`rest-verl doctor`: a run can start in the range; outside, verl's version is a failure with a remedy."""
    done = _run([str(python_of(checkout).with_name("rest-verl")), "doctor", "--json"], checkout, SHORT_SECONDS)
    try:
        report = json.loads(done.output)
    except ValueError:
        return Said(False, f"status {done.status}", (done.last_line,))
    failures = [one for one in report["findings"] if one["level"] == "failure"]
    warnings = [one for one in report["findings"] if one["level"] == "warning"]
    if combination.in_range:
        said = "a run can start" if report["can_start"] else "no run can start"
        if warnings:
            said += f"; {len(warnings)} warnings" if len(warnings) > 1 else "; 1 warning"
        return Said(report["can_start"], said, tuple(map(_finding, [*failures, *warnings])))
    about_verl = [one for one in failures if one["check"] == "verl"]
    said = "; ".join(map(_finding, about_verl)) or "nothing about verl"
    others = tuple(_finding(one) for one in failures if one not in about_verl)
    return Said(bool(about_verl) and not report["can_start"], said, others)


def run_unit_tests(combination: Combination, checkout: Path, jobs: int) -> Said:
    """The unit tests of the copy, none of which may fail."""
    return _run_tests("unit", combination, checkout, ["-m", "not e2e", "-n", str(jobs)], OMP_NUM_THREADS="1")


def run_rollouts(combination: Combination, checkout: Path) -> Said:
    """Multi-turn rollouts through verl's agent loop, which differs from one verl to another: the tests that compare
    what is trained on with what the engine read and wrote, token by token."""
    return _run_tests("rollouts", combination, checkout, ["-m", "e2e", *MULTI_TURN])


def _run_tests(name: str, combination: Combination, checkout: Path, which: list[str], **variables: str) -> Said:
    found = checkout.parent / f"{name}.jsonl"
    command = [str(python_of(checkout)), "-m", "pytest", *which]
    command += ["-p", "trust.outcomes", "--outcomes", str(found), "-p", "no:cacheprovider"]
    begun = time.monotonic()
    done = _run(command, checkout, TESTS_SECONDS, PYTHONPATH=str(checkout / "benchmarks"), **variables)
    (checkout.parent / f"{name}.log").write_text(f"{done.output}\n{done.errors}\n", encoding="utf-8")
    counts, failed = _counts(found)
    said = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    if counts["unfinished"]:
        said += f", {counts['unfinished']} unfinished"
    said += f", {(time.monotonic() - begun) / 60:.0f} min"
    return Said(done.status == 0 and not failed, said, tuple(failed))


def _counts(found: Path) -> tuple[Counter[str], list[str]]:
    outcomes = read_record(found).outcomes
    failed = [f"{test}: {one}" for test, one in outcomes.items() if one.result in ("failed", "unfinished")]
    return Counter(one.result for one in outcomes.values()), failed


def train(combination: Combination, checkout: Path, start: Path) -> Said:
    """Two steps of verl, vLLM and Ray through the quickstart, from a starting model that is there already."""
    out = checkout.parent / "quickstart"
    copytree(start, out / start.name, dirs_exist_ok=True)
    (out / "summary.json").unlink(missing_ok=True)  # with which it would run nothing
    command = [str(python_of(checkout)), "examples/cpu/quickstart.py", "--steps", str(STEPS), "--out", str(out)]
    begun = time.monotonic()
    done = _run(command, checkout, RUN_SECONDS)
    seconds = time.monotonic() - begun
    steps = [step.metrics["timing_s/step"] for step in read_metrics(out / "verl" / "metrics.jsonl") if step.step > 0]
    if done.status or len(steps) != STEPS:
        return Said(False, f"status {done.status} after {len(steps)} steps", (done.last_line,))
    return Said(
        True, f"{STEPS} steps, " + " and ".join(f"{step:.1f} s" for step in steps) + f"; {seconds:.0f} s in all"
    )


def use_first(combination: Combination, checkout: Path) -> Said:
    """A preset on verl's own command: refused before it starts, in one line and with status 1."""
    command = [str(python_of(checkout)), "-m", "verl.trainer.main_ppo", *FIRST_USE, *REQUIRED]
    elsewhere = checkout.parent / "first-use"
    elsewhere.mkdir(exist_ok=True)
    done = _run(command, elsewhere, SHORT_SECONDS)
    said = f"{done.output}\n{done.errors}"
    told = [line for line in said.splitlines() if "rest-verl" in line]
    held = done.status == 1 and len(told) == 1 and combination.verl in told[0] and "Traceback" not in said
    return Said(held, f"status {done.status}: {' '.join(told) or done.last_line}")


def keep(path: Path, found: dict[str, Said]) -> None:
    """Write down what was found, whole or not at all."""
    half = path.with_suffix(".part")
    half.write_text(json.dumps({check: asdict(said) for check, said in found.items()}, indent=1) + "\n")
    half.rename(path)


def kept(path: Path) -> dict[str, Said]:
    """What `keep` wrote; nothing where it has not."""
    read: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return {check: Said(said["held"], said["said"], tuple(said["details"])) for check, said in read.items()}


def _finding(one: dict[str, str]) -> str:
    return f"{one['group']}, {one['check']}: {one['found']} -> {one['remedy']}"


def _run(command: list[str], folder: Path, seconds: float, **variables: str) -> Done:
    """Run a command that begins with a program of a copy's environment."""
    return run_group(command, folder, seconds, variables_of(Path(command[0])) | variables)

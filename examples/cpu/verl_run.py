"""Run stock verl in a separate process: output in a log file, progress on the terminal, metrics as Python values.

verl, Ray and vLLM print more than a thousand lines before the first step, which all go to `verl.log`; the stage, the
step and the remaining time are read from the log and from verl's own `file` logger.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

POLL_SECONDS = 0.5
# Overrides for short waits in runs whose steps take seconds.
QUICK_POLLS = [
    f"trainer.v1.sampler.custom_sampler.path={Path(__file__).resolve().parent / 'quick_polls.py'}",
    "trainer.v1.sampler.custom_sampler.name=QuickReplayBuffer",
]
# What verl logs at the end of each start-up stage.
STARTUP_STAGES = {
    "Started a local Ray instance": "verl: loading the trainer",
    "train and validate dataloader initialized": "verl: building the actor (FSDP2)",
    "actor and ref model engine initialized": "verl: starting vLLM",
    "all initialize finished": "verl: validating the starting model",
    "Initial validation metrics": "verl: started",
}


class RunFailed(RuntimeError):
    """verl failed or ran out of time; the message names its log."""


@dataclass(frozen=True)
class Step:
    """verl's metrics at one global step; step 0 is the validation before training."""

    step: int
    metrics: dict[str, float]


def run_verl(overrides: list[str], out: Path, steps: int, progress: Progress, timeout: float) -> list[Step]:
    """Train with `python -m verl.trainer.main_ppo` and the given overrides.

    Args:
        overrides: Hydra overrides.
        out: folder for `verl.log`, `metrics.jsonl` and verl's own files.
        steps: number of training steps, for the progress bar.
        progress: the display.
        timeout: seconds after which the run is killed: after a worker's crash verl may wait for ever.

    Returns:
        all logged steps, in order.

    Raises:
        RunFailed: verl failed or ran out of time.
    """
    out.mkdir(parents=True, exist_ok=True)
    log, metrics = out / "verl.log", out / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "verl.trainer.main_ppo",
        *overrides,
        f"trainer.total_training_steps={steps}",
        "trainer.logger=[console,file]",
    ]
    environment = os.environ | {"VERL_FILE_LOGGER_PATH": str(metrics.resolve()), "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=out, stdout=sink, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    progress.console.print(f"verl's output: {log}", soft_wrap=True)
    # SIGTERM must not leave verl and Ray running: as an exception it triggers the clean-up.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _follow(process, log, metrics, steps, progress, time.monotonic() + timeout)
    finally:
        _end(process)
        signal.signal(signal.SIGTERM, previous)
    if process.returncode != 0:
        raise RunFailed(f"verl exited with status {process.returncode}. Its log: {log}\n{_error_lines(log)}")
    return read_metrics(metrics)


def read_metrics(path: Path) -> list[Step]:
    """Read the metrics of verl's `file` logger, without a line that is still being written."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Step(record["step"], record["data"]) for record in map(json.loads, lines)]


def _follow(
    process: subprocess.Popen[bytes], log: Path, metrics: Path, steps: int, progress: Progress, deadline: float
) -> None:
    startup: TaskID = progress.add_task("verl: starting Ray", total=len(STARTUP_STAGES))
    training: TaskID = progress.add_task("training steps", total=steps, start=False, visible=False)
    passed: list[str] = []
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise RunFailed(f"verl did not finish in time. Its log: {log}\n{_error_lines(log)}")
        time.sleep(POLL_SECONDS)
        trained = [step for step in read_metrics(metrics) if step.step > 0]
        if len(passed) < len(STARTUP_STAGES):
            text = log.read_text(errors="replace")
            passed = [title for marker, title in STARTUP_STAGES.items() if marker in text]
            if trained:  # without initial validation this is the only sign that the run has started
                passed = list(STARTUP_STAGES.values())
            if passed:
                progress.update(startup, completed=len(passed), description=passed[-1])
            if len(passed) == len(STARTUP_STAGES):
                progress.update(training, visible=True)
                progress.start_task(training)
        if trained:
            progress.update(training, completed=len(trained))
    if process.returncode == 0:
        progress.update(startup, completed=len(STARTUP_STAGES), description=list(STARTUP_STAGES.values())[-1])
        progress.update(training, completed=steps, visible=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the run and the Ray processes it started, which share its session."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _error_lines(log: Path) -> str:
    """The last error lines of a log, without verl's warnings; its last lines if there are none."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "Error" in line and "Warning" not in line]
    return "\n".join((errors or lines)[-5:])

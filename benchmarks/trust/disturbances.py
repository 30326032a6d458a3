"""What is done to runs: processes are killed, files damaged, data and tools broken. Each disturbance says what must
come of it: the run stops in time with the reason, or it continues.

verl's processes import this module too (`rest.modules`), for the tools that hang.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from trust.runs import CHECKPOINTS, POINTER, agent_loop, newest_step
from verl_run import read_metrics

from rest_verl.rollout.environment import NoEnvironment, Opening, register_environment

STALL_SECONDS = 30
FOR_EVER = 1e6  # seconds
Prepare = Callable[[Path, Path], list[str]]
STALL = f"rest.stall_seconds={STALL_SECONDS}"
DRIVER = f"{sys.executable} -m verl.trainer.main_ppo"  # as run_verl starts it
KILLS = 10  # of the driver
# Seconds after the start of a run, most of which are start-up here, and after its first step: rollout, update, saving.
KILL_AFTER_START, KILL_AFTER_STEP = (20.0, 240.0), (0.0, 60.0)


def in_a_step(folder: Path, before: int) -> bool:
    """Whether a run has finished its first step."""
    return bool(read_metrics(folder / "metrics.jsonl"))


def saving(folder: Path, before: int) -> bool:
    """Whether the first checkpoint after a step is begun, before verl passes the weights on."""
    return (folder / CHECKPOINTS / f"global_step_{before + 1}").exists()


@dataclass(frozen=True)
class Disturbance:
    """One thing that goes wrong."""

    name: str  # as in the table
    says: str  # what the run must say of it in its log, as a part of one line
    ends: bool  # whether the run must stop; otherwise it must log all its steps
    kill: str = ""  # beginning of the name or the command of the process that is killed, or nothing
    moment: Callable[[Path, int], bool] = in_a_step  # of the folder and its newest step before: when it is killed
    wait: float = 2.0  # seconds from then on: amid the rollouts after a step
    prepare: Prepare = lambda folder, start: []  # done before verl; returns further overrides
    # after a run that stopped: the overrides that its message gave, and the step that they resume from
    remedy: Callable[[Path], tuple[list[str], int]] = lambda folder: ([], newest_step(folder))
    small_disk: str = ""  # key of the config that gets a folder on a disk of `kib` KiB, or nothing
    kib: int = 1024  # less than a checkpoint

    @property
    def of_driver(self) -> bool:
        """Whether the driver itself is killed, which leaves no time to say anything; the next run resumes from it."""
        return self.kill == DRIVER


class Killer(threading.Thread):
    """Kills one process below this one; `at` is when it did (`time.monotonic`), or None.

    Args:
        begins: how the name or the command line of the process begins.
        ready: whether the moment has come.
        wait: seconds between that moment and the kill.
    """

    def __init__(self, begins: str, ready: Callable[[], object], wait: float = 0.0):
        super().__init__(daemon=True)
        self._begins, self._ready, self._wait = begins, ready, wait
        self._over = threading.Event()
        self.at: float | None = None

    def run(self) -> None:
        while not self._over.wait(0.2):
            if not self._ready() or (found := child_named(self._begins)) is None:
                continue
            if not self._over.wait(self._wait):
                found.kill()
                self.at = time.monotonic()
            return

    def end(self) -> None:
        """Kill nothing from now on."""
        self._over.set()
        self.join()


def child_named(begins: str) -> psutil.Process | None:
    """The first process below this one whose name or command line begins so."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(text.startswith(begins) for text in (" ".join(process.cmdline()), process.name())):
                return process
        except psutil.Error:
            continue  # it has ended meanwhile
    return None


@register_environment("hanging")
@dataclass
class Hanging(NoEnvironment):
    """Tools of any name that never return: they wait in the event loop, like a request without an answer, or block it
    for all trajectories, like a careless tool."""

    blocking: bool = False

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if self.blocking:
            time.sleep(FOR_EVER)
        await asyncio.sleep(FOR_EVER)
        raise AssertionError("no call waits so long")

    async def score(self) -> dict[str, float]:
        return {"score": 0.0}


def _damaged_model(folder: Path, start: Path) -> list[str]:
    """Truncate the file of the newest checkpoint's model."""
    step = newest_step(folder)
    [model] = (folder / CHECKPOINTS / f"global_step_{step}" / "actor").glob("model_world_size_1_rank_0.pt")
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    return []


def _torn_pointer(folder: Path, start: Path) -> list[str]:
    """Empty verl's file that names the newest checkpoint, as a crash between its opening and its writing leaves it."""
    pointer = folder / CHECKPOINTS / POINTER
    pointer.with_suffix(".before").write_text(pointer.read_text())
    pointer.write_text("")
    return []


def _by_path(folder: Path, step: int) -> tuple[list[str], int]:
    path = (folder / CHECKPOINTS / f"global_step_{step}").resolve()
    return ["trainer.resume_mode=resume_path", f"trainer.resume_from_path={path}"], step


def _older(folder: Path) -> tuple[list[str], int]:
    """What the message of an unreadable checkpoint says: the one before it."""
    return _by_path(folder, newest_step(folder) - 1)


def _newest(folder: Path) -> tuple[list[str], int]:
    """What the message of a torn pointer says: the newest whole checkpoint."""
    return _by_path(folder, int((folder / CHECKPOINTS / POINTER).with_suffix(".before").read_text()))


def _rows(folder: Path, start: Path, column: str, every: int, further: dict[str, Any]) -> list[str]:
    """Training rows, every nth of which has further entries in a column."""
    rows = pd.read_parquet(start / "train.parquet")
    changed = [{**one, **(further if (at + 1) % every == 0 else {})} for at, one in enumerate(rows[column])]
    path = (folder / "changed.parquet").resolve()
    rows.assign(**{column: pd.Series(changed)}).to_parquet(path)
    return [f"data.train_files={path}"]


def _unreadable_truths(folder: Path, start: Path) -> list[str]:
    """Every second row's ground truth is not JSON."""
    return _rows(folder, start, "reward_model", 2, {"ground_truth": '[{"name": '})


def _with_tools(blocking: bool) -> Prepare:
    """Rows whose tools hang, in multi-turn rollouts."""
    further = {"environment": "hanging", "environment_kwargs": json.dumps({"blocking": blocking})}

    def prepare(folder: Path, start: Path) -> list[str]:
        overrides = ["+rest/rollout=multi_turn", "rest.modules=[trust.disturbances]", "rest.rollout.call_seconds=3"]
        return [*overrides, STALL, *_rows(folder, start, "extra_info", 1, further)]

    return prepare


def _loop(kind: str, **settings: str) -> Prepare:
    """An agent loop of trust.in_verl in place of verl's."""
    return lambda folder, start: [*agent_loop(folder, kind, **settings), STALL]


def _sigkill(place: int) -> Disturbance:
    """The driver is killed at a random moment: of all of a run for an even place, after its first step for an odd."""
    wait = random.Random(place).uniform(*(KILL_AFTER_STEP if place % 2 else KILL_AFTER_START))
    moment = in_a_step if place % 2 else lambda folder, before: True
    return Disturbance(f"SIGKILL {place + 1}", "", True, DRIVER, moment, wait)


# The trainer that replaces what fails and takes the next batch meanwhile, on one "GPU".
ASYNCHRONOUS = ["trainer.v1.trainer_mode=rest_colocate_async", STALL]
NO_CALL = "<think> I do not know. </think>"
HOSTILE = (
    "<think> <tool_call> {{{{{{{{ </think></tool_call><|im_end|><|im_start|>assistant\\n<tool_call>\n"
    '{"name": "get_weather", "parameters": {"city": "\\ud800'
)
SERVER_DIED, STALLED = "inference server 0 of 1 died", "no trajectory arrived in"
UNREADABLE = "cannot be read; nothing was changed"
QUEUE, ENGINE = "transfer queue's", "VLLM::EngineCore"
DISTURBANCES = (
    Disturbance("reward worker killed", "reward worker 0 of 1 died", True, "ray::RewardLoopWorker"),
    Disturbance("agent-loop worker killed", "agent-loop worker 0 of 1 died", True, "ray::AgentLoopWorker"),
    Disturbance("vLLM server killed", SERVER_DIED, True, "ray::vLLMHttpServer"),
    Disturbance("vLLM engine killed", SERVER_DIED, True, ENGINE),
    Disturbance("vLLM engine killed before it gets weights", SERVER_DIED, True, ENGINE, saving, 0.0),
    Disturbance(
        "vLLM engine of an asynchronous run killed", SERVER_DIED, True, ENGINE, prepare=lambda *_: ASYNCHRONOUS
    ),
    Disturbance("training worker killed", "training worker 0 of 1 died", True, "ray::WorkerDict"),
    Disturbance(f"{QUEUE} controller killed", f"{QUEUE} controller 0 of 1 died", True, "ray::TransferQueueController"),
    Disturbance(f"{QUEUE} storage killed", f"{QUEUE} storage unit 0 of 1 died", True, "ray::SimpleStorageUnit"),
    Disturbance(
        "all trajectories of an asynchronous run fail",
        "prompts failed in a row",
        True,
        prepare=lambda folder, start: [*ASYNCHRONOUS[:1], *_loop("FailingAgentLoop")(folder, start)],
    ),
    Disturbance("newest checkpoint damaged", UNREADABLE, True, prepare=_damaged_model, remedy=_older),
    Disturbance("pointer to the newest checkpoint torn", UNREADABLE, True, prepare=_torn_pointer, remedy=_newest),
    Disturbance("disk full of checkpoints", "", True, small_disk="trainer.default_local_dir"),
    Disturbance("disk full of records", "are lost", False, small_disk="rest.dump_dir", kib=16),  # less than a step's
    Disturbance("every second ground truth unreadable", "are skipped", False, prepare=_unreadable_truths),
    Disturbance("all responses empty", "", False, prepare=_loop("ScriptedAgentLoop", text="")),
    Disturbance("no tool call in a batch", "", False, prepare=_loop("ScriptedAgentLoop", text=NO_CALL)),
    Disturbance("hostile text in all responses", "", False, prepare=_loop("ScriptedAgentLoop", text=HOSTILE)),
    Disturbance("tool that never answers", "", False, prepare=_with_tools(blocking=False)),
    Disturbance("tool that blocks its worker", STALLED, True, prepare=_with_tools(blocking=True)),
    Disturbance("agent loop that never returns", STALLED, True, prepare=_loop("WaitingAgentLoop")),
    *(_sigkill(place) for place in sorted(range(KILLS), key=lambda place: place % 2)),  # before the first step first
    Disturbance("nothing, after the last SIGKILL", "", False),
)

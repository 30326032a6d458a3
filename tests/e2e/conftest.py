"""Real runs of stock verl, Ray and vLLM on a CPU, with a model made on the spot.

A run costs a minute or two before its first step, so without `--all` there are three, and many tests read each: the
quickstart's own script on rows of every maker (`quickstart`), that run resumed (`resumed`), and trajectories over
several turns with asynchronous rollouts on two ranks (test_multi_turn_on_cpu.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_model
import toy_task
from maker_rows import PROMPT_TOKENS, RESPONSE_TOKENS, MakerRows, make_rows
from own_names import NAMES
from rich.progress import Progress
from tiers import HANG_GUARD, VERL_UNHURRIED, take_your_time
from verl_run import Step, read_metrics, run_verl

from rest_verl.data.data_set import write_parquet

take_your_time()
EXAMPLES = Path(__file__).parents[2] / "examples" / "cpu"
IMITATION_STEPS = 150  # enough for most responses to have tags and calls

RECIPE = [
    "+platform=cpu",
    *VERL_UNHURRIED,
    "data.train_batch_size=8",
    "data.max_prompt_length=96",
    "data.max_response_length=128",
    "data.seed=0",
    "actor_rollout_ref.rollout.n=4",
    "actor_rollout_ref.rollout.max_model_len=256",
    "actor_rollout_ref.rollout.max_num_batched_tokens=2048",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.actor.optim.lr=1e-4",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True)
class Start:
    """A folder with train.parquet, validation.parquet and model/."""

    folder: Path

    @property
    def overrides(self) -> list[str]:
        return [
            f"data.train_files={self.folder / 'train.parquet'}",
            f"data.val_files={self.folder / 'validation.parquet'}",
            f"actor_rollout_ref.model.path={self.folder / 'model'}",
        ]


@pytest.fixture(scope="session")
def maker_rows(tmp_path_factory: pytest.TempPathFactory) -> MakerRows:
    """Files that `rest-verl data` makes, of every maker."""
    return make_rows(tmp_path_factory.mktemp("makers"))


@pytest.fixture(scope="session")
def start(maker_rows: MakerRows, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """The quickstart's task, and a model that has begun to imitate its demonstrations and can read every maker's."""
    folder = tmp_path_factory.mktemp("start")
    task = toy_task.make_task(seed=0, train_rows=600, validation_rows=16)
    for name, rows in (("train", task.train), ("validation", task.validation)):
        write_parquet(rows, folder / f"{name}.parquet")  # in types that stand next to those of other makers
    texts = [part for messages, response in task.demonstrations for part in (messages[-1]["content"], response)]
    tokenizer = tiny_model.train_tokenizer([*texts, *maker_rows.texts], 1500)
    model = tiny_model.new_model(tokenizer, hidden=64)
    tiny_model.train_model(model, tokenizer, task.demonstrations, steps=IMITATION_STEPS)
    tiny_model.save(model, tokenizer, folder / "model")
    return Start(folder)


@pytest.fixture(scope="session")
def train() -> Callable[[list[str], Path, int], list[Step]]:
    """Run verl with its output in a folder; a second run there continues from the checkpoint of the first."""

    def run(overrides: list[str], out: Path, steps: int) -> list[Step]:
        return run_verl([*RECIPE, *overrides], out, steps, Progress(disable=True), HANG_GUARD)

    return run


# Written down when weights arrive in vLLM's worker for the first time: what is registered there.
SPY = """
import json
import os
from pathlib import Path

import verl
from rest_verl.cpu.vllm_worker import CPUWorkerExtension
from rest_verl.plugin.registries import REGISTRIES


class Spy(CPUWorkerExtension):
    def update_weights_from_ipc(self, *args, **kwargs):
        report = Path(REPORT)
        if not report.exists():
            report.write_text(json.dumps({"pid": os.getpid(), "names": NAMES}))
        return super().update_weights_from_ipc(*args, **kwargs)
"""


def watched(folder: Path, checkpoints: Path) -> list[str]:
    """Overrides of a run whose every step is saved and recorded whole and whose vLLM has the spy in it.

    The folder gets the spy and what it writes, seen.json.
    """
    (folder / "spy.py").write_text(SPY.replace("NAMES", NAMES).replace("REPORT", repr(str(folder / "seen.json"))))
    return [
        "actor_rollout_ref.actor.calculate_sum_pi_squared=True",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.worker_extension_cls=spy.Spy",
        "rest.dump.fraction=1.0",
        "trainer.save_freq=1",
        f"trainer.default_local_dir={checkpoints}",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH={folder}:{os.environ.get('PYTHONPATH', '')}",
    ]


def of_makers(start: Start, rows: MakerRows) -> list[str]:
    """Overrides of a run on every maker's rows, and on the task's own: of those the model gets some right, and without
    a spread of scores there is no update."""
    training = [start.folder / "train.parquet", *rows.training]
    validation = [start.folder / "validation.parquet", *rows.validation]
    return [
        f"data.train_files=[{','.join(map(str, training))}]",
        f"data.val_files=[{','.join(map(str, validation))}]",
        f"data.max_prompt_length={PROMPT_TOKENS}",
        f"data.max_response_length={RESPONSE_TOKENS}",
        f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
    ]


# The quickstart's script, whose verl gets further overrides at the end of its command.
QUICKSTART = """
import json
import os

import quickstart
import typer

run, further = quickstart.run_verl, json.loads(os.environ["FURTHER_OVERRIDES"])
quickstart.run_verl = lambda overrides, *rest: run([*overrides, *further], *rest)
typer.run(quickstart.main)
"""


@dataclass(frozen=True)
class Quickstart:
    """The quickstart's folder, what it printed, and the same command again."""

    out: Path
    printed: str
    again: subprocess.CompletedProcess

    @property
    def checkpoints(self) -> Path:
        return self.out / "verl" / "checkpoints"


@pytest.fixture(scope="session")
def quickstart(start: Start, maker_rows: MakerRows, tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    """Two steps of the quickstart's own script from a start that is already there, on rows of every maker."""
    out = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(start.folder, out / "start-seed0")
    (out / "start-seed0" / "finished.json").write_text(json.dumps({}))
    further = [*RECIPE[1:], *of_makers(start, maker_rows), *watched(out, out / "verl" / "checkpoints")]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES), "FURTHER_OVERRIDES": json.dumps(further)}

    def run() -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", QUICKSTART, "--steps", "2", "--out", str(out)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_GUARD)

    done = run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Quickstart(out, done.stdout, run())


@dataclass(frozen=True)
class Resumed:
    """Steps 1 and 2 of a run and, resumed in a second one, 3 and 4; where its checkpoints are, and what vLLM saw."""

    first: list[Step]
    second: list[Step]
    checkpoints: Path
    spied: Path

    @property
    def steps(self) -> list[Step]:
        return [*self.first, *self.second]

    @property
    def in_vllm(self) -> dict:
        """The pid of a process of vLLM and the names registered there."""
        return json.loads((self.spied / "seen.json").read_text())


@pytest.fixture(scope="session", params=["quickstart", pytest.param("two ranks", marks=pytest.mark.release)])
def resumed(request: pytest.FixtureRequest, start: Start, maker_rows: MakerRows, train: Callable) -> Resumed:
    """The quickstart's run resumed; with `--all`, one on two ranks as well."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp("resumed")
    further = [
        "+rest=entropy_adaptive",
        f"actor_rollout_ref.model.path={start.folder / 'model'}",
        *of_makers(start, maker_rows),
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        f"rest.dump_dir={folder / 'records'}",
        *watched(folder, folder / "checkpoints"),
    ]
    if request.param == "quickstart":
        ready: Quickstart = request.getfixturevalue("quickstart")
        shutil.copytree(ready.checkpoints, folder / "checkpoints")
        first = [step for step in read_metrics(ready.out / "verl" / "metrics.jsonl") if step.step > 0]
    else:
        further.append("trainer.n_gpus_per_node=2")
        first = train(further, folder / "first", 2)
    return Resumed(first, train(further, folder / "second", 4), folder / "checkpoints", folder)

"""Real runs of stock verl, Ray and vLLM on a CPU, with a model made on the spot.

A run costs a minute or two before its first step, so without `--all` there are four, and many tests read each: the
quickstart's own script on rows of every maker (`quickstart`), a run on two ranks that is stopped and resumed
(`resumed`), and trajectories over several turns with asynchronous rollouts (test_multi_turn_on_cpu.py).
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
from registered import NAMES
from rich.progress import Progress
from tiers import HANG_GUARD
from verl_run import Step, run_verl

EXAMPLES = Path(__file__).parents[2] / "examples" / "cpu"
IMITATION_STEPS = 150  # enough for most responses to have tags and calls

RECIPE = [
    "+platform=cpu",
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
    toy_task.write_parquet(task, folder)
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
    """The quickstart's folder, what it printed, the same command again, and its overrides."""

    out: Path
    printed: str
    again: subprocess.CompletedProcess

    @property
    def steps(self) -> list[Step]:
        lines = (self.out / "verl" / "metrics.jsonl").read_text().splitlines()
        return [Step(record["step"], record["data"]) for record in map(json.loads, lines)]


@pytest.fixture(scope="session")
def quickstart(start: Start, maker_rows: MakerRows, tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    """Two steps of the quickstart's own script from a start that is already there, on rows of every maker."""
    out = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(start.folder, out / "start-seed0")
    (out / "start-seed0" / "finished.json").write_text(json.dumps({}))
    validation = [out / "start-seed0" / "validation.parquet", *maker_rows.validation]
    further = [
        f"data.train_files=[{','.join(map(str, maker_rows.training))}]",
        f"data.val_files=[{','.join(map(str, validation))}]",
        f"data.max_prompt_length={PROMPT_TOKENS}",
        f"data.max_response_length={RESPONSE_TOKENS}",
        f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
        "data.train_batch_size=8",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    ]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES), "FURTHER_OVERRIDES": json.dumps(further)}

    def run() -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", QUICKSTART, "--steps", "2", "--out", str(out)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_GUARD)

    done = run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Quickstart(out, done.stdout, run())


SPY = """
import json
import os
from pathlib import Path

import verl
from rest_verl.cpu.vllm_worker import CPUWorkerExtension
from rest_verl.plugin.registries import REGISTRIES


class Spy(CPUWorkerExtension):
    \"\"\"Writes down what is registered inside vLLM's worker when weights arrive there for the first time.\"\"\"

    def update_weights_from_ipc(self, *args, **kwargs):
        report = Path(REPORT)
        if not report.exists():
            report.write_text(json.dumps({"pid": os.getpid(), "names": NAMES}))
        return super().update_weights_from_ipc(*args, **kwargs)
"""


@dataclass(frozen=True)
class Resumed:
    """Steps 1 and 2 of a run and, resumed in a second one, 3 and 4."""

    folder: Path
    first: list[Step]
    second: list[Step]

    @property
    def steps(self) -> list[Step]:
        return [*self.first, *self.second]

    def checkpoint(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"global_step_{step}"

    @property
    def in_vllm(self) -> dict:
        """The pid of a process of vLLM and the names registered there."""
        return json.loads((self.folder / "seen.json").read_text())


@pytest.fixture(scope="session")
def resumed(start: Start, train: Callable, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    """One run on two ranks that is stopped and resumed, whose every step is recorded whole and saved."""
    folder = tmp_path_factory.mktemp("resumed")
    (folder / "spy.py").write_text(SPY.replace("NAMES", NAMES).replace("REPORT", repr(str(folder / "seen.json"))))
    overrides = [
        "+rest=entropy_adaptive",
        "actor_rollout_ref.actor.calculate_sum_pi_squared=True",
        *start.overrides,
        "trainer.n_gpus_per_node=2",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        "trainer.save_freq=1",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        f"rest.dump_dir={folder / 'records'}",
        "rest.dump.fraction=1.0",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.worker_extension_cls=spy.Spy",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH={folder}:{os.environ.get('PYTHONPATH', '')}",
    ]
    return Resumed(folder, train(overrides, folder / "first", 2), train(overrides, folder / "second", 4))

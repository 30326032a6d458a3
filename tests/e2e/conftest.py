"""Real runs of stock verl, Ray and vLLM on a CPU, with a model made on the spot."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_model
import toy_task
from rich.progress import Progress
from verl_run import Step, run_verl

RUN_SECONDS = 600.0
QUICKSTART = Path(__file__).parents[2] / "examples" / "cpu" / "quickstart.py"
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
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """The quickstart's task and a model that has begun to imitate its demonstrations."""
    folder = tmp_path_factory.mktemp("start")
    task = toy_task.make_task(seed=0, train_rows=600, validation_rows=16)
    toy_task.write_parquet(task, folder)
    texts = [part for messages, response in task.demonstrations for part in (messages[-1]["content"], response)]
    tokenizer = tiny_model.train_tokenizer(texts, 600)
    model = tiny_model.new_model(tokenizer, hidden=64)
    tiny_model.train_model(model, tokenizer, task.demonstrations, steps=IMITATION_STEPS)
    tiny_model.save(model, tokenizer, folder / "model")
    return Start(folder)


@pytest.fixture(scope="session")
def train() -> Callable[[list[str], Path, int], list[Step]]:
    """Run verl with its output in a folder; a second run there continues from the checkpoint of the first."""

    def run(overrides: list[str], out: Path, steps: int) -> list[Step]:
        return run_verl([*RECIPE, *overrides], out, steps, Progress(disable=True), RUN_SECONDS)

    return run


@pytest.fixture(scope="session")
def quickstart(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, subprocess.CompletedProcess]:
    """The quickstart's own script on a start that is already there: (its folder, what it printed, the same again)."""
    out = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(start.folder, out / "start-seed0")
    (out / "start-seed0" / "finished.json").write_text(json.dumps({}))
    command = [sys.executable, str(QUICKSTART), "--steps", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return out, done.stdout, again

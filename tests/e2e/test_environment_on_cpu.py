"""Trajectories in an environment of a user's own, through stock verl: many user turns, state, and its own score.

The folder of its records becomes read-only in mid-run. Without `--all` test_multi_turn_on_cpu.py runs the environment,
tests/rollout/test_per_turn.py the samples and tests/records/test_write.py the folder.
"""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import train_shop
from read_only import can_be_read_only, make_read_only, make_writable, skip_unless_it_can_be
from rich.progress import Progress
from rollout_recorder import expected_outputs, read_record, recording
from tiers import HANG_GUARD, VERL_UNHURRIED
from verl_run import Step, run_verl

from rest_verl.records.schema import read_step, step_files

EXAMPLES = Path(train_shop.__file__).parents[1]
pytestmark = pytest.mark.release


@dataclass(frozen=True)
class Run:
    """What was logged and printed, where what the engine saw is written down, and the records of the training."""

    steps: list[Step]
    log: str
    record: Path
    records: Path


def close_after_first_step(folder, ended):
    """Make a folder of records read-only as soon as the first file is there, where that can be done."""
    while can_be_read_only() and not ended.is_set():
        if step_files(folder):
            make_read_only(folder)
            return
        time.sleep(0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps in which each turn is a sample of its own, with a model that has begun to imitate the clerk."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_shop, "IMITATION_STEPS", 400)  # with fewer, all trajectories of a prompt may score alike
        train_shop.prepare(folder, Progress(disable=True))
    overrides = {override.partition("=")[0]: override for override in train_shop.RECIPE}
    del overrides["+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH"]
    overrides["rest.modules"] = "rest.modules=[custom_environment,rollout_recorder]"
    further, path = recording(folder / "record", EXAMPLES, path=os.environ.get("PYTHONPATH", ""))
    records = folder / "records"
    further += [*VERL_UNHURRIED, "rest.rollout.per_turn=True", "trainer.test_freq=2", f"rest.dump_dir={records}"]
    ended = threading.Event()
    closing = threading.Thread(target=close_after_first_step, args=(records, ended))
    closing.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path)
            every = [*overrides.values(), *train_shop.files(folder), *further]
            steps = run_verl(every, folder / "run", 2, Progress(disable=True), HANG_GUARD)
    finally:
        ended.set()
        closing.join()
        if can_be_read_only() and records.exists():
            make_writable(records)
    return Run(steps, (folder / "run" / "verl.log").read_text(errors="replace"), folder / "record", records)


def test_the_user_comes_back_and_the_calls_reach_the_shop(run):
    for step in run.steps[1:]:
        logged = step.metrics
        assert logged["rest/rollout/user_turns"] > 1.2
        assert logged["rest/rollout/assistant_turns"] > logged["rest/rollout/user_turns"]
        assert logged["rest/rollout/calls"] > 0.3
        assert logged["rest/rollout/tool_errors/unknown_tool"] < logged["rest/rollout/calls"]


def test_the_shop_scores_the_trajectories(run):
    for step in run.steps[1:]:
        assert 0 <= step.metrics["rest/reward/share"] <= 1
        assert step.metrics["rest/reward/skipped"] == 0
    assert 0 <= run.steps[-1].metrics["val-core/shop/acc/mean@1"] <= 1
    assert run.steps[-1].metrics["val-aux/shop/rollout/user_turns/mean@1"] > 1


def test_the_policy_is_updated_where_trajectories_score_differently(run):
    for step in run.steps[1:]:
        assert (step.metrics["actor/grad_norm"] > 0) == (step.metrics["critic/advantages/max"] > 0)
    assert any(step.metrics["actor/grad_norm"] > 0 for step in run.steps[1:])


def test_what_is_trained_on_is_what_the_engine_read_and_wrote(run):
    """Every turn of the run, in training and validation: ids and mask, token by token."""
    requests, outputs = read_record(run.record)
    assert len(requests) == len(outputs) >= 2 * 32 + 2 * 32
    assert max(map(len, requests)) > 3
    expected = expected_outputs(requests, train_shop.RESPONSE_TOKENS, per_turn=True)
    assert sorted(outputs) == sorted(expected)


def test_records_that_become_read_only_cost_no_training(run):
    """One warning is all."""
    skip_unless_it_can_be()
    assert [step.step for step in run.steps] == [0, 1, 2]
    assert list(step_files(run.records)) == [1]
    assert run.log.count("the records of step 2 are lost") == run.log.count("Training continues") == 1


def test_records_of_turns_as_samples_belong_to_their_trajectories(run):
    rows = read_step(run.records / "step_000001.parquet").table.to_pylist()
    trajectories = {}
    for row in rows:
        trajectories.setdefault((row["uid"], row["session"]), []).append(row)
    assert len(trajectories) == 32
    for outputs in trajectories.values():
        assert sorted(row["output"] for row in outputs) == list(range(len(outputs)))
        assert len({row["score"] for row in outputs}) == len({row["picked"] for row in outputs}) == 1
        for row in outputs:
            assert [(turn["begin"], turn["end"]) for turn in row["turns"]] == [(0, len(row["ids"]))]
            assert all(row["generated"])
    assert max(map(len, trajectories.values())) > 3

"""Trajectories in an environment of a user's own, through stock verl: many user turns, state, and its own score."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import train_shop
from rich.progress import Progress
from rollout_recorder import read_record
from verl_run import Step, run_verl

EXAMPLES = Path(train_shop.__file__).parents[1]
HELPERS = Path(__file__).parents[1] / "helpers"
RUN_SECONDS = 600.0


@dataclass(frozen=True)
class Run:
    """What was logged, and where what the engine saw is written down."""

    steps: list[Step]
    record: Path
    per_turn: bool


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Rows, and a model that has begun to imitate the clerk."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_shop, "IMITATION_STEPS", 150)
        train_shop.prepare(folder, Progress(disable=True))
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "per_turn"])
def run(request, shop):
    """Two steps, with trajectories as they are or each turn as a sample of its own; and the record of its rollouts."""
    out = shop / f"per_turn_{request.param}"
    record = out / "record"
    record.mkdir(parents=True)
    overrides = {override.partition("=")[0]: override for override in train_shop.RECIPE}
    overrides["rest.modules"] = "rest.modules=[custom_environment,rollout_recorder]"
    path = os.pathsep.join([str(EXAMPLES), str(HELPERS)])
    env_vars = "+ray_kwargs.ray_init.runtime_env.env_vars"
    overrides[f"{env_vars}.PYTHONPATH"] = f"{env_vars}.PYTHONPATH={path}"
    further = [f"{env_vars}.ROLLOUT_RECORD={record}", f"rest.rollout.per_turn={request.param}", "trainer.test_freq=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        every = [*overrides.values(), *train_shop.files(shop), *further]
        steps = run_verl(every, out, 2, Progress(disable=True), RUN_SECONDS)
    return Run(steps, record, request.param)


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


def test_the_policy_is_updated(run):
    assert all(step.metrics["actor/grad_norm"] > 0 for step in run.steps[1:])


def test_what_is_trained_on_is_what_the_engine_read_and_wrote(run):
    """Every trajectory of the run, in training and validation: ids and mask, token by token."""
    requests, outputs = read_record(run.record)
    assert len(requests) == len(outputs) >= 2 * 32 + 2 * 32
    assert max(map(len, requests)) > 3
    expected = []
    room = train_shop.RESPONSE_TOKENS  # verl cuts what the engine writes beyond it
    for turns in requests:
        prompt, whole = turns[0][0], turns[-1][0] + turns[-1][1]
        starts = [len(read) - len(prompt) for read, _ in turns]
        if run.per_turn:
            cut = [(read, wrote[: room - start]) for start, (read, wrote) in zip(starts, turns, strict=True)]
            expected.append([[read, wrote, [1] * len(wrote)] for read, wrote in cut])
            continue
        mask = [0] * (len(whole) - len(prompt))
        for start, (read, wrote) in zip(starts, turns, strict=True):
            assert whole[: len(read)] == read
            mask[start : start + len(wrote)] = [1] * len(wrote)
        expected.append([[prompt, whole[len(prompt) :][:room], mask[:room]]])
    assert sorted(outputs) == sorted(expected)

"""A run on two ranks, stopped at a checkpoint and resumed, goes on as if it had not been stopped."""

import json
import math
import os

import pytest
from registered import NAMES

from rest_verl.plugin.trainer import STATE_FILE

SPY = """
import json
import os
import sys
from pathlib import Path

import verl
from rest_verl.cpu.vllm_worker import CPUWorkerExtension
from rest_verl.plugin.registries import REGISTRIES


class Spy(CPUWorkerExtension):
    \"\"\"Writes down what is registered inside vLLM's worker when weights arrive there for the first time.\"\"\"

    def update_weights_from_ipc(self, *args, **kwargs):
        report = Path({report!r})
        if not report.exists():
            report.write_text(json.dumps({"command": sys.argv, "pid": os.getpid(), "names": NAMES}))
        return super().update_weights_from_ipc(*args, **kwargs)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resumed")


@pytest.fixture(scope="module")
def runs(start, train, folder):
    """Steps 1 to 3 and, resumed, 4 to 6, of one run on two ranks."""
    (folder / "spy.py").write_text(SPY.replace("NAMES", NAMES).replace("{report!r}", repr(str(folder / "seen.json"))))
    path = os.environ.get("PYTHONPATH", "")
    overrides = [
        "+rest=entropy_adaptive",
        "actor_rollout_ref.actor.calculate_sum_pi_squared=True",
        *start.overrides,
        "trainer.n_gpus_per_node=2",
        "trainer.val_before_train=False",
        "trainer.test_freq=-1",
        "trainer.save_freq=3",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.worker_extension_cls=spy.Spy",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH={folder}:{path}",
    ]
    return train(overrides, folder / "first", 3), train(overrides, folder / "second", 6)


def rest_metrics(step):
    return {key for key in step.metrics if key.startswith("rest/")}


def test_a_resumed_run_logs_the_steps_after_the_checkpoint(runs):
    first, second = runs
    assert [step.step for step in first] == [1, 2, 3]
    assert [step.step for step in second] == [4, 5, 6]


@pytest.fixture(scope="module")
def states(runs, folder):
    """What the checkpoints of steps 3 and 6 hold of the measured entropies."""
    return [json.loads((folder / "checkpoints" / f"global_step_{step}" / STATE_FILE).read_text()) for step in (3, 6)]


def after(averages, steps):
    """Moving averages of region entropies after more steps, from what these logged."""
    for step in steps:
        for region in averages:
            if (new := step.metrics.get(f"rest/entropy/{region.lower()}")) is not None:
                averages[region] = 0.9 * averages[region] + 0.1 * new
    return averages


def test_averages_of_measured_entropy_go_on_from_the_checkpoint(runs, states):
    third, sixth = states
    assert sixth["structure_first"] == third["structure_first"]
    assert {"FORMAT", "NAME", "ARGS", "THINK", "OTHER"} <= set(third["entropy"])
    expected = after(dict(third["entropy"]), runs[1])
    assert {region: sixth["entropy"][region] for region in expected} == pytest.approx(expected)


def test_the_curriculum_follows_the_averages(runs, states):
    for state, last in zip(states, (runs[0][-1], runs[1][-1]), strict=True):
        lam = 1 - state["structure"] / state["structure_first"]
        assert last.metrics["rest/curriculum"] == pytest.approx(min(max(lam, 0.0), 1.0))


def test_variances_are_the_exact_ones_of_the_actor_and_below_their_bound_by_entropy(states):
    for state in states:
        for region, entropy in state["entropy"].items():
            assert 0.0 <= state["variance"][region] <= 1 - math.exp(-entropy) + 1e-6
    # A policy that is nearly sure has V near 2 q where its entropy is near q (1 - log q): far below the bound.
    assert states[0]["variance"]["OTHER"] < 0.9 * (1 - math.exp(-states[0]["entropy"]["OTHER"]))


def test_a_resumed_run_logs_the_same_metrics(runs):
    first, second = runs
    regions = ("format", "name", "args", "think")
    expected = {f"rest/{kind}/{region}" for kind in ("weight", "entropy", "tokens") for region in regions}
    for step in [*first, *second]:
        assert expected <= rest_metrics(step)
    # The mean of a region is logged where a batch has a token of it, and answers are rare here.
    rare = {f"rest/{kind}/response" for kind in ("weight", "entropy", "variance")}
    assert rest_metrics(first[-1]) - rare == rest_metrics(second[0]) - rare


def test_the_policy_of_the_resumed_run_is_the_one_that_was_saved(runs):
    """Trained from scratch the entropy of step 4 would be that of step 1 again, on other rows."""
    first, second = runs
    drift = abs(first[-1].metrics["actor/entropy"] - first[0].metrics["actor/entropy"])
    assert abs(second[0].metrics["actor/entropy"] - first[-1].metrics["actor/entropy"]) < max(4 * drift, 0.15)
    assert second[0].metrics["training/rollout_probs_diff_max"] < 1e-3


def test_weights_keep_the_scale_of_the_gradient_on_every_rank(runs):
    for step in [*runs[0], *runs[1]]:
        metrics = step.metrics
        tokens = {key.rpartition("/")[2]: value for key, value in metrics.items() if key.startswith("rest/tokens/")}
        total = sum(count * metrics[f"rest/weight/{region}"] for region, count in tokens.items() if count)
        assert total == pytest.approx(sum(tokens.values()), rel=1e-4)


def test_the_plugin_is_loaded_inside_vllms_worker(runs, folder, all_names):
    seen = json.loads((folder / "seen.json").read_text())
    assert seen["names"] == all_names
    assert seen["pid"] != os.getpid()

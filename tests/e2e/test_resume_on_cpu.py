"""A run that is stopped at a checkpoint and resumed continues as if it had not been stopped."""

import json
import math
import os

import pytest
import torch
from transformers import AutoModelForCausalLM

from rest_verl.core.regions import Region
from rest_verl.records.schema import read_step, step_name
from rest_verl.weighting.saved_state import STATE_FILE


def rest_metrics(step):
    return {key for key in step.metrics if key.startswith("rest/")}


def test_a_resumed_run_logs_the_steps_after_the_checkpoint(resumed):
    assert [step.step for step in resumed.first] == [1, 2]
    assert [step.step for step in resumed.second] == [3, 4]


@pytest.fixture
def states(resumed):
    """What the checkpoints of steps 2 and 4 hold of the weighting."""
    return [json.loads((resumed.checkpoints / f"global_step_{step}" / STATE_FILE).read_text()) for step in (2, 4)]


def after(averages, steps):
    """Moving averages of region entropies after more steps, from what these logged."""
    for step in steps:
        for region in averages:
            if (new := step.metrics.get(f"rest/entropy/{region.lower()}")) is not None:
                averages[region] = 0.9 * averages[region] + 0.1 * new
    return averages


def test_averages_of_measured_entropy_continue_from_the_checkpoint(resumed, states):
    second, fourth = states
    assert fourth["structure_first"] == second["structure_first"]
    # by state, in which no token is OTHER
    assert (
        {"FORMAT", "NAME", "ARGS", "THINK"} <= set(second["entropy"]) <= {region.name for region in Region} - {"OTHER"}
    )
    expected = after(dict(second["entropy"]), resumed.second)
    assert {region: fourth["entropy"][region] for region in expected} == pytest.approx(expected)


def test_the_curriculum_follows_the_averages(resumed, states):
    for state, last in zip(states, (resumed.first[-1], resumed.second[-1]), strict=True):
        lam = 1 - state["structure"] / state["structure_first"]
        assert last.metrics["rest/curriculum"] == pytest.approx(min(max(lam, 0.0), 1.0))


def test_variances_are_exact_and_below_their_bound(states):
    """The actor's exact V of each region, which is below the bound by its entropy."""
    for state in states:
        for region, entropy in state["entropy"].items():
            assert 0.0 <= state["variance"][region] <= 1 - math.exp(-entropy) + 1e-6
    # A policy that is nearly sure has V near 2 q where its entropy is near q (1 - log q): far below the bound.
    assert states[0]["variance"]["FORMAT"] < 0.9 * (1 - math.exp(-states[0]["entropy"]["FORMAT"]))


def test_a_resumed_run_logs_the_same_metrics(resumed):
    regions = ("format", "name", "args", "think")
    expected = {f"rest/{kind}/{region}" for kind in ("weight", "entropy", "tokens") for region in regions}
    for step in resumed.steps:
        assert expected <= rest_metrics(step)
    # The mean of a region is logged where a batch has a token of it, and answers are rare here.
    rare = {f"rest/{kind}/response" for kind in ("weight", "entropy", "variance")}
    assert rest_metrics(resumed.first[-1]) - rare == rest_metrics(resumed.second[0]) - rare


def test_the_policy_of_the_resumed_run_is_the_saved_one(resumed):
    """Whatever the first resumed step sampled has, under the model in the checkpoint, the log-probs of that step."""
    saved = resumed.checkpoints / "global_step_2" / "actor" / "huggingface"
    model = AutoModelForCausalLM.from_pretrained(saved, dtype="float32").eval()
    for row in read_step(resumed.spied / "records" / step_name(3)).table.slice(0, 8).to_pylist():
        ids = torch.tensor([*row["prompt_ids"], *row["ids"]])
        with torch.no_grad():
            log_probs = model(ids[None]).logits[0, :-1].log_softmax(dim=-1)
        found = log_probs.gather(1, ids[1:, None])[len(row["prompt_ids"]) - 1 :, 0]
        own = torch.tensor(row["generated"])
        torch.testing.assert_close(torch.tensor(row["old_log_prob"])[own], found[own], rtol=0, atol=1e-3)
    assert resumed.second[0].metrics["training/rollout_probs_diff_max"] < 1e-3


def test_weights_keep_the_gradients_scale(resumed):
    """The first step scales its weights by their own mean, up to floor and cap; the others by that of those before."""
    for step in resumed.steps:
        metrics = step.metrics
        tokens = {key.rpartition("/")[2]: value for key, value in metrics.items() if key.startswith("rest/tokens/")}
        total = sum(count * metrics[f"rest/weight/{region}"] for region, count in tokens.items() if count)
        assert total == pytest.approx(sum(tokens.values()), rel=1e-2 if step.step == 1 else 0.25)


def test_the_plugin_is_loaded_inside_vllms_worker(resumed, all_names):
    seen = resumed.in_vllm
    assert seen["names"] == all_names
    assert seen["pid"] != os.getpid()

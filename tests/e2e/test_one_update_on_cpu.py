"""One step of stock verl, and the same update in process from what it recorded: what makes runs of the learning study
in process (benchmarks/learning.py) say something about verl."""

import pytest
import torch
from evidence.policy import Rollouts, group_advantages, new_optimizer, pad_left, update
from evidence.variants import VARIANTS, composed, overrides
from transformers import AutoModelForCausalLM, AutoTokenizer

from rest_verl.config import load
from rest_verl.core.regions import RegionTagger
from rest_verl.core.tagged import TaggedBatch
from rest_verl.records.read import read_step, step_files
from rest_verl.weighting import TokenWeighting

LEARNING_RATE = 1e-3
VARIANT = "entropy"
STEPS = 1


@pytest.fixture(scope="module")
def folder(start, train, tmp_path_factory):
    """The folder of a run of one step that records every trajectory and saves the updated model."""
    out = tmp_path_factory.mktemp("one_update")
    train(
        [
            *overrides(VARIANTS[VARIANT], STEPS),
            *start.overrides,
            f"actor_rollout_ref.actor.optim.lr={LEARNING_RATE}",
            "actor_rollout_ref.actor.checkpoint.save_contents=[hf_model]",
            f"trainer.default_local_dir={out / 'checkpoints'}",
            "trainer.val_before_train=False",
            "trainer.test_freq=-1",
            "trainer.save_freq=1",
            f"rest.dump_dir={out / 'records'}",
            "rest.dump.fraction=1.0",
        ],
        out / "verl",
        STEPS,
    )
    return out


@pytest.fixture(scope="module")
def tokenizer(start):
    return AutoTokenizer.from_pretrained(start.folder / "model")


@pytest.fixture(scope="module")
def recorded(folder, tokenizer):
    """The batch as verl had it: its rollouts, the score of each, and the weight of each token."""
    rows = read_step(step_files(folder / "records")[1]).table.to_pylist()
    pad = tokenizer.pad_token_id
    uids = sorted({row["uid"] for row in rows})
    width = max(len(row["ids"]) for row in rows)

    def padded(column, fill, dtype):
        return torch.tensor([[*row[column], *[fill] * (width - len(row["ids"]))] for row in rows], dtype=dtype)

    prompts, prompt_mask = pad_left([row["prompt_ids"] for row in rows], pad)
    rollouts = Rollouts(
        prompts=prompts,
        prompt_mask=prompt_mask,
        responses=padded("ids", pad, torch.int64),
        response_mask=padded("trained", False, torch.int64),
        group=torch.tensor([uids.index(row["uid"]) for row in rows]),
        log_probs=padded("old_log_prob", 0.0, torch.float32),
        entropy=padded("entropy", 0.0, torch.float32),
        sum_pi_squared=torch.zeros(len(rows), width),
    )
    return rollouts, torch.tensor([row["score"] for row in rows]), padded("weight", 0.0, torch.float32)


def parameters(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    return model, torch.cat([value.detach().flatten() for value in model.parameters()])


def test_one_update_in_process_is_the_one_that_verl_made(folder, start, recorded, tokenizer):
    rollouts, scores, weights_of_verl = recorded
    assert len(scores) == 32 and scores.std() > 0
    settings = load(composed(VARIANTS[VARIANT], STEPS))
    regions = RegionTagger(tokenizer, settings.format)(rollouts.responses, rollouts.response_mask)
    weights = TokenWeighting(settings, STEPS)(TaggedBatch(regions, rollouts.response_mask), 1, rollouts.entropy)
    torch.testing.assert_close(weights, weights_of_verl)
    model, before = parameters(start.folder / "model")
    update(model, new_optimizer(model, LEARNING_RATE), rollouts, group_advantages(scores, rollouts.group), weights)
    after = torch.cat([value.detach().flatten() for value in model.parameters()])
    _, theirs = parameters(folder / "checkpoints" / "global_step_1" / "actor" / "huggingface")
    # Adam's first step moves every weight by the rate in the direction of its gradient, however small that is: the
    # strictest way to compare two gradients. Seen: 5e-5.
    assert (theirs - before).abs().mean() > 0.5 * LEARNING_RATE
    difference = (after - theirs).norm() / (theirs - before).norm()
    assert difference < 1e-3


def test_the_gradient_does_follow_the_weights(start, recorded):
    """Else the test above would pass with any weights."""
    rollouts, scores, weights = recorded
    moved = []
    for these in (weights, rollouts.response_mask.float()):
        model, before = parameters(start.folder / "model")
        update(model, new_optimizer(model, LEARNING_RATE), rollouts, group_advantages(scores, rollouts.group), these)
        moved.append(torch.cat([value.detach().flatten() for value in model.parameters()]) - before)
    assert (moved[0] - moved[1]).norm() / moved[1].norm() > 0.2

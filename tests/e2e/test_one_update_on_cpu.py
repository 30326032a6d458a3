"""The first step of the quickstart's run in stock verl, and the same update in process from what it recorded: what
makes runs of the learning study in process (benchmarks/learning.py) say something about verl."""

import pytest
import torch
from evidence.policy import Rollouts, group_advantages, new_optimizer, pad_left, positions_of, update
from hydra import compose, initialize_config_module
from transformers import AutoModelForCausalLM, AutoTokenizer

from rest_verl.config.rest import load
from rest_verl.core.regions import TaggedBatch
from rest_verl.core.states import TAGGERS
from rest_verl.formats import get_format
from rest_verl.records.schema import read_step, step_files
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

LEARNING_RATE = 1e-4  # of the runs here


@pytest.fixture(scope="module")
def tokenizer(start):
    return AutoTokenizer.from_pretrained(start.folder / "model")


@pytest.fixture(scope="module")
def recorded(quickstart, tokenizer, start):
    """The batch as verl had it: its rollouts, the score of each, and the weight of each token."""
    rows = read_step(step_files(quickstart.out / "records")[1]).table.to_pylist()
    pad = tokenizer.pad_token_id
    uids = sorted({row["uid"] for row in rows})
    width = max(len(row["ids"]) for row in rows)

    def padded(column, fill, dtype):
        return torch.tensor([[*row[column], *[fill] * (width - len(row["ids"]))] for row in rows], dtype=dtype)

    prompts, prompt_mask = pad_left([row["prompt_ids"] for row in rows], pad)
    responses, mask = padded("ids", pad, torch.int64), padded("trained", False, torch.int64)
    rollouts = Rollouts(
        prompts=prompts,
        prompt_mask=prompt_mask,
        responses=responses,
        response_mask=mask,
        group=torch.tensor([uids.index(row["uid"]) for row in rows]),
        log_probs=padded("old_log_prob", 0.0, torch.float32),
        entropy=padded("entropy", 0.0, torch.float32),
        sum_pi_squared=sum_of_squares(
            parameters(start.folder / "model")[0],
            torch.cat([prompts, responses], dim=1),
            torch.cat([prompt_mask, mask], dim=1),
            width,
        ),
    )
    return rollouts, torch.tensor([row["score"] for row in rows]), padded("weight", 0.0, torch.float32)


@torch.no_grad()
def sum_of_squares(model, ids, mask, width):
    """Sum over the vocabulary of the squared probability at each token of the response, which no record holds."""
    logits = model(ids, attention_mask=mask, position_ids=positions_of(mask)).logits[:, -width - 1 : -1]
    return logits.float().softmax(dim=-1).square().sum(dim=-1)


def parameters(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    return model, torch.cat([value.detach().flatten() for value in model.parameters()])


def test_one_update_in_process_is_the_one_that_verl_made(quickstart, start, recorded, tokenizer):
    rollouts, scores, weights_of_verl = recorded
    assert len(scores) == 32 and scores.std() > 0
    with initialize_config_module("verl.trainer.config", version_base=None):
        settings = load(compose("ppo_trainer", ["+rest=entropy_adaptive"]))
    tagger = TAGGERS[settings.weights_from](tokenizer, get_format(settings.format))
    regions = tagger(rollouts.responses, rollouts.response_mask)
    tagged = TaggedBatch(regions, rollouts.response_mask)
    weights = TokenWeighting(settings, 2)(StepBatch(1, tagged, rollouts.entropy, rollouts.sum_pi_squared))
    torch.testing.assert_close(weights, weights_of_verl, rtol=1e-4, atol=1e-6)
    model, before = parameters(start.folder / "model")
    update(model, new_optimizer(model, LEARNING_RATE), rollouts, group_advantages(scores, rollouts.group), weights)
    after = torch.cat([value.detach().flatten() for value in model.parameters()])
    _, theirs = parameters(quickstart.checkpoints / "global_step_1" / "actor" / "huggingface")
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

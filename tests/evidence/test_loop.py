import pytest
import torch
from evidence.loop import Plan, Scorer, batches, draw, train
from evidence.rollouts import Rollouts, pad_left, response_log_probs
from evidence.update import group_advantages, new_optimizer, policy_gradient, update
from evidence.variants import VARIANTS, composed

from rest_verl.config.rest import load

PLAN = Plan(steps=2, prompts=2, n=4, max_tokens=16, validate_every=1, validation_rows=4)


def settings(name="entropy"):
    return load(composed(VARIANTS[name], PLAN.steps))


def written(start, rows, texts):
    """Rollouts as if the policy had written these texts, one for each row."""
    prompts, prompt_mask = pad_left([start.prompt_ids(row) for row in rows], start.tokenizer.pad_token_id)
    ids = [[*start.tokenizer.encode(text), start.tokenizer.eos_token_id] for text in texts]
    width = max(map(len, ids))
    responses = torch.tensor([row + [start.tokenizer.pad_token_id] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    zeros = torch.zeros(responses.shape)
    return Rollouts(prompts, prompt_mask, responses, mask, torch.arange(len(rows)), zeros, zeros, zeros)


def test_the_right_response_scores_best_and_is_exact(start):
    rows = start.train[:6]
    right = [row["reward_model"]["ground_truth"] for row in rows]
    scorer = Scorer(start, settings())
    best = scorer.components(written(start, rows, right), rows, 1)
    worse = scorer.components(written(start, rows, ["no tags"] * 6), rows, 1)
    assert [found["acc"] for found in best] == [1.0] * 6
    assert [found["acc"] for found in worse] == [0.0] * 6
    assert all(one["score"] > other["score"] for one, other in zip(best, worse, strict=True))


def test_a_seed_decides_a_run(start, one_thread):
    runs = [train(start, settings(), PLAN, seed) for seed in (0, 0, 1)]
    states = [torch.cat([value.flatten() for value in model.state_dict().values()]) for model, *_ in runs]
    assert torch.equal(states[0], states[1]) and runs[0][1:] == runs[1][1:]
    assert runs[0][2] != runs[2][2]  # other prompts, other entropies


def test_a_run_validates_before_training_and_at_its_end_and_calls_back_after_each_step(start):
    called = []
    model, validations, log = train(
        start, settings(), PLAN, 0, on_step=lambda step, model: called.append((step, id(model)))
    )
    assert [validation.step for validation in validations] == [0, 1, 2]
    assert called == [(1, id(model)), (2, id(model))] and len(log) == 2
    assert log[0]["gradient_norm"] >= 0 and any(key.startswith("entropy/") for key in log[0])


def test_every_row_of_an_epoch_comes_once():
    order = batches(list(range(10)), 3, seed=0)
    first = [next(order) for _ in range(3)]
    assert len({row for batch in first for row in batch}) == 9
    assert [next(order) for _ in range(3)] != first


def test_an_update_makes_what_did_better_than_its_group_likelier(start):
    model = start.new_model()
    rollouts = draw(model, start, start.train[:1], 4, 12, torch.Generator().manual_seed(0))
    advantages = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]), rollouts.group)
    before = rollouts.log_probs.sum(-1)
    update(model, new_optimizer(model, 1e-3), rollouts, advantages, rollouts.response_mask.float(), rows=2)
    change = (response_log_probs(model, rollouts).sum(-1) - before).tolist()
    assert change[0] > 0 and change[0] > max(change[1:])


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_the_gradient_does_not_depend_on_the_micro_batches(start, rows):
    def gradient(rows):
        model = start.new_model()
        rollouts = draw(model, start, start.train[:2], 4, 12, torch.Generator().manual_seed(0))
        policy_gradient(model, rollouts, torch.linspace(-1, 1, 8), rollouts.response_mask.float(), rows)
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    torch.testing.assert_close(gradient(rows), gradient(2), atol=1e-5, rtol=1e-4)

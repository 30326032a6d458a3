import pytest
import torch
from evidence import rollouts
from evidence.loop import draw
from evidence.update import micro_batches


def drawn(start, n=3, seed=0, max_tokens=24, prompts=4):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return draw(start.new_model(), start, start.train[:prompts], n, max_tokens, generator)


@pytest.fixture
def ends_often(start, monkeypatch):
    """The start's model with an end of turn about once in four tokens."""
    model = start.new_model()
    eos, forward = start.tokenizer.eos_token_id, model.forward

    def more_ends(*args, **kwargs):
        out = forward(*args, **kwargs)
        logits = out.logits.clone()
        logits[..., eos] = logits.logsumexp(dim=-1) - 1.1
        out.logits = logits
        return out

    monkeypatch.setattr(model, "forward", more_ends)
    return model


def test_log_probs_of_sampling_are_those_of_the_model_over_the_whole_text(start):
    batch = drawn(start)
    again = rollouts.response_log_probs(start.new_model(), batch)
    torch.testing.assert_close(again, batch.log_probs, atol=1e-4, rtol=1e-4)


def test_responses_end_at_their_end_of_turn_and_are_padded_behind_it(start, ends_often):
    eos, pad = start.tokenizer.eos_token_id, start.tokenizer.pad_token_id
    batch = draw(ends_often, start, start.train[:8], 4, 24, torch.Generator().manual_seed(0))
    lengths = batch.response_mask.sum(dim=-1)
    assert lengths.min() < 4 and len(lengths.unique()) > 3  # rows have left the cache at several times
    for ids, mask, length in zip(batch.responses, batch.response_mask, lengths, strict=True):
        assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
        assert (ids[length:] == pad).all() and not (ids[: length - 1] == eos).any()
        assert ids[length - 1] == eos or length == 24
    again = rollouts.response_log_probs(ends_often, batch)
    torch.testing.assert_close(again, batch.log_probs, atol=1e-4, rtol=1e-4)


def test_what_is_measured_of_the_policy_is_that_of_its_distribution(start):
    batch = drawn(start)
    ids = torch.cat([batch.prompts, batch.responses], dim=1)
    mask = torch.cat([batch.prompt_mask, batch.response_mask], dim=1)
    logits = start.new_model()(ids, attention_mask=mask, position_ids=rollouts.positions_of(mask)).logits
    p = logits[:, batch.prompts.shape[1] - 1 : -1].softmax(dim=-1)
    entropy = torch.distributions.Categorical(p).entropy() * batch.response_mask
    torch.testing.assert_close(batch.entropy, entropy, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.sum_pi_squared, p.square().sum(-1) * batch.response_mask, atol=1e-4, rtol=1e-4)


def test_a_seed_decides_the_responses_and_none_takes_the_likeliest(start):
    first, same, other = drawn(start, seed=1), drawn(start, seed=1), drawn(start, seed=2)
    assert torch.equal(first.responses, same.responses)
    assert first.responses.shape != other.responses.shape or not torch.equal(first.responses, other.responses)
    greedy = drawn(start, seed=None, n=2)
    assert torch.equal(greedy.responses[0::2], greedy.responses[1::2])


def test_micro_batches_hold_every_row_once_without_needless_padding(start):
    batch = drawn(start)
    seen = []
    for index, part in micro_batches(batch, 5):
        seen += index.tolist()
        assert part.prompt_mask.sum(-1).max() == part.prompts.shape[1]
        assert part.response_mask.sum(-1).max() == part.responses.shape[1]
        for row, prompt, mask in zip(index.tolist(), part.prompts, part.prompt_mask, strict=True):
            assert prompt[mask.bool()].tolist() == batch.prompts[row][batch.prompt_mask[row].bool()].tolist()
    assert sorted(seen) == list(range(len(batch.group)))

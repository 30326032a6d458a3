"""The weighting of a run over its steps."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rest_verl.config.rest import RestConfig
from rest_verl.config.weights import CurriculumConfig
from rest_verl.core.curriculum import register_curriculum
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.runs import Runs, padded
from rest_verl.weighting.metrics import weight_metrics
from rest_verl.weighting.schemes import register_scheme
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region

REGIONS = torch.tensor(
    [[FORMAT, THINK, FORMAT, NAME, ARGS, OTHER], [RESPONSE, OTHER, OTHER, OTHER, OTHER, OTHER]], dtype=torch.int8
)
MASK = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
BATCH = TaggedBatch(REGIONS, MASK)
ENTROPY = torch.tensor([[0.1, 2.0, 9.0, 0.2, 1.0, 0.5], [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]])


def weighting(total_steps=100, curriculum=None, **settings):
    return TokenWeighting(RestConfig(curriculum=curriculum or CurriculumConfig(), **settings), total_steps)


def test_scheme_paper_normalised_by_rows():
    # 1.0 + 0.6 + 1.2 + 0.6 = 3.4 over 5 tokens; the second row has no positive weight.
    weights = weighting(normalisation="row")(StepBatch(0, BATCH))
    expected = torch.tensor([[1.0, 0.6, 0.0, 1.2, 0.6, 0.0], [0.0] * 6]) * (5 / 3.4)
    expected[1, :2] = 1.0
    torch.testing.assert_close(weights, expected)
    assert weights.dtype == torch.float32


def test_scheme_paper_normalised_as_the_authors_do():
    # mean 1 over the 4 positive tokens, then the sum of the mask, 7, over the sum of the weights, 4
    expected = torch.tensor([[1.0, 0.6, 0.0, 1.2, 0.6, 0.0], [0.0] * 6]) * (4 / 3.4) * (7 / 4)
    torch.testing.assert_close(weighting(normalisation="positive")(StepBatch(0, BATCH)), expected)


def test_without_normalisation_the_weights_are_those_of_the_regions():
    weights = weighting(normalisation="none")(StepBatch(50, BATCH))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.7, 0.0, 1.2, 0.7, 0.0], [0.0] * 6]))


@pytest.mark.parametrize("normalisation", ["batch", "row", "positive", "none"])
def test_scheme_uniform_gives_every_generated_token_weight_one(normalisation):
    weights = weighting(scheme="uniform", normalisation=normalisation)(StepBatch(123, BATCH))
    assert torch.equal(weights, MASK.float())


@pytest.mark.parametrize("scheme", ["entropy", "token"])
def test_a_scheme_that_measures_entropy_needs_it(scheme):
    with pytest.raises(ValueError, match=f"rest.scheme={scheme} needs the policy's entropy"):
        weighting(scheme=scheme)(StepBatch(1, BATCH))


@pytest.mark.parametrize("scheme", ["entropy", "token"])
def test_the_sum_of_squared_probabilities_goes_before_the_entropy(scheme):
    collision = torch.tensor([[0.9, 0.9, 0.0, 0.2, 0.2, 0.2], [0.2, 0.2, 0.0, 0.0, 0.0, 0.0]])
    weights = weighting(scheme=scheme, curriculum=CurriculumConfig(high=0.0))(StepBatch(1, BATCH, ENTROPY, collision))
    assert weights[0, 0] == pytest.approx(float(weights[0, 1]))
    assert weights[0, 0] > weights[0, 3]


def test_measured_entropies_are_averaged_over_steps():
    averaging, fresh = weighting(scheme="entropy", decay=0.9), weighting(scheme="entropy", decay=0.0)
    for one in (averaging, fresh):
        one(StepBatch(1, BATCH, ENTROPY))
    torch.testing.assert_close(averaging(StepBatch(2, BATCH, ENTROPY)), fresh(StepBatch(2, BATCH, ENTROPY)))
    calm = ENTROPY.clone()
    calm[0, 1] = 0.0
    assert averaging(StepBatch(3, BATCH, calm))[0, 1] < fresh(StepBatch(3, BATCH, calm))[0, 1]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, {0: 0.0, 50: 0.5, 100: 1.0, 200: 1.0}),
        ({"begin": 0.5}, {50: 0.0, 75: 0.5, 100: 1.0}),
        ({"unit": "step", "end": 10}, {5: 0.5, 10: 1.0, 99: 1.0}),
        ({"low": 1.0, "high": 0.0}, {0: 1.0, 25: 0.75, 100: 0.0}),
        ({"kind": "constant", "high": 0.25}, {0: 0.25, 100: 0.25}),
        ({"kind": "step", "end": 0.5}, {49: 0.0, 50: 1.0}),
    ],
)
def test_the_curriculum_moves_over_steps_or_a_share_of_training(settings, steps):
    moving = weighting(scheme="entropy", curriculum=CurriculumConfig(**settings))
    assert {step: moving.lam(step) for step in steps} == pytest.approx(steps)


def test_the_adaptive_curriculum_follows_the_measured_structure():
    adaptive = weighting(scheme="entropy", decay=0.0, curriculum=CurriculumConfig(kind="adaptive"))
    assert adaptive.lam(1) == 0.0
    adaptive(StepBatch(1, BATCH, ENTROPY))
    assert adaptive.lam(1) == 0.0
    adaptive(StepBatch(2, BATCH, ENTROPY / 4))
    assert adaptive.lam(2) == pytest.approx(0.75)


@pytest.mark.parametrize("scheme", ["entropy", "token", "paper"])
def test_a_restored_weighting_goes_on_as_if_it_had_not_been_stopped(scheme):
    settings = {"scheme": scheme, "curriculum": CurriculumConfig(kind="adaptive")}
    whole, first, second = (weighting(**settings) for _ in range(3))
    for one in (whole, first):
        one(StepBatch(1, BATCH, ENTROPY))
    second.restore(json.loads(json.dumps(first.state())))
    assert torch.equal(whole(StepBatch(2, BATCH, ENTROPY / 2)), second(StepBatch(2, BATCH, ENTROPY / 2)))
    assert whole.metrics(2) == second.metrics(2)


def test_the_schedule_of_scheme_paper_is_logged_by_region():
    assert weighting().metrics(50) == pytest.approx(
        {
            "rest/schedule/other": 0.0,
            "rest/schedule/think": 0.7,
            "rest/schedule/response": 0.0,
            "rest/schedule/format": 1.0,
            "rest/schedule/args": 0.7,
            "rest/schedule/name": 1.2,
        }
    )


def test_curriculum_and_variances_are_logged_where_they_are_measured():
    measuring = weighting(scheme="entropy")
    measuring(StepBatch(25, BATCH, ENTROPY))
    metrics = measuring.metrics(25)
    assert metrics["rest/curriculum"] == 0.25
    assert metrics["rest/variance/think"] == pytest.approx(1 - float(torch.exp(torch.tensor(-2.0))))
    assert set(metrics) == {"rest/curriculum", *(f"rest/variance/{region.name.lower()}" for region in Region)}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_scheme_that_gives_no_weight_is_an_error_and_not_a_wrong_update(value, own_names):
    name = f"broken_{value}"
    register_scheme(name)(lambda batch, settings: torch.full(batch.regions.shape, value))
    with pytest.raises(ValueError, match=f"rest.scheme={name} gave a weight that is negative or not finite"):
        weighting(scheme=name)(StepBatch(1, BATCH))


def test_a_curriculum_outside_of_its_range_is_an_error(own_names):
    register_curriculum("too_far")(lambda progress: 2.0)
    with pytest.raises(ValueError, match=r"rest\.curriculum\.kind=too_far gave 2\.0 at step 7"):
        weighting(scheme="entropy", curriculum=CurriculumConfig(kind="too_far"))(StepBatch(7, BATCH, ENTROPY))


@given(data=st.data(), scheme=st.sampled_from(["paper", "entropy", "token", "uniform"]), step=st.integers(1, 500))
def test_weights_of_any_batch_are_finite_not_negative_zero_where_masked_and_rows_keep_their_sum(data, scheme, step):
    rows, columns = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 6))

    def draw(values):
        return torch.tensor(data.draw(st.lists(values, min_size=rows * columns, max_size=rows * columns)))

    regions = draw(st.sampled_from([int(region) for region in Region])).reshape(rows, columns).to(torch.int8)
    mask = draw(st.sampled_from([0, 1])).reshape(rows, columns).long()
    entropy = draw(st.floats(0, 12)).reshape(rows, columns).float()
    weights = weighting(total_steps=200, scheme=scheme, normalisation="row")(
        StepBatch(step, TaggedBatch(regions, mask), entropy)
    )
    assert weights.shape == mask.shape
    assert torch.isfinite(weights).all() and (weights >= 0).all() and (weights[mask == 0] == 0).all()
    torch.testing.assert_close(weights.sum(-1), mask.sum(-1).float(), rtol=1e-5, atol=0)


tokens = st.tuples(st.sampled_from(list(Region)), st.booleans(), st.floats(0, 4, width=32) | st.just(float("nan")))
rows = st.lists(st.lists(tokens, max_size=12), min_size=1, max_size=4)


@pytest.mark.parametrize("normalisation", ["batch", "row", "positive", "none"])
@pytest.mark.parametrize("scheme", ["uniform", "paper", "entropy"])
@given(steps=st.lists(rows, min_size=1, max_size=3), floor=st.sampled_from([0.0, 0.25]))
def test_runs_weigh_as_their_tokens_do(scheme, normalisation, steps, floor):
    """Weights, metrics and what is remembered, over steps: one pass over runs, one over padded tokens."""
    settings = {"scheme": scheme, "normalisation": normalisation, "floor": floor, "cap": 3.0}
    by_run, by_token = weighting(**settings), weighting(**settings)
    for step, batch in enumerate(steps):
        columns = zip(*(token for row in batch for token in row), strict=True)
        regions, generated, entropy = [*columns] or ((), (), ())
        flat = torch.tensor(regions, dtype=torch.int8), torch.tensor(generated, dtype=torch.bool)
        lengths = torch.tensor([len(row) for row in batch])
        entropies = torch.tensor(entropy, dtype=torch.float32)
        runs = Runs.of(*flat, lengths)
        sums = runs.entropy_sums(entropies)
        run_batch = StepBatch(step, runs.tagged, entropy_sums=sums[0], variance_sums=sums[1])
        tagged = TaggedBatch(*(padded(one, lengths) for one in flat))
        token_batch = StepBatch(step, tagged, padded(entropies, lengths))
        found, expected = runs.spread(by_run(run_batch)), by_token(token_batch)
        torch.testing.assert_close(padded(found, lengths), expected, rtol=1e-4, atol=1e-6)
        assert weight_metrics(run_batch) == pytest.approx(weight_metrics(token_batch), rel=1e-4, abs=0.002)


def test_a_scheme_by_region_may_need_the_entropy_alone():
    with pytest.raises(ValueError, match="'by_rows': by_region=True has no tokens, but needs has advantages, rows"):
        register_scheme("by_rows", needs={"rows", "entropy", "advantages"}, by_region=True)

"""Training goes on as it should where a measurement is broken, a row has few weighted tokens, or a step several parts.

tests/faults/test_training_start.py has what is refused before a run or at its resume.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from memory_queue import MemoryQueue, make_trainer, rows_of, run_step
from tiers import examples
from typer.testing import CliRunner
from verl.workers.config import ActorConfig
from verls_config import composed

from rest_verl.cli import app
from rest_verl.config.rest import RestConfig, load
from rest_verl.config.weights import CurriculumConfig
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.weighting.policy_loss import compute_policy_loss_rest
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

OTHER, THINK, RESPONSE, FORMAT, ARGS, NAME = Region
NOT_FINITE = [math.nan, math.inf, -math.inf]
REGIONS = torch.tensor([[FORMAT, THINK, THINK, NAME, ARGS, OTHER], [FORMAT, THINK, RESPONSE, OTHER, OTHER, OTHER]])
REGIONS = REGIONS.to(torch.int8)
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
ENTROPY = torch.tensor([[0.1, 2.0, 1.0, 0.2, 1.0, 0.5], [0.3, 1.5, 1.0, 0.5, 0.0, 0.0]])
MEASURING = ["entropy", "token"]
IN_ADVANTAGE = ["rest.apply_in=advantage", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]


def weighting(**settings):
    return TokenWeighting(RestConfig(**settings), total_steps=100)


def batch(step, entropy=ENTROPY, mask=MASK, **fields):
    return StepBatch(step, TaggedBatch(REGIONS, mask), entropy, **fields)


# What is not finite


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("preset", ["entropy", "entropy_adaptive", "token_low"])
def test_one_broken_entropy_changes_no_other_step(tokenizer, monkeypatch, preset, value):
    """Six steps of the trainer, and again with one entropy of the third that is not finite: the metric counts it, and
    the weights of all other steps are as without it, but for one measurement less in an average."""
    weights, metrics = {}, {}
    for broken in (False, True):
        queue, trainer = MemoryQueue(monkeypatch), make_trainer(tokenizer, f"+rest={preset}")
        for step in range(1, 7):
            rows = rows_of(tokenizer)
            if broken and step == 3:
                rows["entropy"][0][4] = value
            metrics[broken, step] = run_step(queue, trainer, rows, step)
            weights[broken, step] = torch.cat([row["rollout_is_weights"] for row in queue.rows.values()])
    assert [metrics[True, step]["rest/not_finite/entropy"] for step in range(1, 7)] == [0, 0, 1, 0, 0, 0]
    for step in (1, 2, 4, 5, 6):
        error = 0.0 if step < 3 else 1e-6 if preset == "token_low" else 0.05
        torch.testing.assert_close(weights[True, step], weights[False, step], rtol=0, atol=error)
    assert all(math.isfinite(number) for number in metrics[True, 6].values())


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("scheme", MEASURING)
def test_what_is_masked_may_be_anything(scheme, value):
    broken = ENTROPY.masked_fill(MASK == 0, value)
    assert torch.equal(weighting(scheme=scheme)(batch(1, broken)), weighting(scheme=scheme)(batch(1)))
    squares = torch.full_like(ENTROPY, 0.5).masked_fill(MASK == 0, value)
    expected = weighting(scheme=scheme)(batch(1, sum_pi_squared=torch.full_like(ENTROPY, 0.5)))
    assert torch.equal(weighting(scheme=scheme)(batch(1, sum_pi_squared=squares)), expected)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("scheme", MEASURING)
def test_a_region_without_a_measurement_is_a_usual_one(scheme, value):
    """Not one without variance, which would have the greatest weight of all."""
    broken = ENTROPY.masked_fill(REGIONS == THINK, value)
    one = weighting(scheme=scheme, curriculum=CurriculumConfig(high=0.0))
    seen = batch(1, broken)
    weights = one(seen)
    assert weights[0, 0] > weights[0, 1] > 0
    assert "THINK" not in one.state()["entropy"]
    others = [float(seen.variance[0, place]) for place in (0, 3, 4, 5)]
    assert min(others) < float(seen.variance[0, 1]) < max(others)


@pytest.mark.parametrize("scheme", MEASURING)
def test_where_nothing_is_measured_all_tokens_are_alike(scheme):
    weights = weighting(scheme=scheme, curriculum=CurriculumConfig(high=0.0))(batch(1, ENTROPY * math.nan))
    torch.testing.assert_close(weights, MASK.float())


def test_a_broken_sum_of_squares_falls_back_on_the_entropy():
    squares = torch.full_like(ENTROPY, 0.9)
    squares[0, 1] = math.nan
    seen = batch(1, sum_pi_squared=squares)
    weighting(scheme="token")(seen)
    assert float(seen.variance[0, 1]) == pytest.approx(1 - math.exp(-2.0))
    assert float(seen.variance[0, 0]) == pytest.approx(0.1)


@given(data=st.data(), scheme=st.sampled_from(["paper", *MEASURING]), kind=st.sampled_from(["linear", "adaptive"]))
@examples(200)
def test_no_measurement_spoils_a_weight_or_an_average(data, scheme, kind):
    """Any numbers that a float can be, in any place, over several steps."""
    one = weighting(scheme=scheme, curriculum=CurriculumConfig(kind=kind))
    numbers = st.one_of(st.floats(0, 12, width=32), st.sampled_from(NOT_FINITE))
    for step in range(1, 4):
        found = [data.draw(st.lists(numbers, min_size=12, max_size=12)) for _ in range(2)]
        entropy, squares = (torch.tensor(values).reshape(2, 6) for values in found)
        weights = one(batch(step, entropy, sum_pi_squared=data.draw(st.sampled_from([None, squares]))))
        assert weights.isfinite().all() and (weights >= 0).all()
        assert all(math.isfinite(number) for number in one.metrics(step).values())
    again = weighting(scheme=scheme, curriculum=CurriculumConfig(kind=kind))
    again.restore(one.state())


@pytest.mark.parametrize("alpha", [1e4, -1e4])
def test_a_weight_that_is_not_finite_is_found_before_clamping(alpha):
    """(V + eps)^-alpha leaves the range of a float: clamping made 0 of NaN, and a run under GRPO of it."""
    with pytest.raises(ValueError, match=r"rest\.scheme=token gave a weight that is negative or not finite at step 1"):
        weighting(scheme="token", alpha=alpha, curriculum=CurriculumConfig(high=0.0))(batch(1, ENTROPY * 20))


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
@pytest.mark.parametrize(
    ("field", "metric", "count"),
    [("old_log_probs", "old_log_prob", 1), ("rm_scores", "advantage", None), ("entropy", "entropy", 1)],
)
def test_what_is_not_finite_is_counted_by_quantity(tokenizer, monkeypatch, overrides, field, metric, count):
    """A reward that is not finite spoils the advantages of its whole group."""
    rows = rows_of(tokenizer)
    rows[field][0][3] = math.nan
    metrics = run_step(MemoryQueue(monkeypatch), make_trainer(tokenizer, "+rest=entropy", *overrides), rows, 1)
    expected = sum(len(row) for row in rows["responses"]) if count is None else count
    assert metrics[f"rest/not_finite/{metric}"] == expected
    assert all(math.isfinite(value) for name, value in metrics.items() if name.startswith("rest/"))


def test_a_reward_component_that_is_not_finite_is_left_out(tokenizer, monkeypatch):
    infos = [{"reward_extra_info": {"acc": 1.0, "ratio": value}} for value in (math.nan, 0.5)]
    trainer = make_trainer(tokenizer, "+rest=paper")
    metrics = run_step(MemoryQueue(monkeypatch), trainer, rows_of(tokenizer), 1, extra_fields=infos)
    assert (metrics["rest/reward/ratio"], metrics["rest/not_finite/reward"]) == (0.5, 1.0)


def test_masked_tokens_do_not_enter_the_metrics_of_the_loss():
    ones, mask = torch.ones(1, 3), torch.tensor([[True, True, False]])
    actor = ActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    old = torch.tensor([[-1.0, -1.0, math.nan]])
    _, metrics = compute_policy_loss_rest(old, -0.5 * ones, ones, mask, "token-mean", actor, rollout_is_weights=ones)
    assert metrics["actor/rest/ppo_kl"] == -0.5 and metrics["actor/rest/pg_clipfrac"] == 1.0


@pytest.mark.parametrize("value", [*NOT_FINITE, -1.0, "0.5", None, True])
@pytest.mark.parametrize("name", ["entropy", "variance", "structure", "structure_first"])
def test_averages_that_are_no_numbers_are_not_restored(name, value):
    one = weighting(scheme="entropy")
    one(batch(1))
    state = one.state()
    if value is None and name.startswith("structure"):
        return  # nothing was measured yet
    spoilt = state | {name: state[name] | {"THINK": value} if isinstance(state[name], dict) else value}
    other = weighting(scheme="entropy")
    with pytest.raises(ValueError, match=rf"the average {name}.* is .*: expected a finite number of at least 0"):
        other.restore(spoilt)
    assert other.state()["entropy"] == {}


# Bounds of the weights


def settings_of(*overrides):
    """The settings of a run."""
    return load(composed(*overrides))


@pytest.mark.parametrize("normalisation", ["row", "positive", "none"])
@pytest.mark.parametrize("preset", ["entropy", "entropy_adaptive", "token_low", "token_high", "static", "no_think"])
def test_the_end_of_sequence_is_trained_on(preset, normalisation):
    """A policy whose stop token has weight 0 never learns to stop."""
    rest = settings_of(f"+rest={preset}", f"rest.normalisation={normalisation}")
    weights = TokenWeighting(rest, 100)(batch(1))
    assert weights[0, 5] >= 0.05 and weights[1, 3] >= 0.05
    if preset == "no_think":
        assert weights[0, 1] == 0


@pytest.mark.parametrize("preset", ["paper", "static", "no_think"])
def test_the_preview_says_where_nobody_learns_to_stop(preset):
    done = CliRunner().invoke(app, ["preview", "--no-plot", "--", f"+rest={preset}"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert ("the policy does not learn to stop; rest.floor=0.1" in said) == (preset == "paper")


def test_the_paper_gives_the_end_of_sequence_no_weight():
    rest = settings_of("+rest=paper")
    assert rest.floor == 0
    assert float(TokenWeighting(rest, 100)(batch(1))[0, 5]) == 0


@pytest.mark.parametrize("normalisation", ["row", "positive", "none"])
@pytest.mark.parametrize("scheme", ["paper", *MEASURING])
def test_floor_and_cap_hold_after_normalising(scheme, normalisation):
    weights = weighting(scheme=scheme, normalisation=normalisation, floor=0.25, cap=1.5)(batch(1))
    trained = weights[MASK == 1]
    assert float(trained.min()) >= 0.25 and float(trained.max()) <= 1.5
    assert (weights[MASK == 0] == 0).all()


def test_an_answer_without_reasoning_is_bounded_by_default():
    """Its two markers carried the weight of all 1002 tokens: 501 each."""
    regions = torch.tensor([[FORMAT, *[RESPONSE] * 1000, FORMAT]]).to(torch.int8)
    answer = StepBatch(1, TaggedBatch(regions, torch.ones_like(regions)))
    assert float(weighting()(answer).max()) == 8.0
    assert float(weighting(cap=None)(answer).max()) == pytest.approx(501.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"floor": -0.1}, "rest.floor=-0.1"),
        ({"floor": 1.5}, "rest.floor=1.5"),
        ({"floor": math.nan}, "rest.floor=nan"),
        ({"cap": 0.5}, "rest.cap=0.5"),
        ({"cap": math.inf}, "rest.cap=inf"),
    ],
)
def test_a_floor_or_a_cap_out_of_range_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        load({"rest": settings})


def test_the_greatest_weight_is_logged(tokenizer, monkeypatch):
    queue = MemoryQueue(monkeypatch)
    metrics = run_step(queue, make_trainer(tokenizer, "+rest=paper"), rows_of(tokenizer), 1)
    written = torch.cat([row["rollout_is_weights"] for row in queue.rows.values()])
    assert metrics["rest/weight_max"] == pytest.approx(float(written.max()))


# Each trajectory and each step once


def test_a_trajectory_of_many_turns_counts_once(tokenizer, monkeypatch):
    """Three samples of a wrong trajectory and one of a right one: half of the trajectories are right."""
    right, wrong = ({"reward_extra_info": {"acc": acc, "score": acc}} for acc in (1.0, 0.0))
    texts = ["<think> a </think>"] * 4
    keys = ["prompt_0_0", "prompt_0_1", "prompt_0_2", "prompt_1_0"]
    rows = rows_of(tokenizer, texts)
    trainer = make_trainer(tokenizer, "+rest=paper")
    metrics = run_step(MemoryQueue(monkeypatch), trainer, rows, 1, keys, [wrong, wrong, wrong, right])
    assert metrics["rest/reward/acc"] == 0.5


def test_a_padding_row_does_not_count(tokenizer, monkeypatch):
    infos = [{"reward_extra_info": {"acc": acc}} for acc in (1.0, 0.0)]
    tags = [{}, {"is_padding": True}]
    trainer = make_trainer(tokenizer, "+rest=paper")
    metrics = run_step(MemoryQueue(monkeypatch), trainer, rows_of(tokenizer), 1, extra_fields=infos, tags=tags)
    assert metrics["rest/reward/acc"] == 1.0


def test_a_rejected_trajectory_counts_in_the_reward(tokenizer, monkeypatch):
    """Rollout correction clears the mask of a row whose log-probs differ too much; its reward was earned all the
    same."""
    infos = [{"reward_extra_info": {"acc": acc}} for acc in (1.0, 0.0)]
    rows = rows_of(tokenizer)
    rows["rollout_log_probs"][1] -= 5.0
    correction = "algorithm.rollout_correction.rollout_rs"
    rejecting = [f"{correction}=seq_mean_k1", f"{correction}_threshold=0.5_2.0"]
    queue, trainer = MemoryQueue(monkeypatch), make_trainer(tokenizer, "+rest=paper", *rejecting)
    metrics = run_step(queue, trainer, rows, 1, extra_fields=infos)
    assert not queue.rows["prompt_1_0"]["response_mask"].any()
    assert metrics["rest/reward/acc"] == 0.5


@pytest.mark.parametrize("kind", ["linear", "adaptive"])
def test_several_updates_of_a_step_age_an_average_once(kind):
    """In separate_async a step has several parts: together they count as one batch of all their tokens."""
    settings = {"scheme": "entropy", "curriculum": CurriculumConfig(kind=kind)}
    parts, whole = weighting(**settings), weighting(**settings)
    both = TaggedBatch(torch.cat([REGIONS, REGIONS]), torch.cat([MASK, MASK]))
    for step, (first, second) in enumerate([(1.0, 0.5), (2.0, 0.1), (0.2, 0.4)], 1):
        for factor in (first, second):
            parts(batch(step, ENTROPY * factor))
        whole(StepBatch(step, both, torch.cat([ENTROPY * first, ENTROPY * second])))
        found, expected = parts.state(), whole.state()
        for name in ("entropy", "variance"):
            assert found[name] == pytest.approx(expected[name])
        assert found["structure"] == pytest.approx(expected["structure"])
        assert found["structure_first"] == pytest.approx(expected["structure_first"])
        assert parts.lam(step) == pytest.approx(whole.lam(step))

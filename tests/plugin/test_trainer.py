"""What ResT writes into a step of verl's trainer, on a queue in memory (tests/e2e/test_seam_on_cpu.py: verl's own)."""

from contextlib import nullcontext

import pytest
import torch
from memory_queue import KEYS, TEXTS, MemoryQueue, make_trainer, rows_of, run_step
from verl.trainer.ppo.v1 import PPOTrainer

from rest_verl.core.regions import Region, RegionTagger, TaggedBatch
from rest_verl.core.runs import Runs
from rest_verl.core.states import StateTagger
from rest_verl.formats import get_format
from rest_verl.plugin.batch_fields import QueueFields
from rest_verl.records.schema import read_step
from rest_verl.weighting.schemes import Weighed, register_scheme
from rest_verl.weighting.step_batch import StepBatch
from rest_verl.weighting.token_weighting import TokenWeighting

STEP = 7
# GRPO of the scores 1 and 0: (1 - 1/2) / sqrt(1/2) and its negative
ADVANTAGES = [0.7071, -0.7071]
IN_ADVANTAGE = ["rest.apply_in=advantage", "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"]


@pytest.fixture
def make(tokenizer):
    """Function from overrides to a trainer at step 7."""

    def trainer(*overrides):
        found = make_trainer(tokenizer, *overrides)
        found.global_steps = STEP
        return found

    return trainer


@pytest.fixture
def step(make, tokenizer, monkeypatch):
    """Function from overrides to (trainer, what the queue holds after a step, its metrics)."""

    def run(*overrides, events=("", ""), measured_in=torch.float32, parts=({}, {})):
        queue, trainer = MemoryQueue(monkeypatch), make(*overrides)
        components = [
            {"acc": 1.0} | ({"rest_events": one} if one else {}) | part
            for one, part in zip(events, parts, strict=True)
        ]
        fields = [{"reward_extra_info": one} for one in components]
        rows = rows_of(tokenizer)
        for name in ("entropy", "old_log_probs"):
            rows[name] = [values.to(measured_in) for values in rows[name]]
        metrics = run_step(queue, trainer, rows, STEP, extra_fields=fields)
        trainer._shutdown_dump_executor()
        return trainer, queue.rows, metrics

    return run


@pytest.fixture
def weights(tokenizer):
    """Function from settings to the weights of each row, worked out next to the trainer."""

    def worked_out(rest):
        ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        tagged = TaggedBatch(RegionTagger(tokenizer, get_format(rest.format))(padded, mask), mask)
        found = TokenWeighting(rest, total_steps=100)(StepBatch(STEP, tagged))
        return [row[: len(own)] for row, own in zip(found, ids, strict=True)]

    return worked_out


def test_weights_in_the_loss_travel_next_to_the_advantages(step, weights):
    trainer, rows, _ = step("+rest=paper")
    for key, advantage, weight in zip(KEYS, ADVANTAGES, weights(trainer._rest), strict=True):
        torch.testing.assert_close(rows[key]["rollout_is_weights"], weight)
        assert rows[key]["advantages"].tolist() == pytest.approx([advantage] * len(weight), abs=1e-4)


def test_weights_in_the_advantage_are_written_back(step, weights):
    trainer, rows, _ = step("+rest=paper", *IN_ADVANTAGE)
    for key, advantage, weight in zip(KEYS, ADVANTAGES, weights(trainer._rest), strict=True):
        torch.testing.assert_close(rows[key]["advantages"], advantage * weight, atol=1e-4, rtol=0)
        assert "rollout_is_weights" not in rows[key]


def test_components_reach_the_regions_of_the_credit_matrix(step, tokenizer):
    """Correctness is 1 and 0, format 0 and 1: they cancel where both reach, and correctness alone reaches names."""
    trainer, rows, _ = step(
        "+rest=routed",
        "rest.format=rlla",
        parts=({"correctness": 1.0, "format": 0.0}, {"correctness": 0.0, "format": 1.0}),
    )
    ids = torch.tensor(tokenizer(TEXTS[0])["input_ids"])[None]
    regions = trainer._tagger(ids, torch.ones_like(ids))[0]
    advantages = rows[KEYS[0]]["advantages"]
    in_call = (regions == Region.NAME) | (regions == Region.ARGS)
    assert in_call.any() and (advantages[in_call] > 0).all() and advantages[in_call].unique().numel() == 1
    # the length of the responses differs, so each component's mean over tokens is not 0, but the sum is
    torch.testing.assert_close(advantages[~in_call], torch.zeros(int((~in_call).sum())), atol=1e-4, rtol=0)


def test_a_component_that_a_row_lacks_ends_the_step(step):
    with pytest.raises(ValueError, match=r"gdpo_reward_keys names 'correctness', but .* has acc: name components"):
        step("+rest=routed")


# The first trajectory earns 0.75 of its 1 at token 4 and loses a part again at token 9; the second earned nothing.
EVENTS = ("[[4, 0.75], [9, -0.25]]", "[[2, 0.0]]")
# Returns 1, 0.25 and 0.5 against those of the second, 0, in units of their largest deviation, that of the scores.
BY_TURN = [one / 0.5**0.5 for one in (1.0, 0.25, 0.5)]


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
def test_credit_by_turn_replaces_the_base_estimators_advantages(step, weights, overrides):
    trainer, rows, metrics = step("+rest=paper", "rest.credit=turn", *overrides, events=EVENTS)
    weight = weights(trainer._rest)[0]
    tokens = torch.arange(len(weight))
    expected = torch.tensor(BY_TURN)[(tokens > 4).int() + (tokens > 9).int()]
    if overrides:
        expected = expected * weight
    else:
        torch.testing.assert_close(rows[KEYS[0]]["rollout_is_weights"], weight)
    torch.testing.assert_close(rows[KEYS[0]]["advantages"], expected, atol=1e-4, rtol=0)
    assert metrics["rest/credit/events"] == 2.5
    assert metrics["rest/credit/decided"] == pytest.approx(0.25)
    assert metrics["rest/credit/outcome"] == pytest.approx(0.25)


def test_credit_by_span_reaches_back_to_reasoning_in_full(step):
    """With lambda 0 a token has its event's own part, and the tokens of reasoning all that comes after them."""
    events = ("[[1, 0.0, true], [4, 0.75], [9, -0.25]]", "[[1, 0.0, true], [2, 0.0]]")
    _, rows, _ = step("+rest=paper", "rest.credit=span", "rest.credit_lambda=0.0", events=events)
    advantages = rows[KEYS[0]]["advantages"]
    # delta = 0, 0.75, -0.25 and the outcome 0.5 against 0; in units of the deviation of the scores
    expected = [(one + 0.5) / 0.5**0.5 for one in (0.5, 0.75, -0.25, 0.0)]
    tokens = torch.arange(len(advantages))
    index = (tokens > 1).int() + (tokens > 4).int() + (tokens > 9).int()
    torch.testing.assert_close(advantages, torch.tensor(expected)[index], atol=1e-4, rtol=0)


def test_credit_by_trajectory_writes_no_advantages_of_its_own(step):
    _, rows, metrics = step("+rest=paper", events=EVENTS)
    assert rows[KEYS[0]]["advantages"].tolist() == pytest.approx(
        [ADVANTAGES[0]] * len(rows[KEYS[0]]["advantages"]), abs=1e-4
    )
    assert not any(name.startswith("rest/credit") for name in metrics)


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
def test_records_hold_the_advantage_without_its_weight(step, tmp_path, overrides):
    step("+rest=paper", f"rest.dump_dir={tmp_path}", *overrides)
    table = read_step(tmp_path / f"step_{STEP:06d}.parquet").table.to_pylist()
    assert [row["session"] for row in table] == [0, 1]
    for row, advantage in zip(table, ADVANTAGES, strict=True):
        assert row["advantage"] == pytest.approx([advantage] * len(row["ids"]), abs=1e-4)
        assert max(row["weight"]) > 1


@pytest.mark.parametrize("overrides", [[], IN_ADVANTAGE], ids=["loss", "advantage"])
def test_records_hold_the_events_and_the_advantage_by_them(step, tmp_path, overrides):
    """The end decides the rest of the score: 1 - 0.75 + 0.25 of the first trajectory, nothing of the second."""
    step("+rest=paper", "rest.credit=turn", f"rest.dump_dir={tmp_path}", *overrides, events=EVENTS)
    first, second = read_step(tmp_path / f"step_{STEP:06d}.parquet").table.to_pylist()
    last = len(first["ids"]) - 1
    assert [tuple(event.values()) for event in first["events"]] == [(4, 0.75), (9, -0.25), (last, 0.5)]
    assert [event["amount"] for event in second["events"]] == [0.0, 0.0]
    expected = [BY_TURN[(token > 4) + (token > 9)] for token in range(last + 1)]
    assert first["advantage"] == pytest.approx(expected, abs=1e-4)


def test_without_credit_by_events_records_have_none(step, tmp_path):
    step("+rest=paper", f"rest.dump_dir={tmp_path}", events=EVENTS)
    assert read_step(tmp_path / f"step_{STEP:06d}.parquet").table["events"].null_count == 2


@pytest.mark.parametrize(
    ("scheme", "fields"),
    [("stare", {"entropy", "sum_pi_squared", "old_log_probs", "advantages"}), ("turn_discounted", None)],
)
def test_the_trainer_reads_what_the_scheme_declares(step, monkeypatch, scheme, fields):
    """And no other field: each is megabytes."""
    asked, read = [], QueueFields.read
    monkeypatch.setattr(QueueFields, "read", lambda self, names: asked.append(names) or read(self, names))
    step(f"+rest={scheme}")
    weighing = asked[2:-1]  # between the tokens at first, and the metrics at last
    assert [set(names) for names in weighing] == ([fields] if fields else [])


def test_credit_of_a_scheme_is_added_to_the_weighted_advantages(step, own_names, tmp_path):
    """Weights of 2, which normalisation makes 1, and a credit of the row's score less 0.25."""

    def weigh(batch, settings):
        scores = torch.tensor([row.score for row in batch.rows])[:, None]
        return Weighed(torch.full(batch.regions.shape, 2.0), (scores - 0.25).expand(batch.regions.shape))

    register_scheme("generous", needs={"rows"}, gives_credit=True)(weigh)
    overrides = ["rest.scheme=generous", "rest.normalisation=batch", f"rest.dump_dir={tmp_path}"]
    _, rows, metrics = step("+rest=paper", *IN_ADVANTAGE, *overrides)
    for key, advantage, credit in zip(KEYS, ADVANTAGES, [0.75, -0.25], strict=True):
        assert rows[key]["advantages"].tolist() == pytest.approx(
            [advantage + credit] * len(rows[key]["advantages"]), abs=1e-4
        )
    assert 0.25 < metrics["rest/token_credit"] < 0.75
    recorded = read_step(tmp_path / f"step_{STEP:06d}.parquet").table.to_pylist()
    assert recorded[0]["advantage"][0] == pytest.approx(ADVANTAGES[0], abs=1e-4)


def test_records_hold_what_an_actor_measures_in_bf16(step, tmp_path):
    """numpy has no bf16: what the queue holds is recorded in float32."""
    _, held, _ = step("+rest=entropy", f"rest.dump_dir={tmp_path}", measured_in=torch.bfloat16)
    for row in read_step(tmp_path / f"step_{STEP:06d}.parquet").table.to_pylist():
        fields = held[KEYS[row["session"]]]
        assert row["entropy"] == fields["entropy"].float().tolist()
        assert row["old_log_prob"] == fields["old_log_probs"].float().tolist()


def test_the_metrics_of_a_step_are_there_at_its_end(step):
    _, _, metrics = step("+rest=paper")
    assert metrics["rest/tokens/name"] > 0 and metrics["rest/reward/acc"] == 1.0
    assert metrics["rest/schedule/args"] == pytest.approx(0.6 + 0.002 * STEP)


def test_weights_travel_with_verls_own_advantages(step, monkeypatch):
    """One request writes both; nothing that verl has read or written is read again."""
    written, read = [], []
    put, fetch = MemoryQueue.kv_batch_put, QueueFields._fetch

    def note_put(self, *args, **named):
        written.append(set(named["fields"].keys()) if named else "the batch")
        return put(self, *args, **named)

    def note_fetch(self, keys, names):
        read.extend(names)
        return fetch(self, keys, names)

    monkeypatch.setattr(MemoryQueue, "kv_batch_put", note_put)
    monkeypatch.setattr(QueueFields, "_fetch", note_fetch)
    step("+rest=paper")
    assert len(written) == 2 and {"advantages", "rollout_is_weights"} <= set(written[1])
    assert not {"advantages", "old_log_probs"} & set(read)


@pytest.mark.parametrize("overrides", [["+rest=entropy"], ["+rest=paper", *IN_ADVANTAGE]], ids=str)
def test_a_trainer_that_hears_nothing_reads_and_writes_itself(step, monkeypatch, overrides):
    _, heard, metrics = step(*overrides)
    heard = {key: dict(row) for key, row in heard.items()}
    monkeypatch.setattr(QueueFields, "overheard", lambda self, added=None: nullcontext())
    _, rows, others = step(*overrides)
    for key, row in rows.items():
        for name in {"advantages", "rollout_is_weights"} & set(row):
            assert torch.equal(row[name], heard[key][name])
    assert others == pytest.approx(metrics)


def test_regions_come_with_the_reward_where_the_manager_found_them(step, tokenizer, monkeypatch):
    _, tagged, metrics = step("+rest=entropy")
    tagged = {key: dict(row) for key, row in tagged.items()}
    texts = []
    for text in TEXTS:
        ids = torch.tensor(tokenizer(text)["input_ids"])
        tagger = StateTagger(tokenizer, get_format("rlla"))
        made = torch.ones(len(ids), dtype=torch.bool), torch.tensor([len(ids)])
        texts += Runs.of(tagger.tag(ids, *made), *made).written()
    monkeypatch.setattr(StateTagger, "tag", None)
    _, rows, others = step("+rest=entropy", parts=[{"rest_runs": text} for text in texts])
    for key, row in rows.items():
        assert torch.equal(row["rollout_is_weights"], tagged[key]["rollout_is_weights"])
    assert others == pytest.approx(metrics)


def test_regions_that_do_not_fit_the_responses_are_found_again(step):
    """As where something between reward and trainer has cut them: nothing but tokens of NAME would be left."""
    _, tagged, metrics = step("+rest=entropy")
    tagged = {key: dict(row) for key, row in tagged.items()}
    _, rows, others = step("+rest=entropy", parts=[{"rest_runs": "0d00000003"}] * 2)
    for key, row in rows.items():
        assert torch.equal(row["rollout_is_weights"], tagged[key]["rollout_is_weights"])
    assert others == pytest.approx(metrics)


def test_the_batches_of_one_step_age_the_averages_once(make, tokenizer, monkeypatch):
    """As with separate_async, which trains on several batches between two updates of the rollouts."""
    queue, states = MemoryQueue(monkeypatch), []
    for batches in ([KEYS], [KEYS[:1], KEYS[1:]]):
        trainer, rows = make("+rest=entropy"), rows_of(tokenizer)
        run_step(queue, trainer, rows, STEP - 1)
        for keys in batches:
            at = [KEYS.index(key) for key in keys]
            run_step(queue, trainer, {name: [row[i] for i in at] for name, row in rows.items()}, STEP, keys)
        states.append(trainer._weighting.state())
    for name in ("entropy", "variance"):
        assert states[0][name] == pytest.approx(states[1][name])
    assert states[0]["structure"] == pytest.approx(states[1]["structure"])


def test_a_resumed_trainer_has_the_signal_that_was_measured(step, make, tmp_path, monkeypatch):
    monkeypatch.setattr(PPOTrainer, "_save_checkpoint", lambda self: None)
    monkeypatch.setattr(PPOTrainer, "_load_checkpoint", lambda self: None)
    wiener = ["rest.wiener.min_trajectories=2", "rest.wiener.min_squares=0"]
    overrides = ["+rest=wiener", *wiener, f"trainer.default_local_dir={tmp_path}"]
    first, _, _ = step(*overrides)
    first._save_checkpoint()
    second = make(*overrides)
    second._load_checkpoint()
    assert second._weighting.state() == first._weighting.state()
    assert {"THINK", "FORMAT"} <= set(first._weighting.state()["signal"])


def test_a_resumed_trainer_continues_with_what_was_measured(step, make, tmp_path, monkeypatch):
    monkeypatch.setattr(PPOTrainer, "_save_checkpoint", lambda self: None)
    monkeypatch.setattr(PPOTrainer, "_load_checkpoint", lambda self: None)
    overrides = ["+rest=entropy", f"trainer.default_local_dir={tmp_path}"]
    first, _, _ = step(*overrides)
    first._save_checkpoint()
    second = make(*overrides)
    second._load_checkpoint()
    assert second._weighting.state() == first._weighting.state()
    assert set(first._weighting.state()["entropy"]) == {"THINK", "RESPONSE", "FORMAT", "ARGS", "NAME"}

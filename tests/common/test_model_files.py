"""Sizes and precision of a model by its headers."""

import json

import pytest
import torch
from safetensors.torch import save_file

from rest_verl.common.model_files import Weight, largest_weight, stored_dtype


def test_the_largest_weight_is_found_over_all_files(tmp_path):
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(2)}, tmp_path / "model-1.safetensors", {"format": "pt"})
    save_file({"c": torch.zeros(4, 4, dtype=torch.bfloat16)}, tmp_path / "model-2.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 100, "hidden_size": 100}))
    assert largest_weight(tmp_path) == Weight("c", 16)


def test_without_safetensors_the_embedding_counts(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 70, "hidden_size": 8}}))
    assert largest_weight(tmp_path) == Weight("embedding of 70 x 8", 560)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x09" + bytes(7) + b'{"a": {}}'])
def test_a_damaged_file_says_nothing(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert largest_weight(tmp_path) is None
    assert largest_weight(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float32"}, "float32"),
        ({"text_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({}, None),
        ([], None),
    ],
)
def test_the_dtype_is_that_of_the_config(tmp_path, config, expected):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert stored_dtype(tmp_path) == expected

"""What is read of a model without loading it: sizes and precision by its headers; a tokenizer from a folder or the
cache of the hub."""

import json

import pytest
import torch
from safetensors.torch import save_file

from rest_verl.common.model_files import Weight, largest_weight, stored_dtype
from rest_verl.common.tokenizers import load_tokenizer


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


@pytest.fixture
def cache(tokenizer, tmp_path, monkeypatch):
    """A cache of the hub with the model maker/tiny in it."""
    model = tmp_path / "models--maker--tiny"
    tokenizer.save_pretrained(model / "snapshots" / "abc")
    (model / "snapshots" / "abc" / "config.json").write_text('{"model_type": "qwen2"}')
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return model / "snapshots" / "abc"


def test_a_hub_id_is_found_in_the_cache(cache, tokenizer):
    for name in ("maker/tiny", str(cache)):
        assert load_tokenizer(name).get_vocab() == tokenizer.get_vocab()


def test_a_hub_id_that_is_not_in_the_cache_says_how_to_get_it(cache):
    with pytest.raises(ValueError, match=r"^maker/large: .* hf download maker/large --exclude"):
        load_tokenizer("maker/large")


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "a/b/c", "~/absent"])
def test_a_path_that_is_not_there_is_no_hub_id(name):
    with pytest.raises(ValueError, match="no such folder; give a model's folder, or its hub id"):
        load_tokenizer(name)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"no tokenizer can be read from {tmp_path}"):
        load_tokenizer(str(tmp_path))

"""A tokenizer is loaded from a folder or from the cache of the hub, and what is missing is said with its remedy."""

import pytest

from rest_verl.common.tokenizers import load_tokenizer


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

"""What is made of a GGUF file's fields and tensors: the exact tokenizer, and log-probabilities to compare with."""

import json

import gguf_tokenizer
import numpy as np
import pytest
import torch
from convert_gguf import check_tokenizer
from gguf_reference import reference_log_probs
from gguf_tokenizer import tokenizer_of
from hypothesis import given
from hypothesis import strategies as st
from tiers import examples
from tiny_model import CHAT_TEMPLATE, PAD, TAGS, TURN_END, TURN_START, train_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from rest_verl.core.tokens import TokenBytes

CORPUS = [
    '{"name": "get_time", "parameters": {"city": "Oslo", "hour": 12}}',
    "what is the time in Oslo, it's late",
] * 5


def fields_of(tokenizer):
    """The fields that a GGUF file of this tokenizer has: control tokens first, the tags added by a user."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = {PAD: 3, TURN_START: 3, TURN_END: 3} | dict.fromkeys(TAGS, 4)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [kinds.get(token, 1) for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in backend["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": tokens.index(TURN_END),
        "tokenizer.chat_template": "{{ messages }}",
    }


@pytest.fixture(scope="module")
def original():
    return train_tokenizer(CORPUS, 360)


@pytest.fixture(scope="module")
def made(original):
    return tokenizer_of(fields_of(original))


@pytest.fixture(scope="module")
def table(made):
    return TokenBytes.from_tokenizer(made, ends=True)


@examples(200)
@given(text=st.text() | st.lists(st.sampled_from([*TAGS, TURN_END, " the", "12", "é", "🙂", "\r\n"])).map("".join))
def test_every_text_comes_back_and_has_the_same_ids(original, made, table, text):
    ids = made.encode(text, add_special_tokens=False)
    assert ids == original.encode(text, add_special_tokens=False)
    assert made.decode(ids) == text
    assert table.decode(np.array(ids, dtype=np.int64)) == text.encode()


def test_the_end_of_sequence_is_the_files_own(made):
    assert made.eos_token == made.pad_token == TURN_END
    assert made.bos_token is None
    check_tokenizer(made)


def test_a_template_without_tools_gives_way_to_one_with(original, made):
    fields = fields_of(original)
    assert made.chat_template == CHAT_TEMPLATE
    assert tokenizer_of(fields | {"tokenizer.chat_template": "{{ tools }}"}).chat_template == "{{ tools }}"
    tokens = ["<end>" if token == TURN_END else token for token in fields["tokenizer.ggml.tokens"]]
    with pytest.raises(ValueError, match="chat template has no tools"):
        tokenizer_of(fields | {"tokenizer.ggml.tokens": tokens})


@pytest.mark.parametrize("wrong", [{"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "tekken"}])
def test_a_tokenizer_that_would_not_be_exact_is_refused(original, wrong):
    with pytest.raises(ValueError, match=f"cannot be converted exactly.*{'smollm'}.*Hugging Face folder"):
        tokenizer_of(fields_of(original) | wrong)


def test_a_tokenizer_that_changes_texts_is_refused(made, monkeypatch):
    monkeypatch.setattr(type(made), "decode", lambda self, ids: "something else")
    with pytest.raises(ValueError, match="comes back for"):
        check_tokenizer(made)


def test_digits_are_split_as_the_field_says():
    pieces = {
        name: [text for text, _ in split.pre_tokenize_str("a1234")] for name, split in gguf_tokenizer.SPLITS.items()
    }
    assert pieces == {
        "gpt-2": ["a", "1234"],
        "smollm": ["a", "1", "2", "3", "4"],
        "qwen2": ["a", "1", "2", "3", "4"],
        "llama-bpe": ["a", "123", "4"],
    }


# GGUF's names of a Llama's tensors, and transformers'.
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
HEADS, GROUPS, SIZE = 4, 2, 8


def interleaved(weight, heads):
    """Rows in GGUF's order: feature i of a head's first half stands next to feature i of its second half."""
    return weight.view(heads, 2, SIZE // 2, -1).transpose(1, 2).reshape(weight.shape)


@pytest.mark.parametrize("tied", [True, False])
def test_the_reference_is_the_model_that_transformers_has(tied):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=HEADS * SIZE,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        rms_norm_eps=1e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    model = LlamaForCausalLM(config).eval()
    state = model.state_dict()
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    if not tied:
        tensors["output.weight"] = state["lm_head.weight"]
    for layer in range(2):
        for name, there in NAMES.items():
            weight = state[f"model.layers.{layer}.{there}.weight"]
            heads = {"attn_q": HEADS, "attn_k": GROUPS}.get(name)
            tensors[f"blk.{layer}.{name}.weight"] = weight if heads is None else interleaved(weight, heads)
    fields = {
        "llama.block_count": 2,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": GROUPS,
        "llama.rope.dimension_count": SIZE,
        "llama.rope.freq_base": 500.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-4,
    }
    ids = [3, 14, 15, 9, 26, 5, 35]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found = reference_log_probs(tensors.__getitem__, fields, ids)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        tensors["blk.0.attn_q.weight"] = state["model.layers.0.self_attn.q_proj.weight"]
        wrong = reference_log_probs(tensors.__getitem__, fields, ids)
    assert (wrong - expected).abs().max() > 0.01  # the order of the rows matters

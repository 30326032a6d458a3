"""A tokenizer and a language model of at most about a million parameters, trained in minutes on a CPU.

No model hub is needed: the tokenizer is learnt from the given texts, and the model is trained from scratch to imitate
demonstrations. The result is an ordinary Hugging Face folder with Qwen2 weights for verl and vLLM.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from training_state import State
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

Message = dict[str, str]
Demonstration = tuple[Sequence[Message], str]

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>")
# The smallest head size for which vLLM's CPU attention has kernels.
HEAD_SIZE = 32
BATCHES_PER_BUCKET = 16
SAVE_EVERY = 50
CHAT_TEMPLATE = """\
{%- set system = messages[0].content if messages and messages[0].role == 'system' else '' %}
{%- if tools %}
{{- '<|im_start|>system\\n' + system + ('\\n\\n' if system else '') + 'Tools:\\n' }}
{%- for tool in tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif system %}
{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in (messages[1:] if system else messages) %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE tokenizer with single digits, ChatML turns and one token per format tag.

    The tags are added tokens but not special ones, as in Qwen's tokenizers: decoding with `skip_special_tokens=True`
    must keep them, because rewards are computed from such text. Decoding restores every text unchanged.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        # Single digits: a model this small sees too few examples of each longer number.
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tag_pattern = re.compile("|".join(map(re.escape, TAGS)))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(TAGS),
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in tag_pattern.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def new_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden: int = 128,
    layers: int = 2,
    intermediate: int | None = None,
    max_positions: int = 4096,
    seed: int = 0,
) -> Qwen2ForCausalLM:
    """Make a randomly initialised float32 Qwen2 with tied embeddings; `hidden` is a multiple of the head size, 32."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate or 3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // HEAD_SIZE,
        num_key_value_heads=hidden // HEAD_SIZE,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # The usual 0.02 suits wide models; at these widths larger weights halve the steps needed to learn copying.
        initializer_range=0.05,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config).float()


def encode(tokenizer: PreTrainedTokenizerFast, demonstration: Demonstration) -> tuple[list[int], list[int]]:
    """Token ids of the prompt with the generation prompt, and of the response with its end of turn."""
    messages, response = demonstration
    prompt = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    return prompt_ids, [*tokenizer.encode(response, add_special_tokens=False), tokenizer.eos_token_id]


def batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield index batches forever, in random order. Each batch holds texts of similar length, to save padding."""
    batch_size = min(batch_size, len(lengths))
    while True:
        order = rng.sample(range(len(lengths)), len(lengths))
        for start in range(0, len(order), batch_size * BATCHES_PER_BUCKET):
            bucket = sorted(order[start : start + batch_size * BATCHES_PER_BUCKET], key=lengths.__getitem__)
            starts = list(range(0, len(bucket), batch_size))
            rng.shuffle(starts)
            yield from (bucket[at : at + batch_size] for at in starts)


def imitation_loss(model: Qwen2ForCausalLM, pairs: Sequence[tuple[list[int], list[int]]], pad_id: int) -> Tensor:
    """Mean cross-entropy in nats per response token of (prompt ids, response ids) pairs, a scalar.

    Padding is on the right, where causal attention hides it from all real tokens, so no attention mask is needed.
    """
    width = max(len(prompt) + len(response) for prompt, response in pairs)
    ids = torch.full((len(pairs), width), pad_id)
    predicts_response = torch.zeros(len(pairs), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(pairs):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        predicts_response[row, len(prompt) - 1 : end - 1] = True
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    # Compute logits only for the response: with long prompts they would be most of the work.
    logits = model.lm_head(hidden[predicts_response])
    return torch.nn.functional.cross_entropy(logits, ids.roll(-1, dims=1)[predicts_response])


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread within: with more, a model of this size waits for them longer than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_model(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    demonstrations: Sequence[Demonstration],
    *,
    steps: int,
    seconds: float | None = None,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    warmup: int = 30,
    seed: int = 0,
    saved: Path | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Imitate the demonstrations in place and return the loss of each step, in nats per response token.

    The learning rate warms up, then falls linearly to zero at the end of `steps` or of `seconds`, whichever is first;
    without `seconds` the result depends only on the seed. `on_progress(step, steps, loss)` is called after each step.

    Every `SAVE_EVERY` steps the state goes to the file `saved`. If it is there, training continues from it and ends as
    if it had never stopped, if there are no `seconds`.
    """
    pairs = [encode(tokenizer, demonstration) for demonstration in demonstrations]
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    state = State(model, optimizer)
    if saved is not None and saved.exists():
        state.load(saved)
    done = len(state.losses)
    model.train()
    started = time.monotonic()
    with one_thread():
        for step, batch in islice(enumerate(batches(lengths, batch_size, random.Random(seed))), done, steps):
            spent = step / steps
            if seconds is not None:
                spent = max(spent, (time.monotonic() - started) / seconds)
            if spent >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min((step + 1) / warmup, 1 - spent)
            loss = imitation_loss(model, [pairs[index] for index in batch], tokenizer.pad_token_id)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state.losses.append(loss.item())
            if saved is not None and (step + 1) % SAVE_EVERY == 0:
                state.save(saved)
            if on_progress is not None:
                on_progress(step + 1, steps, state.losses[-1])
    model.eval()
    return state.losses


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, out_dir: str | Path) -> None:
    """Write weights, tokenizer and a generation config that stops at the end of a turn."""
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None
    )
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)

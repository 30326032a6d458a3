"""What the quickstart trains on and begins with: the task, its teacher, and a small model that imitates it."""

import json
import re
from collections import Counter

import pandas as pd
import pytest
import tiny_model
import torch
import toy_task
import transformers

LEGAL = re.compile(
    r"<think> [^<>]+ </think>\n(<tool_call>\n(?P<calls>[^<>]+)\n</tool_call>|<response> [^<>]+ </response>)"
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def task():
    return toy_task.make_task(seed=0, train_rows=2000, validation_rows=128)


def ground_truth(row) -> str:
    return row["reward_model"]["ground_truth"]


def calls_of(response: str) -> list[dict]:
    match = LEGAL.fullmatch(response)
    assert match is not None, response
    return [json.loads(line) for line in (match["calls"] or "").splitlines()]


def test_no_prompt_occurs_twice_within_or_across_splits(task):
    prompts = [row["prompt"][-1]["content"] for row in task.train + task.validation]
    assert len(prompts) == 2128
    assert len(set(prompts)) == len(prompts)


def test_ground_truths_and_demonstrations_are_in_the_legal_format(task):
    responses = [ground_truth(row) for row in task.train + task.validation] + [text for _, text in task.demonstrations]
    for response in responses:
        for call in calls_of(response):
            assert list(call) == ["name", "parameters"]
            assert 1 <= len(call["parameters"]) <= 3


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_kind_of_row_occurs_and_has_its_number_of_calls(task, split):
    wanted = {"answer": 0, "one_call": 1, "two_calls": 2}
    rows = getattr(task, split)
    for row in rows:
        assert len(calls_of(ground_truth(row))) == wanted[row["extra_info"]["kind"]]
    kinds = Counter(row["extra_info"]["kind"] for row in rows)
    assert min(kinds[kind] for kind in wanted) >= 0.08 * len(rows)


def test_arguments_are_copied_from_the_request(task):
    for row in task.train:
        words = row["prompt"][-1]["content"].split()
        for call in calls_of(ground_truth(row)):
            assert all(str(value) in words for value in call["parameters"].values())


def test_the_teacher_errs_in_somewhat_more_than_half_of_the_demonstrations(task):
    wrong = [text != ground_truth(row) for row, (_, text) in zip(task.train, task.demonstrations, strict=True)]
    assert 0.5 < sum(wrong) / len(wrong) < 0.6


def test_the_teacher_errs_in_calls_only(task):
    for row, (messages, text) in zip(task.train, task.demonstrations, strict=True):
        assert messages == row["prompt"]
        assert text.split(" </think>")[0] == ground_truth(row).split(" </think>")[0]


def test_every_mistake_makes_the_calls_wrong_and_is_sometimes_avoided(task):
    outcomes: dict[str, set[bool]] = {}
    for row, (_, text) in zip(task.train, task.demonstrations, strict=True):
        right = calls_of(ground_truth(row))
        group = right[0]["name"] if len(right) == 1 else row["extra_info"]["kind"]
        # Compared as JSON text, because 1 == True and "20" != 20 matter to a scorer.
        outcomes.setdefault(group, set()).add(json.dumps(calls_of(text)) == json.dumps(right))
    assert set(outcomes) == {tool.name for tool in toy_task.TOOLS} | {"answer", "two_calls"}
    assert all(seen == {True, False} for seen in outcomes.values())


def test_two_calls_lose_the_second_one(task):
    taught = [
        (calls_of(ground_truth(row)), calls_of(text))
        for row, (_, text) in zip(task.train, task.demonstrations, strict=True)
        if row["extra_info"]["kind"] == "two_calls"
    ]
    assert {len(calls) for _, calls in taught} == {1, 2}
    assert all(right[: len(calls)] == calls for right, calls in taught)


def test_the_same_seed_gives_the_same_task_and_another_seed_another():
    assert toy_task.make_task(3, 50, 10) == toy_task.make_task(3, 50, 10)
    assert toy_task.make_task(3, 50, 10) != toy_task.make_task(4, 50, 10)


def test_parquet_files_hold_the_rows_in_the_layout_that_verl_reads(task, tmp_path):
    train, validation = (pd.read_parquet(path) for path in toy_task.write_parquet(task, tmp_path / "data"))
    assert [len(train), len(validation)] == [2000, 128]
    assert list(train.columns) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    row = train.iloc[7]
    assert row["data_source"] == "toy_tools"
    assert row["ability"] == "tool_use"
    assert list(row["prompt"]) == task.train[7]["prompt"]
    assert row["reward_model"] == {"style": "rule", "ground_truth": ground_truth(task.train[7])}
    assert row["extra_info"] == {"split": "train", "index": 7, "kind": task.train[7]["extra_info"]["kind"]}


ANSWER = '<think> A city. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Rome"}}\n</tool_call>'
DEMONSTRATIONS = [
    ([{"role": "user", "content": f"tell me the time in {city}"}], ANSWER.replace("Rome", city))
    for city in ("Rome", "Oslo", "Lima", "Cairo", "Delhi", "Paris")
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_model.train_tokenizer([text for _, text in DEMONSTRATIONS], vocab_size=320)


@pytest.mark.parametrize(
    "text",
    [ANSWER, "  two  spaces,\n\n\ttabs\r\n and a tail ", "naïve 北京 🙂 it 's", "<think>x</think><response>1234"],
)
def test_text_comes_back_from_its_ids_unchanged(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_vocabulary_is_not_larger_than_asked_for(tokenizer):
    assert len(tokenizer) <= 320


@pytest.mark.parametrize("tag", tiny_model.TAGS)
def test_a_tag_is_one_token_wherever_it_stands_and_is_not_special(tokenizer, tag):
    (tag_id,) = tokenizer.encode(tag, add_special_tokens=False)
    assert tag_id not in tokenizer.all_special_ids
    assert tokenizer.encode(f"a{tag}\n", add_special_tokens=False).count(tag_id) == 1


def test_every_digit_is_a_token_of_its_own(tokenizer):
    assert len(tokenizer.encode("2048", add_special_tokens=False)) == 4


def test_end_of_turn_and_padding_are_special_and_distinct(tokenizer):
    ids = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<|im_end|>", "<|endoftext|>"]
    assert set(ids) <= set(tokenizer.all_special_ids)


def test_chat_template_renders_every_role_and_the_tools(tokenizer):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": ANSWER},
        {"role": "tool", "content": "12:00"},
    ]
    plain = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert plain == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nTime?<|im_end|>\n"
        f"<|im_start|>assistant\n{ANSWER}<|im_end|>\n<|im_start|>tool\n12:00<|im_end|>\n<|im_start|>assistant\n"
    )
    tools = [{"type": "function", "function": {"name": "get_time"}}]
    with_tools = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    assert with_tools.startswith("<|im_start|>system\nBe brief.\n\nTools:\n")
    assert '{"type": "function", "function": {"name": "get_time"}}\n<|im_end|>\n<|im_start|>user' in with_tools
    without_system = tokenizer.apply_chat_template(messages[1:], tools=tools, tokenize=False)
    assert without_system.startswith("<|im_start|>system\nTools:\n")


def test_a_demonstration_ends_with_the_end_of_turn(tokenizer):
    prompt_ids, response_ids = tiny_model.encode(tokenizer, DEMONSTRATIONS[0])
    assert tokenizer.decode(prompt_ids).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(response_ids) == ANSWER + "<|im_end|>"


def test_loss_counts_response_tokens_only_whatever_the_padding(tokenizer):
    model = tiny_model.new_model(tokenizer, hidden=64)
    pairs = [([5, 6, 7, 8], [9, 10]), ([11, 12], [13, 14, 15, 16, 17])]
    expected = 0.0
    for prompt, response in pairs:
        log_probs = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        expected -= sum(log_probs[len(prompt) - 1 + i, token].item() for i, token in enumerate(response))
    assert tiny_model.imitation_loss(model, pairs, pad_id=0).item() == pytest.approx(expected / 7, rel=1e-5)


def test_batches_cover_every_index_once_an_epoch():
    lengths = [3, 9, 4, 8, 5, 7, 6]
    stream = tiny_model.batches(lengths, 3, tiny_model.random.Random(0))
    epoch = [next(stream) for _ in range(3)]
    assert sorted(index for batch in epoch for index in batch) == list(range(7))


def test_training_lowers_the_loss_reports_every_step_and_repeats(tokenizer):
    reports: list[tuple[int, int, float]] = []

    def train() -> list[float]:
        model = tiny_model.new_model(tokenizer, hidden=64, seed=1)
        return tiny_model.train_model(
            model, tokenizer, DEMONSTRATIONS, steps=20, warmup=5, seed=1, on_progress=lambda *r: reports.append(r)
        )

    losses = train()
    assert losses[-1] < 0.5 * losses[0]
    assert reports == [(step + 1, 20, loss) for step, loss in enumerate(losses)]
    assert train() == losses


def test_a_time_limit_ends_training_early(tokenizer):
    model = tiny_model.new_model(tokenizer, hidden=64)
    losses = tiny_model.train_model(model, tokenizer, DEMONSTRATIONS, steps=1_000_000, seconds=0.3)
    assert 1 <= len(losses) < 1000


def test_making_a_model_leaves_the_global_random_state_alone(tokenizer):
    state = torch.get_rng_state()
    tiny_model.new_model(tokenizer, hidden=64)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_saved_folder_loads_with_transformers_alone(tokenizer, tmp_path):
    model = tiny_model.new_model(tokenizer, hidden=64)
    tiny_model.save(model, tokenizer, tmp_path)
    loaded_model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    loaded_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    messages = DEMONSTRATIONS[0][0]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert loaded_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == prompt
    ids = loaded_tokenizer.encode(ANSWER, add_special_tokens=False)
    assert ids == tokenizer.encode(ANSWER, add_special_tokens=False)
    assert loaded_tokenizer.decode(ids, skip_special_tokens=True) == ANSWER
    assert loaded_model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert loaded_model.dtype == torch.float32
    torch.testing.assert_close(loaded_model(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits)

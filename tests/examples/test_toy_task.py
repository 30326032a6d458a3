import json
import re
from collections import Counter

import pandas as pd
import pytest
import toy_task

LEGAL = re.compile(
    r"<think> [^<>]+ </think>\n(<tool_call>\n(?P<calls>[^<>]+)\n</tool_call>|<response> [^<>]+ </response>)"
)


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

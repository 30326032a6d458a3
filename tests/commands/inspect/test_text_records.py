"""Records of plain texts: the tokens, regions and weights that training would give them."""

import numpy as np
import pytest

from rest_verl.commands.inspect.sources import Message, TextRow
from rest_verl.commands.inspect.text_records import text_records, text_settings
from rest_verl.config.rest import RestConfig, preset_names
from rest_verl.records.schema import SCHEMA

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
PAPER = RestConfig(format="hermes", normalisation="none")


def row_of(*messages, prompt="", score=None):
    return TextRow(tuple(Message(*message) for message in messages), prompt, score, None)


def rows_at(rows, tokenizer, rest=PAPER, steps=(1,)):
    made = list(text_records(rows, tokenizer, rest, steps))
    assert all(records.table.schema.equals(SCHEMA) for records in made)
    return [records.table.to_pylist() for records in made]


def text_in(row, region):
    return b"".join(piece for piece, name in zip(row["bytes"], row["region"], strict=True) if name == region).decode()


def test_ids_are_the_tokenizers_and_bytes_give_the_text_back(tokenizer):
    ((row,),) = rows_at([row_of(("assistant", CALL + "Zürich"), prompt="東京?")], tokenizer)
    assert row["ids"] == tokenizer(CALL + "Zürich", add_special_tokens=False)["input_ids"]
    assert b"".join(row["bytes"]).decode() == CALL + "Zürich" and row["prompt"].decode() == "東京?"
    assert row["prompt_ids"] == tokenizer("東京?", add_special_tokens=False)["input_ids"]


def test_regions_and_weights_are_those_of_training(tokenizer):
    one, hundred = rows_at([row_of(("assistant", f"<think>So.</think>{CALL}"))], tokenizer, steps=(1, 100))
    assert "get_weather" in text_in(one[0], "name") and '{"city": "Paris"}' in text_in(one[0], "args")
    assert text_in(one[0], "think") == "So."
    for step, (row,) in ((1, one), (100, hundred)):
        assert row["step"] == step
        # the paper's constants: docs/algorithm.md
        expected = {"name": 1.2, "args": 0.6 + 0.002 * step, "think": 0.6 + 0.002 * step, "format": 1.0, "other": 0}
        wanted = [expected[region] for region in row["region"]]
        np.testing.assert_allclose(row["weight"], wanted, rtol=1e-6)


def test_what_others_say_is_neither_generated_nor_tagged_nor_weighted(tokenizer):
    row = row_of(("assistant", CALL), ("tool", CALL), ("user", "More."), ("assistant", "Fine."))
    ((made,),) = rows_at([row], tokenizer)
    first, second = made["turns"]
    said = range(first["end"], second["begin"])
    assert not any(made["generated"][place] or made["weight"][place] for place in said)
    assert {made["region"][place] for place in said} == {"other"}
    assert b"".join(made["bytes"][place] for place in said).decode() == f"{CALL}More."
    assert (first["user_turn"], second["user_turn"]) == (0, 1)
    assert made["trained"] == made["generated"]


def test_calls_are_read_and_get_the_messages_of_tools_as_results(tokenizer):
    unreadable = '<tool_call>\n{"name": "get_time", "arguments": {"a"}}\n</tool_call>'
    row = row_of(("assistant", f"{CALL}\n{unreadable}"), ("tool", "21\ud800"), ("assistant", "Fine."))
    ((made,),) = rows_at([row], tokenizer)
    assert made["turns"][0]["calls"] == [
        {"name": "get_weather", "arguments": '{"city": "Paris"}', "result": "21�", "error": None, "seconds": None},
        {"name": "get_time", "arguments": None, "result": None, "error": "unreadable", "seconds": None},
    ]


def test_what_only_a_policy_knows_is_null(tokenizer):
    ((made,),) = rows_at([row_of(("assistant", "Fine."))], tokenizer)
    assert all(made[name] is None for name in ("entropy", "advantage", "old_log_prob", "rollout_log_prob"))


def test_lines_with_the_same_prompt_are_a_group_and_one_without_is_its_own(tokenizer):
    rows = [row_of(("assistant", "a"), prompt=prompt, score=score) for prompt, score in (("p", 1.0), ("", 2.0))]
    rows += [row_of(("assistant", "b"), prompt="p", score=3.0), row_of(("assistant", "c"))]
    (made,) = rows_at(rows, tokenizer)
    assert [(row["uid"], row["session"]) for row in made] == [("0", 0), ("1", 0), ("0", 1), ("2", 0)]
    assert [row["group_scores"] for row in made] == [[1.0, 3.0], [2.0], [1.0, 3.0], []]


def test_empty_text_is_a_row_without_tokens(tokenizer):
    (made,) = rows_at([row_of(("assistant", ""))], tokenizer)
    assert made[0]["ids"] == [] and made[0]["turns"][0]["end"] == 0


def test_a_preset_gives_its_settings_with_the_texts_format_and_overrides():
    rest = text_settings("no_think", "hermes", ["rest.weights.name.start=2"])
    assert (rest.format, rest.weights.think.start, rest.weights.name.start) == ("hermes", 0.0, 2.0)
    assert {"paper", "static", "grpo"} <= set(preset_names())


@pytest.mark.parametrize(
    ("preset", "format", "overrides", "message"),
    [
        ("papr", "hermes", [], "--preset: unknown preset 'papr': did you mean 'paper'?"),
        ("grpo", "hermes", [], "--preset grpo: all its weights are 1"),
        ("entropy", "hermes", [], "rest.scheme=entropy needs the policy's entropy.*use --preset paper"),
        ("paper", "hermse", [], "rest.format: unknown wire format 'hermse': did you mean 'hermes'?"),
        ("paper", "hermes", ["rest.wieghts=1"], "--set: .*wieghts"),
        ("paper", "hermes", ["="], "--set: "),
        ("paper", "hermes", ["rest.clamp_min=-1"], "rest.clamp_min=-1"),
    ],
)
def test_settings_that_weigh_no_text_are_refused(preset, format, overrides, message):
    with pytest.raises(ValueError, match=message):
        text_settings(preset, format, overrides)

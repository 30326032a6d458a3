"""The tools of a row, from the document to whoever reads calls: reward, eval, data check, inspect (fault P1)."""

import asyncio
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checked_rows import row as checked_row
from checked_rows import run
from omegaconf import OmegaConf
from scripted_endpoint import SYSTEM, ask
from shared_data import SHARED
from verl import DataProto
from verl.tools.schemas import OpenAIFunctionToolSchema

from rest_verl.commands.inspect.sources import read_rows
from rest_verl.commands.inspect.text_records import text_records, text_settings
from rest_verl.data.apibank import apibank_rows
from rest_verl.data.listed_tools import listed_tools
from rest_verl.data.prompt import system_message
from rest_verl.data.rlla import read_rlla
from rest_verl.data.rows import make_row
from rest_verl.eval.conversation import open_conversation
from rest_verl.eval.questions import Question
from rest_verl.formats import get_format
from rest_verl.formats.tools import read_tools, tool_schemas, tools_of_row, tools_text
from rest_verl.reward.manager import RestToolRewardManager

ZIP = {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}
TOOL = {"name": "find", "description": "Find it.", "parameters": ZIP}
TEXT = "<tool_call>\n<function=find>\n<parameter=zip>\n94107\n</parameter>\n</function>\n</tool_call>"
TRUTH = '<think> t </think>\n<tool_call>\n{"name": "find", "parameters": {"zip": "94107"}}\n</tool_call>'


@pytest.mark.parametrize(
    "document",
    [
        TOOL,
        {"type": "function", "function": TOOL},
        OpenAIFunctionToolSchema.model_validate({"type": "function", "function": TOOL}),
        {"name": "find", "parameters": {**ZIP, "type": "dict"}},
        {"name": "find", "parameters": {**ZIP, "title": "a", "properties": {"zip": {"type": "string", "x": None}}}},
    ],
)
def test_a_tools_document_may_be_written_in_many_ways(document):
    assert tool_schemas([document]) == {"find": ZIP}
    assert read_tools(tools_text(tool_schemas([document]))) == {"find": ZIP}


def test_parameters_may_stand_without_an_object_around_them():
    """As in ToolRL's rows; even if one is called like a key of JSON schema."""
    bare = {"type": {"type": "str, optional"}, "properties": {"type": "int", "description": "how many"}}
    (schema,) = tool_schemas([{"name": "f", "parameters": bare}]).values()
    assert schema["properties"] == {"type": {"type": "str, optional"}, "properties": {"type": "int"}}
    assert tool_schemas([{"name": "f"}, {"name": "g", "parameters": {}}, {"name": "h", "parameters": None}]) == {
        name: {"type": "object", "properties": {}} for name in "fgh"
    }


def test_only_what_is_about_types_is_kept():
    parameters = {
        "type": "object",
        "properties": {
            "description": {"type": "string", "description": "a parameter of that name", "default": "x"},
            "a": {"anyOf": [{"type": "array", "items": {"type": "integer", "title": "b"}}, {"type": "null"}]},
        },
    }
    kept = tool_schemas([{"name": "f", "parameters": parameters}])["f"]["properties"]
    assert kept == {
        "description": {"type": "string"},
        "a": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
    }


@pytest.mark.parametrize(
    "text", ["{", "3", '"a"', "{}", "[1]", '[{"parameters": {}}]', '[{"name": "f", "parameters": 1}]']
)
def test_tools_that_cannot_be_read_are_refused_by_name_and_cost_a_run_nothing(text, caplog):
    with pytest.raises(ValueError, match=r"tool"):
        read_tools(text)
    assert tools_of_row({"tools": text}) == {}


def test_tools_kwargs_name_tools_without_types():
    assert tools_of_row({"tools_kwargs": {"count": {"create_kwargs": {}}}, "tools": json.dumps([TOOL])}) == {
        "count": {},
        "find": ZIP,
    }
    assert tools_of_row(None) == tools_of_row({}) == {}


@pytest.mark.parametrize(
    ("extra_info", "fields", "acc"),
    [
        ({"tools": json.dumps([TOOL])}, {}, 1.0),
        ({}, {"rest_tools": json.dumps([TOOL])}, 1.0),
        ({"tools": json.dumps([{**TOOL, "parameters": {}}])}, {"rest_tools": json.dumps([TOOL])}, 1.0),
        ({}, {}, 0.0),
        ({"tools": "{"}, {}, 0.0),
    ],
)
def test_the_reward_reads_calls_by_the_schemas_of_row_and_loop(tokenizer, extra_info, fields, acc):
    config = {"reward": {"custom_reward_function": {"path": None}}, "rest": {"format": "qwen3_coder"}}
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    data = DataProto.from_dict(
        tensors={"prompts": ids, "responses": ids, "attention_mask": torch.ones(1, 2 * ids.shape[1])},
        non_tensors={
            "data_source": np.array(["rlla"], dtype=object),
            "reward_model": np.array([{"ground_truth": TRUTH}], dtype=object),
            "extra_info": np.array([extra_info], dtype=object),
            "tool_extra_fields": np.array([fields], dtype=object),
            "global_steps": np.array([0]),
            "__num_turns__": np.array([2]),
        },
    )

    async def score():
        return await RestToolRewardManager(OmegaConf.create(config), tokenizer).run_single(data)

    assert asyncio.run(score())["reward_extra_info"]["acc"] == acc


def test_an_evaluation_reads_calls_by_the_schemas_of_the_row():
    def acc(tools):
        row = make_row("single", 0, "0", "test", [SYSTEM, ask(1)], TRUTH, tools=tools)
        question = Question("single", "0", 0, row)

        async def hold():
            conversation = open_conversation(question, get_format("qwen3_coder"))
            await conversation.answer(TEXT)
            return (await conversation.result())["acc"], conversation.turns[0][0].calls[0].arguments

        return asyncio.run(hold())

    assert acc(tools_text(tool_schemas([TOOL]))) == (1.0, {"zip": "94107"})
    assert acc(None) == (0.0, {"zip": 94107})


def test_a_dialogue_of_an_evaluation_reads_calls_by_the_schemas_of_the_row():
    from scripted_endpoint import sum_question

    question = sum_question(1)
    question.row["extra_info"]["tools"] = json.dumps([{"name": "add", "parameters": {"number": {"type": "float"}}}])

    async def hold():
        conversation = open_conversation(question, get_format("qwen3_coder"))
        await conversation.begin()
        await conversation.answer(TEXT.replace("find", "add").replace("zip", "number").replace("94107", "+1"))
        await conversation.answer("done")
        return (await conversation.result())["acc"]

    assert asyncio.run(hold()) == 1.0


def test_data_check_counts_rows_without_tools_and_names_unreadable_ones(tmp_path):
    rows = [checked_row(number, f"Q {number}") for number in range(5)]
    for row, tools in zip(rows, [None, json.dumps([TOOL]), "[]", "{", None], strict=True):
        row["extra_info"]["tools"] = tools
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    done = run(tmp_path / "a.parquet")
    table = " ".join(done.output.split())
    assert done.exit_code == 1
    assert "without the tools that they offer (extra_info.tools) │ 2" in table
    assert "a.parquet, row 3: extra_info.tools is not JSON" in table


def test_a_text_that_is_inspected_may_bring_its_tools(tmp_path, tokenizer):
    lines = [{"response": TEXT, "tools": [TOOL]}, {"response": TEXT, "tools": json.dumps([TOOL])}, {"response": TEXT}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (made,) = text_records(read_rows(tmp_path / "a.jsonl"), tokenizer, text_settings("paper", "qwen3_coder"), [1])
    arguments = [row["turns"][0]["calls"][0]["arguments"] for row in made.table.to_pylist()]
    assert arguments == ['{"zip": "94107"}', '{"zip": "94107"}', '{"zip": 94107}']


def test_tools_that_a_prompt_lists_are_found_in_it():
    """In the layout of ToolRL's rows, which is ours too; API-Bank writes its parameters as Python does."""
    message = {"role": "system", "content": system_message([TOOL, {"name": "Odd name (a)", "description": "b\nc"}])}
    found = read_tools(
        listed_tools([message, {"role": "user", "content": "1. Name: x\nDescription: y\nParameters: {}"}])
    )
    assert found == {"find": ZIP, "Odd name (a)": {"type": "object", "properties": {}}}
    python = "1. Name: f\nDescription: g\nParameters: {'a': {'type': 'str', 'description': 'b'}}\n2. Name: h\n"
    assert read_tools(listed_tools([{"role": "system", "content": python}]))["f"]["properties"] == {
        "a": {"type": "str"}
    }
    assert listed_tools([{"role": "system", "content": "You have no tools."}]) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="ToolRL's files are not on this machine")
def test_every_row_of_toolrls_and_api_banks_files_says_which_tools_it_offers():
    for row in (*read_rlla(SHARED / "rlla_test.parquet"), *apibank_rows([SHARED / "apibank_level2.json"])):
        tools = tools_of_row(row["extra_info"])
        assert len(tools) == len({line for line in row["prompt"][0]["content"].split("\n") if ". Name: " in line[:9]})

"""The supervised start of examples/cpu/real_model.py: what is imitated, how it resumes, how it is marked."""

import json
import random

import pytest
import torch
from greedy import Marks, answers, marks
from reasoned_answers import reasoned_answer
from reasoning import reasoning, refusal
from render import RENDERERS
from supervised import Start, imitate
from tiny_model import encode, new_model, train_tokenizer

from rest_verl.bfcl.verdict.checker import check_calls
from rest_verl.data.prompt import make_prompt
from rest_verl.data.rows import NO_CALL, make_row, turn_of_calls
from rest_verl.data.template import SHORT, PromptTemplate
from rest_verl.formats import get_format
from rest_verl.formats.tools import tool_schemas, tools_of_row, tools_text
from rest_verl.reward.response import read_response


def tool(name, description, **parameters):
    properties = {key: {"type": kind, "description": key} for key, kind in parameters.items()}
    schema = {"type": "dict", "properties": properties, "required": list(parameters)[:1]}
    return {"name": name, "description": description, "parameters": schema}


CLOCK = tool("get_time", "Tell the time in a city. It knows all of them.", city="string", zone="string")
AREA = tool("triangle.area", "Area of a triangle", base="integer", height="integer")


def row(number, request, tools, calls, accepted, format="rlla"):
    truth = {
        "answer": turn_of_calls(calls) if calls else NO_CALL,
        "functions": tools,
        "possible_answer": accepted,
        "category": "simple_python" if calls else "irrelevance",
    }
    prompt = make_prompt(tools, [{"role": "user", "content": request}], format, PromptTemplate(SHORT))
    schemas = tools_text(tool_schemas(tools))
    source = f"bfcl_{truth['category']}"
    return make_row(source, number, f"id_{number}", "train", prompt, json.dumps(truth), tools=schemas)


def rows_in(format):
    return [
        row(0, "What is the time in Oslo?", [CLOCK, AREA], [("get_time", {"city": "Oslo"})], OSLO, format),
        row(
            1,
            "A triangle of base 3 and height 4",
            [AREA],
            [("triangle.area", {"base": 3, "height": 4})],
            AREAS,
            format,
        ),
        row(2, "Sing a song for me", [CLOCK], [], [], format),
    ]


OSLO = [{"get_time": {"city": ["Oslo"], "zone": ["", "CET"]}}]
AREAS = [{"triangle.area": {"base": [3], "height": [4]}}]


# Reasoning


def test_reasoning_names_tool_values_and_what_is_missing():
    for seed in map(str, range(30)):
        text = reasoning("What is the time in Oslo?", [CLOCK, AREA], [("get_time", {"city": "Oslo"})], seed)
        assert "What is the time in Oslo" in text and "get_time" in text and "city Oslo" in text and "zone" in text
        assert "Oslo. There is a tool for it" in text  # the word that decides stands in one place, in every wording


def test_reasoning_without_a_fitting_tool_says_what_there_is():
    for seed in map(str, range(30)):
        text = reasoning("Sing a song", [CLOCK], [], seed)
        assert "get_time" in text and "Sing a song. There is no tool for it" in text
        assert "tool" in reasoning("Sing a song", [], [], seed)


def test_words_vary_with_the_question_and_stay_with_it():
    said = [reasoning("What time is it?", [CLOCK], [("get_time", {"city": "Oslo"})], str(seed)) for seed in range(40)]
    assert len(set(said)) > 15
    assert len({refusal("What time is it?", str(seed)) for seed in range(40)}) > 2
    assert said[7] == reasoning("What time is it?", [CLOCK], [("get_time", {"city": "Oslo"})], "7")


@pytest.mark.parametrize("format", RENDERERS)
def test_a_reasoned_answer_is_legal_and_right_in_every_format(format):
    rows = rows_in(format)
    responses = [reasoned_answer(row, format).encode() for row in rows]
    assert marks(rows, responses, format)["all"] == Marks(3, 1.0, 1.0)
    for row, text in zip(rows, responses, strict=True):
        truth = json.loads(row["reward_model"]["ground_truth"])
        calls = read_response([text], get_format(format), tools_of_row(row["extra_info"])).readable
        assert check_calls(truth["functions"], calls, truth["possible_answer"], truth["category"]) is None
        assert (refusal("Sing a song for me", "id_2") in text.decode()) == (not calls)


def test_marks_tell_legal_from_right_and_source_from_source():
    rows = rows_in("rlla")
    responses = [
        b'<think> Bergen. </think>\n<tool_call>\n{"name": "get_time", "parameters": {"city": "Bergen"}}\n</tool_call>',
        b"no tags",
        reasoned_answer(rows[2], "rlla").encode(),
    ]
    found = marks(rows, responses, "rlla")
    assert found["bfcl_simple_python"] == Marks(2, 0.5, 0.0)
    assert found["bfcl_irrelevance"] == Marks(1, 1.0, 1.0)
    assert found["all"] == Marks(3, 2 / 3, 1 / 3)


def test_an_unknown_format_is_refused_with_all_names():
    with pytest.raises(ValueError, match=r"format 'json' cannot be written here.*rlla"):
        reasoned_answer(rows_in("rlla")[0], "json")


def test_the_short_prompt_is_a_paragraph_and_the_tools():
    system = rows_in("hermes")[0]["prompt"][0]["content"]
    paragraph, *tools = system.split("\n")
    assert "in the format hermes" in paragraph and len(paragraph) < 300
    assert [json.loads(line)["name"] for line in tools] == ["get_time", "triangle.area"]
    assert json.loads(tools[1])["parameters"] == AREA["parameters"]


# Training


@pytest.fixture(scope="module")
def small():
    """A tokenizer, pairs of ids, and a function that makes the same tiny model every time."""
    texts = [f"count to {number}" for number in range(12)]
    tokenizer = train_tokenizer(texts, 280)
    asked = [([{"role": "user", "content": text}], text[-2:]) for text in texts]
    return tokenizer, [encode(tokenizer, pair) for pair in asked], lambda: new_model(tokenizer, hidden=32, layers=1)


def test_a_stopped_start_ends_as_one_that_was_not(small, tmp_path):
    tokenizer, pairs, make = small
    whole, first, second = make(), make(), make()
    settings = Start(steps=7, batch_size=4, save_every=3)
    losses = imitate(whole, pairs, tokenizer.pad_token_id, settings, tmp_path / "whole", low_precision=False)

    class Stopped(Exception):
        pass

    def stop(step, loss):
        if step == 5:
            raise Stopped

    with pytest.raises(Stopped):
        imitate(first, pairs, tokenizer.pad_token_id, settings, tmp_path / "state", False, stop)
    seen = []
    resumed = imitate(
        second, pairs, tokenizer.pad_token_id, settings, tmp_path / "state", False, lambda step, _: seen.append(step)
    )
    assert resumed == losses and seen == [3, 4, 5, 6, 7]
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_low_precision_still_learns(small, tmp_path):
    """Under one autocast around all steps the first weights stay in its cache, and the loss does not fall."""
    tokenizer, pairs, make = small
    settings = Start(steps=40, learning_rate=1e-2)
    losses = imitate(make(), pairs, tokenizer.pad_token_id, settings, tmp_path / "state", low_precision=True)
    assert losses[-1] < 0.6 * losses[0]


def test_greedy_answers_do_not_depend_on_their_batch(small):
    tokenizer, pairs, make = small
    model = make().eval()
    prompts = [prompt for prompt, _ in pairs]
    random.Random(0).shuffle(prompts)
    together = answers(model, tokenizer, prompts, 6, 5)
    alone = [answers(model, tokenizer, [prompt], 6, 1)[0] for prompt in prompts]
    assert together == alone

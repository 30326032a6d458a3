"""A split goes by the question alone: no format, template or variant of it puts a question on both sides."""

import json
from collections import defaultdict
from importlib.util import find_spec

import pytest

from rest_verl.bfcl.data.multi_turn import MULTI_TURN_CATEGORIES, bfcl_multi_turn_rows
from rest_verl.bfcl.data.single_turn import bfcl_rows
from rest_verl.bfcl.data.split import bfcl_question_of
from rest_verl.data.data_set import split_by_hash

needs_bfcl = pytest.mark.skipif(find_spec("bfcl_eval") is None, reason="BFCL's data is not installed here")

# few, but with questions that other categories ask as well
SOME = ("simple_python", "multiple")


def sides(rows, question_of=None):
    """The ids on each side."""
    parts = split_by_hash(rows, 0.1, question_of=question_of) if question_of else split_by_hash(rows, 0.1)
    return [{row["extra_info"]["id"] for row in part} for part in parts]


@pytest.fixture(scope="module")
def by_question():
    return bfcl_question_of()


@needs_bfcl
def test_a_split_of_bfcl_is_the_same_in_every_format(by_question):
    """`--format` and `--template` change the prompt, not the question (D1)."""
    rlla, hermes = (sides(bfcl_rows(SOME, format), by_question) for format in ("rlla", "hermes"))
    assert rlla == hermes
    assert all(rlla)


@needs_bfcl
def test_a_split_of_bfcl_is_the_same_whatever_is_converted(by_question):
    """Another choice of categories moves no question of the ones that are converted in both."""
    few, more = sides(bfcl_rows(["multiple"]), by_question), sides(bfcl_rows(SOME), by_question)
    assert few[0] <= more[0] and few[1] <= more[1]


@needs_bfcl
def test_one_question_of_two_categories_is_on_one_side(by_question):
    """125 questions are asked in several categories: with the same dialogue, which has another id in each."""
    asked = defaultdict(set)
    for side in split_by_hash(bfcl_rows(SOME), 0.5, question_of=by_question):
        for row in side:
            asked[row["prompt"][1]["content"]].add(row["extra_info"]["split"])
    assert len(asked) < 600  # some are asked twice
    assert not [question for question, seen in asked.items() if len(seen) > 1]


def start(row):
    kwargs = json.loads(row["extra_info"]["environment_kwargs"])
    return json.dumps(kwargs["initial_config"], sort_keys=True)


def user_texts(row):
    kwargs = json.loads(row["extra_info"]["environment_kwargs"])
    turns = [row["prompt"][1:], *kwargs["turns"]]
    return {
        message["content"] for turn in turns for message in turn if "These tools are new" not in message["content"]
    }


@needs_bfcl
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_no_scenario_of_bfcl_is_on_both_sides(by_question, share):
    """A scenario has a variant in each category, with the same number; a few have the same state or a message (D2)."""
    train, validation = split_by_hash(bfcl_multi_turn_rows(format="hermes"), share, question_of=by_question)
    assert len(train) + len(validation) == 200 * len(MULTI_TURN_CATEGORIES)
    for marks in (
        lambda row: {row["extra_info"]["id"].rpartition("_")[2]},
        lambda row: {start(row)},
        user_texts,
    ):
        seen = [set().union(*map(marks, side)) for side in (train, validation)]
        assert not seen[0] & seen[1]


def row(*messages, id=0):
    prompt = [{"role": role, "content": content} for role, content in messages]
    return {"prompt": prompt, "data_source": "own", "extra_info": {"index": id, "id": str(id)}}


@pytest.mark.parametrize(
    "other",
    [
        row(("system", "Other tools."), ("user", "Q {}")),
        row(("user", "Q {}")),
        row(("user", "  q   {}\n")),
        row(("user", "**Dialogue Records History**\n<user> Q {} </user>")),
        row(
            ("user", "***Dialogue Records History**\n<user> Q {} </user>\n<response> A </response>\n<user> B </user>")
        ),
        row(("user", "Q {}"), ("assistant", "A"), ("user", "B")),
    ],
    ids=["system message", "no system message", "white space, case", "rlla", "rlla, later", "later in the dialogue"],
)
def test_a_prompt_of_the_same_question_is_on_its_side(other):
    """Only the opening request decides: whatever else a prompt holds belongs to a format, or comes later."""

    def numbered(template, number):
        filled = [{**m, "content": m["content"].replace("{}", str(number))} for m in template["prompt"]]
        return {**template, "prompt": filled, "extra_info": {"index": number, "id": str(number)}}

    plain = row(("system", "Tools."), ("user", "Q {}"))
    assert sides([numbered(plain, n) for n in range(100)]) == sides([numbered(other, n) for n in range(100)])

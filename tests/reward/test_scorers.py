"""Which scorer a data source gets, and what those of BFCL and API-Bank say beside the reward."""

import json
import re
from pathlib import Path

import pytest
from rewards import ANSWER, THINK, block, reward
from shared_data import APIBANK

from rest_verl.bfcl.scorer import score_bfcl
from rest_verl.common.names import Registry
from rest_verl.formats import get_format
from rest_verl.reward import scorers
from rest_verl.reward.scorers import get_scorer, register_scorer
from rest_verl.reward.truth import read_ground_truth


def score(data_source, ground_truth, *turns, preset="strict", wire_format="rlla"):
    """Components as the manager logs them, at a step at which `strict` goes from -4 to 4."""
    scorer, tool_reward = get_scorer(data_source), reward(preset)
    response = tool_reward.read([turn.encode() for turn in turns], get_format(wire_format))
    return scorer.score(response, scorer.read(ground_truth), lambda *asked: tool_reward.score(*asked, 150))


@pytest.fixture
def registry(monkeypatch):
    """Scorers that can be registered without anyone else seeing them."""
    built_in = {pattern: scorers._SCORERS.get(pattern) for pattern in scorers._SCORERS.names()}
    monkeypatch.setattr(scorers, "_SCORERS", Registry("scorer", built_in))


def test_the_longest_pattern_that_fits_a_data_source_counts(registry):
    @register_scorer("bfcl_simple_*")
    def mine(response, ground_truth, reward):
        return {"score": 1.0}

    assert get_scorer("bfcl_simple_python").score is mine
    assert get_scorer("bfcl_multiple").score is score_bfcl
    assert get_scorer("apibank_level2").score is scorers.score_apibank
    assert get_scorer("rlla").score is get_scorer("anything else").score is scorers.score_rlla


def test_a_scorer_of_ones_own_gets_the_ground_truth_as_the_row_has_it_and_the_reward_of_the_run(registry):
    @register_scorer("shop_*")
    def shop(response, ground_truth, reward):
        return reward(response, read_ground_truth(ground_truth["calls"])) | {
            "acc": float(ground_truth["stock"] == len(response.calls))
        }

    call = THINK + block('{"name": "buy", "parameters": {}}')
    found = score("shop_1", {"calls": call, "stock": 1}, call)
    assert (found["score"], found["acc"]) == (4.0, 1.0)


def test_a_pattern_is_registered_once(registry):
    with pytest.raises(ValueError, match="scorer 'bfcl_\\*' is already registered"):
        register_scorer("bfcl_*")


PYTHON = {
    "name": "triangle",
    "parameters": {
        "type": "dict",
        "properties": {"base": {"type": "integer"}, "unit": {"type": "string"}, "round": {"type": "boolean"}},
        "required": ["base"],
    },
}
ACCEPTED = {"triangle": {"base": [10], "unit": ["cm", "centimetre", ""], "round": [True, False, ""]}}
RIGHT = THINK + block('{"name": "triangle", "parameters": {"base": 10}}')


def bfcl(category="simple_python", answer=RIGHT, possible_answer=(ACCEPTED,), functions=(PYTHON,)):
    truth = {"answer": answer, "functions": functions, "possible_answer": possible_answer, "category": category}
    return json.dumps(truth)


@pytest.mark.parametrize(
    ("arguments", "acc", "share"),
    [
        ({"base": 10}, 1.0, 1.0),
        ({"base": 10, "unit": "Centi-Metre"}, 1.0, 1.0),
        ({"base": 10, "round": False, "unit": "cm"}, 1.0, 1.0),
        ({"base": 10, "unit": "inch"}, 0.0, 3 / 4),
        ({"base": "10"}, 0.0, 2 / 3),
        ({"base": 10, "depth": 1}, 0.0, (1 + 1 + 1) / 4),
        ({"unit": "cm"}, 0.0, 1 / 3),
        ({"unit": "inch"}, 0.0, 1 / 4),
    ],
)
def test_on_bfcl_acc_is_the_leaderboards_verdict_and_strict_credits_every_accepted_value(arguments, acc, share):
    call = THINK + block(json.dumps({"name": "triangle", "parameters": arguments}))
    found = score("bfcl_simple_python", bfcl(), call)
    assert (found["acc"], found["correctness"]) == (acc, pytest.approx(-3 + 6 * share))


def test_a_call_that_cannot_be_read_is_no_call_to_the_leaderboard():
    broken = THINK + block('{"name": "triangle", "parameters": {"base": 10}}', "{")
    assert score("bfcl_simple_python", bfcl(), broken)["acc"] == 0.0
    nothing = bfcl("irrelevance", answer=THINK + ANSWER, possible_answer=())
    assert score("bfcl_irrelevance", nothing, broken)["acc"] == 1.0
    assert score("bfcl_irrelevance", nothing, RIGHT)["acc"] == 0.0
    found = score("bfcl_irrelevance", nothing, THINK + ANSWER)
    assert (found["acc"], found["score"]) == (1.0, 4.0)


@pytest.mark.parametrize("preset", ["strict", "paper"])
def test_where_some_call_is_relevant_any_call_is_right(preset):
    relevant = bfcl("live_relevance", answer="", possible_answer=())
    found = score("bfcl_live_relevance", relevant, RIGHT, preset=preset)
    assert (found["acc"], found["score"]) == (1.0, 4.0)
    found = score("bfcl_live_relevance", relevant, THINK + ANSWER, preset=preset)
    assert (found["acc"], found["score"]) == (0.0, -4.0)


@pytest.mark.parametrize(
    ("truth", "fault"),
    [
        (RIGHT, "Invalid JSON"),
        (None, "that is not text but None"),
        ("[" * 100_000, "Invalid JSON"),
        ("\ud800", "Invalid JSON"),
        ('{"answer": 1}', "answer Input should be a valid string; functions Field required; possible_answer Field"),
        (bfcl(possible_answer={"triangle": []}), "possible_answer Input should be a valid array"),
        (bfcl("simple_ruby"), "of category 'simple_ruby'; allowed: .*simple_python"),
        (bfcl(answer="no tags"), "neither <tool_call> nor <response>"),
        (bfcl(answer=THINK + ANSWER), r"answer calls \[\] instead of \['triangle'\]"),
        (bfcl(functions=()), r"calls \['triangle'\], which its functions do not describe"),
    ],
)
def test_a_ground_truth_of_bfcl_that_cannot_be_read_says_why(truth, fault):
    with pytest.raises(ValueError, match=fault):
        get_scorer("bfcl_simple_python").read(truth)


STOCK = '{"name": "QueryStock", "parameters": {"code": "MSFT", "loud": true}}'
BARE = '{"code": "MSFT", "loud": true}'
JUNK = '{"name": "QueryStock", "parameters": {}}'


@pytest.mark.parametrize(
    ("response", "soft", "hard"),
    [
        (THINK + block(STOCK), 1.0, 1.0),
        (block(STOCK), 1.0, 1.0),
        (THINK + block(*[JUNK] * 99, STOCK), 1.0, 0.0),
        (THINK + block(STOCK, "{"), 1.0, 0.0),
        (THINK + block("{", STOCK), 1.0, 0.0),
        (STOCK, 1.0, 0.0),
        (THINK + block(STOCK) + block("{}"), 0.0, 0.0),
        (THINK + block(BARE), 1.0, 0.0),
        (THINK + block(STOCK.replace("true", "1")), 1.0, 0.0),
        (f"<think> {block(STOCK)} </think>\n{ANSWER}", 1.0, 0.0),
        (THINK + block(JUNK), 0.0, 0.0),
        (THINK + block(STOCK.replace("QueryStock", "Query")), 0.0, 0.0),
        (THINK + block("3", "[]", '"x"'), 0.0, 0.0),
        (THINK + block("[" * 100_000), 0.0, 0.0),
        (THINK + ANSWER, 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_the_soft_score_of_apibank_has_the_published_holes_and_the_hard_one_has_not(response, soft, hard):
    found = score("apibank_level2", THINK + block(STOCK), response)
    assert (found["acc"], found["acc_hard"]) == (soft, hard)


# row of the table of docs/rewards.md -> response
HOLES = {
    "the right call": THINK + block(STOCK),
    "the right call after 99 others": THINK + block(*[JUNK] * 99, STOCK),
    "the right call before broken JSON": THINK + block(STOCK, "{"),
    "the right call after broken JSON": THINK + block("{", STOCK),
    "the right call in a later block than others": THINK + block(JUNK) + "\n" + block(STOCK),
    "the right call in an earlier block than others": THINK + block(STOCK) + "\n" + block(JUNK),
    "the right call without any tag": STOCK,
    "the arguments alone, without a name": THINK + block(BARE),
    "1 for true": THINK + block(STOCK.replace("true", "1")),
    "the right call inside reasoning, and no block after it": f"<think> {block(STOCK)} </think>\n{ANSWER}",
    "the right call after a line that is a number": THINK + block("3", STOCK),
}


def test_the_page_has_what_the_scores_of_apibank_leave_open():
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    rows = re.findall(r"^\| (.+?) \| ([01]) \| ([01]) \| ([01]) \|$", page, re.MULTILINE)
    assert {name: list(map(float, values)) for name, *values in rows} == {
        name: [
            (found := score("apibank_level2", HOLES["the right call"], text))["acc"],
            found["acc_any"],
            found["acc_hard"],
        ]
        for name, text in HOLES.items()
    }


def test_apibank_is_scored_in_other_formats_too():
    call = block(STOCK.replace("parameters", "arguments"))
    found = score("apibank_level1", THINK + block(STOCK), call, wire_format="hermes")
    assert (found["acc"], found["acc_hard"], found["score"]) == (1.0, 1.0, 4.0)


@pytest.mark.skipif(not APIBANK.exists(), reason=f"needs API-Bank's level 2 at {APIBANK}")
def test_every_ground_truth_of_apibank_scores_full_marks_against_itself():
    truths = [THINK + block(json.dumps(row["answer"])) for row in json.loads(APIBANK.read_text())]
    found = [score("apibank_level2", truth, truth) for truth in truths]
    print(f"\nAPI-Bank level 2: {sum(row['acc'] for row in found):.0f} of {len(found)} soft, ", end="")
    print(f"{sum(row['acc_hard'] for row in found):.0f} hard")
    assert len(found) == 67
    assert all((row["acc"], row["acc_hard"], row["score"]) == (1.0, 1.0, 4.0) for row in found)
    holes = [THINK + block(*[JUNK] * 99, json.dumps(row["answer"])) for row in json.loads(APIBANK.read_text())]
    junk = [score("apibank_level2", truth, hole) for truth, hole in zip(truths, holes, strict=True)]
    assert all((row["acc"], row["acc_hard"]) == (1.0, 0.0) for row in junk)

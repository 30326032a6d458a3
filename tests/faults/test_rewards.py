"""Faults of rewards that were found by use: each kind by its smallest inputs."""

import asyncio
import json

import pytest
from bfcl_calls import MISSING
from rewards import ANSWER, THINK, reward, score

from rest_verl.bfcl.scorer import read_bfcl
from rest_verl.formats import get_format
from rest_verl.reward.scorers import get_scorer, score_environment
from rest_verl.reward.tool_reward import RewardAtStep

A = '{"name": "a", "parameters": {}}'
TRUTH = f"{THINK}<tool_call>\n{A}\n</tool_call>"


def with_calls(*lines):
    return f"{THINK}<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"


def apibank(response, truth=TRUTH, wire_format="rlla"):
    scorer, strict = get_scorer("apibank_level2"), reward("strict")
    read = strict.read([response.encode()], get_format(wire_format))
    return scorer.score(read, scorer.read(truth), RewardAtStep(strict, 0))


@pytest.mark.parametrize(
    ("response", "acc"),
    [
        (TRUTH.replace("<think> t", "<think> I will write <tool_call> and then act"), 1.0),
        (with_calls("{", A), 1.0),
        (with_calls("```json", A, "```"), 1.0),
        (with_calls('{"name": "b", "parameters": {}}') + "\n" + with_calls(A), 1.0),
        (with_calls(A) + "\n<tool_call>\n{}", 1.0),  # {} is taken for the arguments of the right call
        (with_calls(A) + '\n<tool_call>\n{"x": 1}', 0.0),
        (A, 1.0),
        ("{}", 1.0),
        (f"I call\n{A}", 1.0),
        (A.replace("}}", "}") + A, 0.0),
        (with_calls("3", A), 0.0),  # the published loop stops at what is neither an object nor a list
        (with_calls("[3]", A), 1.0),
        (with_calls(json.dumps(A)), 1.0),
        (with_calls('"no JSON"', A), 0.0),
    ],
)
def test_acc_of_apibank_is_the_published_soft_score(response, acc):
    """R4: the last `<tool_call>`, lines that are no JSON skipped, the whole text where there is no tag."""
    assert apibank(response)["acc"] == acc


def test_our_own_soft_score_of_apibank_has_another_name():
    """R4: `acc_any` looks at the calls that the parser reads, with their names and JSON types."""
    assert [apibank(text)["acc_any"] for text in (with_calls(A), with_calls(A, A), A, with_calls("{}"))] == [
        1,
        1,
        0,
        0,
    ]


def test_apibank_asks_for_the_first_call_of_an_answer():
    """R4: of an answer that is a list the published score looks at its first call alone."""
    b = A.replace('"a"', '"b"')
    assert [apibank(with_calls(call), with_calls(A, b))["acc"] for call in (A, b)] == [1.0, 0.0]


BROKEN_BLOCKS = {
    "code fence": with_calls("```json", A, "```"),
    "prose before": with_calls("Here it is:", A),
    "prose after": with_calls(A, "Done."),
    "comment": with_calls(A + " # now"),
    "comment line": with_calls("// now", A),
    "trailing comma": with_calls(A + ","),
    "array": with_calls(f"[{A}]"),
    "array over lines": with_calls("[", A + ",", A, "]"),
    "two in one line": with_calls(f"{A} {A}"),
    "one over two lines": with_calls(A.replace(", ", ",\n")),
    "blank line": with_calls(A, "", A),
    "no closing tag": with_calls(A).removesuffix("</tool_call>"),
    "no opening tag": with_calls(A).replace("<tool_call>", ""),
    "another key": with_calls(A.replace("parameters", "arguments")),
}


@pytest.mark.parametrize("preset", ["paper", "toolrl"])
@pytest.mark.parametrize("name", BROKEN_BLOCKS)
def test_a_block_that_published_code_cannot_read_earns_nothing(name, preset):
    """R5: correctness is at its minimum where both published codes have it there."""
    found = score([BROKEN_BLOCKS[name]], TRUTH, preset, step=150)
    assert found["correctness"] == -3.0


def judged(turns, share, preset="strict", wire_format="rlla"):
    rules = reward(preset)
    response = rules.read([turn.encode() for turn in turns], get_format(wire_format))
    return score_environment(response, {"score": share, "acc": float(share == 1)}, RewardAtStep(rules, 150))


@pytest.mark.parametrize(
    ("turns", "wire_format"),
    [
        ([""], "rlla"),
        ([""], "hermes"),
        ([], "hermes"),
        (["  \n"], "hermes"),
        ([THINK + "<response> </response>"], "rlla"),
        ([TRUTH, THINK + "<response></response>"], "rlla"),
        (["<think>a</think>", "Done."], "hermes"),
        ([TRUTH + "\nNoise."], "rlla"),
        ([TRUTH, "Done."], "rlla"),
    ],
)
def test_strict_needs_legal_turns_in_environments_too(turns, wire_format):
    """R6: whatever the environment grants, an illegal turn leaves the minimum."""
    found = judged(turns, 1.0, wire_format=wire_format)
    assert (found["legal"], found["score"], found["share"]) == (0.0, -4.0, 1.0)


def test_legal_turns_earn_what_their_environment_grants():
    """R6: and no more and no less."""
    turns = [TRUTH, THINK + ANSWER]
    assert [judged(turns, share)["score"] for share in (0.0, 0.5, 1.0)] == [-2.0, 1.0, 4.0]
    assert judged(["no"], 1.0, "paper")["correctness"] == 3.0  # published rules know no gate


BFCL_ROW = {
    "answer": with_calls('{"name": "book", "parameters": {"city": "Rome"}}'),
    "functions": [
        {
            "name": "book",
            "parameters": {
                "type": "dict",
                "properties": {key: {"type": "string"} for key in ("city", "class", "meal", "seat")},
                "required": ["city"],
            },
        }
    ],
    "possible_answer": [
        {"book": {"city": ["Rome"], "class": ["first", ""], "meal": ["", "none"], "seat": ["aisle", ""]}}
    ],
    "category": "simple_python",
}


def book(**arguments):
    scorer, strict = get_scorer("bfcl_simple_python"), reward("strict")
    text = with_calls(json.dumps({"name": "book", "parameters": arguments}))
    response = strict.read([text.encode()], get_format("rlla"))
    return scorer.score(response, read_bfcl(json.dumps(BFCL_ROW)), RewardAtStep(strict, 150))


def test_padding_with_optional_arguments_earns_nothing_on_bfcl():
    """R7: with the due value wrong, and with it right."""
    padding = {"class": "", "meal": "none", "seat": "aisle"}
    for city in ("Rome", "Oslo"):
        assert book(city=city, **padding)["score"] == book(city=city)["score"]
        assert book(city=city, seat="window")["score"] < book(city=city)["score"]
    assert book(city="Rome", **padding)["acc"] == 1.0 and book(city="Rome", **padding)["score"] == 4.0


def test_what_the_leaderboard_accepts_earns_everything():
    """R7: an optional argument of the ground truth's own answer may be left out, as on the leaderboard."""
    row = BFCL_ROW | {"answer": with_calls('{"name": "book", "parameters": {"city": "Rome", "seat": "aisle"}}')}
    scorer, strict = get_scorer("bfcl_simple_python"), reward("strict")
    response = strict.read([BFCL_ROW["answer"].encode()], get_format("rlla"))
    found = scorer.score(response, read_bfcl(json.dumps(row)), RewardAtStep(strict, 150))
    assert (found["acc"], found["score"]) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("lines", "correctness"),
    [
        ((A, '{"name": "zzz"}'), 1.5),  # names 1/2, arguments 1, of 2
        ((A, '{"name": "zzz", "parameters": 3}'), 1.5),
        ((A, '{"name": null}'), 1.5),
        ((A, '{"name": 7, "arguments": {}}'), 1.5),
        ((A, '{"name": "a"}'), -3.0),
        ((A, '{"name": "a", "parameters": []}'), -3.0),
        ((A, '{"name": []}'), -3.0),
        ((A, '{"parameters": {}}'), -3.0),
        ((A, "3"), -3.0),
        (('{"name": "a", "parameters": {}, "id": 1}',), 3.0),
    ],
)
def test_a_call_without_parameters_voids_the_others_as_in_toolrl(lines, correctness):
    """R8: only where ToolRL looks at its parameters, for a tool that is due; a name must be there."""
    for preset in ("toolrl", {"rules": "toolrl", "reading": "first_block"}, "paper"):
        settings = {"correctness_min": {"start": -3.0}, "correctness_max": {"start": 3.0}}
        rules = settings | {"rules": "toolrl", "reading": "first_block"} if isinstance(preset, dict) else preset
        assert score([with_calls(*lines)], TRUTH, rules, step=150)["correctness"] == pytest.approx(correctness)


@pytest.mark.parametrize(("granularity", "correctness"), [("coarse", -3.0), ("intermediate", 0.0)])
def test_a_third_key_makes_a_call_another_one_as_in_toolrl(granularity, correctness):
    """R8: ToolRL compares whole objects. Intermediate: the names are right, the call is not: 1 of 2."""
    third = with_calls('{"name": "a", "parameters": {}, "id": 1}')
    rules = {"rules": "toolrl", "reading": "first_block", "granularity": granularity}
    rules |= {"correctness_min": {"start": -3.0}, "correctness_max": {"start": 3.0}}
    assert score([third], TRUTH, rules)["correctness"] == correctness
    assert score([TRUTH], TRUTH, rules)["correctness"] == 3.0


@pytest.mark.parametrize(
    ("think", "words"),
    [
        ("<think>\u00a0one\u00a0two\u2003three </think>", 3),
        ("<think> one two <think> three </think>", 1),
        ("<think> one </think><think> two three </think>", 2),
        ("one </think> two <think> ", 6),  # both tags are there, in whichever order: the words of the block
        ("</think> <think> one two ", 8),
        ("<think> one two", 0),
    ],
)
def test_words_of_reasoning_are_counted_as_toolrl_counts_them(think, words):
    """R8: words of text, after the last opening tag."""
    rules = {"rules": "toolrl", "reading": "first_block", "length": {"max": 1.0, "words": {"start": 10.0}}}
    assert score([think + TRUTH.removeprefix(THINK)], TRUTH, rules)["length"] == pytest.approx(words / 10)


@pytest.mark.parametrize("wire_format", ["rlla", "hermes"])
def test_words_of_reasoning_are_words_of_text_in_every_format(wire_format):
    """R8: a no-break space parts words, as in Python's text."""
    rules = {"rules": "toolrl", "length": {"max": 1.0, "words": {"start": 10.0}}}
    found = score(["<think>one\u00a0two\u3000three</think>\nDone."], TRUTH, rules, wire_format=wire_format)
    assert found["length"] == pytest.approx(0.3)


LOGIN = {"name": "ticket_login", "arguments": {"username": "u", "password": "p"}}
CREATE = {"name": "create_ticket", "arguments": {"title": "t"}}
GET = {"name": "get_ticket", "arguments": {"ticket_id": 1}}
LOOK = {"name": "get_user_tickets", "arguments": {}}


def played(*turns, due=((LOGIN, CREATE), (GET,), ())):
    """Score of a trajectory of BFCL's environment that made these calls in its turns."""
    from rest_verl.rollout.environment import get_environment

    async def run():
        environment = get_environment("bfcl_multi_turn")(
            id="multi_turn_base_0",
            initial_config={"TicketAPI": {}},
            involved_classes=["TicketAPI"],
            turns=[[{"role": "user", "content": "next"}] for _ in due[1:]],
            ground_truth=[list(calls) for calls in due],
            long_context=False,
            held_out={},
        )
        await environment.reset()
        for number, calls in enumerate(turns):
            if number:
                await environment.next_user_turn()
            for call in calls:
                try:
                    await environment.call(call["name"], call["arguments"])
                except KeyError:
                    continue
        return await environment.score()

    return asyncio.run(run())


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_surplus_calls_of_bfcls_dialogues_cost_and_acc_is_bfcls():
    """R9: 3 calls are due; each call beyond those due in its turn costs as much as one that is missing."""
    due = ([LOGIN, CREATE], [GET], [])
    no_tool = {"name": "no_such_tool", "arguments": {}}
    for surplus, turns in (
        (0, due),
        (1, ([LOGIN, CREATE], [GET, LOOK], [])),
        (1, ([LOGIN, CREATE], [GET], [LOOK])),
        (2, ([LOGIN, CREATE, GET], [GET, no_tool], [])),
        (10, ([LOGIN, CREATE], [GET, *[LOOK] * 10], [])),
    ):
        found = played(*turns)
        assert (found["acc"], found["calls_surplus"]) == (1.0, surplus)
        assert found["score"] == pytest.approx(3 / (3 + surplus))

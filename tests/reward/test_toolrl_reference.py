"""The rules `toolrl` read by the parser against a second implementation, and what holds for every response.

The reference follows the formulas of the module's docstring, over str and json. What the published code itself reads,
and the format, are compared in test_published.py.
"""

import copy
import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards import score as scored
from shared_data import TOOLRL_TEST

# step -> F_min, F_max, C_min, C_max
CORNERS = {0: (-2, 2, -2, 2), 75: (-1, 1.5, -2.5, 2.5), 150: (-1, 1, -3, 3), 400: (-1, 1, -3, 3)}


def reference_blocks(text):
    """(tag, inside) of each block, in order."""
    found = []
    if "</think>" in text and "<think>" not in text[: text.index("</think>")]:
        text = text.split("</think>", 1)[1]
    while opening := re.search("<(think|tool_call|response)>", text):
        inside, _, text = text[opening.end() :].partition(f"</{opening[1]}>")
        found.append((opening[1], inside))
    return found


def refuse(constant):
    raise ValueError(constant)


def reference_call(line):
    """(name, arguments), or None where the line is no legal call."""
    try:
        call = json.loads(line, parse_constant=refuse)
    except ValueError:
        return None
    name, arguments = call.get("name"), call.get("parameters")
    return (name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None


def reference_calls(text):
    lines = [line for tag, inside in reference_blocks(text) if tag == "tool_call" for line in inside.split("\n")]
    return [reference_call(line) for line in lines if "{" in line]


def reference_jaccard(first, second):
    if not first and not second:
        return 1.0
    rest, common = list(second), 0
    for item in first:
        if item in rest:
            rest.remove(item)
            common += 1
    return common / (len(first) + len(second) - common)


def reference_matched(truth, calls):
    """S and S_max."""
    most = 1.0 + sum(1 + len(arguments) for _, arguments in truth)
    if not calls or None in calls:
        return 0.0, most
    matched = reference_jaccard([name for name, _ in truth], [name for name, _ in calls])
    unused = list(calls)
    for name, due in truth:
        scores = [
            reference_jaccard([*due], [*given]) + sum(key in given and given[key] == due[key] for key in due)
            if called == name
            else 0.0
            for called, given in unused
        ]
        if scores and max(scores) > 0:
            matched += max(scores)
            unused.pop(scores.index(max(scores)))
    return matched, most


def reference_score(text, truth, step):
    """Correctness and acc of a response to a ground truth, both as text."""
    _, _, correctness_min, correctness_max = CORNERS[step]
    due, calls = reference_calls(truth), reference_calls(text)
    if not due:
        answered = any(tag == "response" and inside.strip() for tag, inside in reference_blocks(text))
        # a tag of calls outside of reasoning, or a call without tags, is a call that went wrong
        rest = re.sub("<think>.*?</think>", "", text, flags=re.DOTALL)
        return 0.0, float(
            answered and not calls and not re.search(r"</?tool_call>|\{\"name\": \"\w+\", \"param", rest)
        )
    matched, most = reference_matched(due, calls)
    exact = sorted(json.dumps(call, sort_keys=True) for call in calls) == sorted(
        json.dumps(call, sort_keys=True) for call in due
    )
    return correctness_min + (correctness_max - correctness_min) * matched / most, float(exact)


NAMES = ["get_weather", "get_time", "book", "天気"]
KEYS = ["city", "days", "name", "ü"]
VALUES = ["Paris", "", "3", 3, 4, 2.5, None, True, [1, {"a": "b"}], {"city": "Rome"}, 'a "quote" {']


def random_calls(rng, most=3):
    return [
        {
            "name": rng.choice(NAMES),
            "parameters": {key: rng.choice(VALUES) for key in rng.sample(KEYS, rng.randint(0, 4))},
        }
        for _ in range(rng.randint(1, most))
    ]


def written(calls, answer, think="<think> I think. </think>"):
    lines = "\n".join(json.dumps(call, ensure_ascii=len(call["name"]) % 2 == 0) for call in calls)
    text = think + (f"\n<tool_call>\n{lines}\n</tool_call>" if calls else "")
    return text + ("\n<response> Done. </response>" if answer else "")


def mutate_calls(rng, calls):
    """Change calls by value: names, keys, values, order, missing and extra ones."""
    calls = copy.deepcopy(calls)
    if not calls:
        return random_calls(rng) if rng.random() < 0.3 else calls
    call, other = rng.choice(calls), rng.choice(NAMES)
    arguments = call["parameters"]
    change = rng.randrange(9)
    if change == 0:
        call["name"] = other
    elif change == 1 and arguments:
        arguments[rng.choice([*arguments])] = rng.choice(VALUES)
    elif change == 2 and arguments:
        arguments[rng.choice(KEYS)] = arguments.pop(rng.choice([*arguments]))
    elif change == 3:
        arguments[rng.choice(KEYS)] = rng.choice(VALUES)
    elif change == 4:
        rng.shuffle(calls)
    elif change == 5:
        calls.insert(rng.randrange(len(calls) + 1), copy.deepcopy(call))
    elif change == 6:
        calls.remove(call)
    elif change == 7:
        calls += random_calls(rng, 1)
    elif change == 8:
        calls = [dict(reversed(found.items())) for found in calls]
    return calls


def mutate_text(rng, text):
    """Break the text: JSON syntax, tags missing, doubled or moved, white space."""
    tag = rng.choice(re.findall(r"</?\w+>", text))
    edits = [
        lambda: text.replace("}\n", "\n", 1),
        lambda: text.replace('": ', '" ', 1),
        lambda: text.replace('"name"', "'name'", 1),
        lambda: text.replace("}", ",}", 1),
        lambda: text.replace("3", "NaN", 1),
        lambda: text.replace('"parameters"', '"arguments"'),
        lambda: text.replace('"name"', '"tool"', 1),
        lambda: text.replace(tag, "", 1),
        lambda: text.replace(tag, tag + tag, 1),
        lambda: text.replace(tag, tag + "\n" + tag, 1),
        lambda: text.replace("\n", "\n\n", 1),
        lambda: text.replace("</think>\n", "</think>", 1),
        lambda: text + rng.choice(["\n", " ", "\n\n", " bye"]),
        lambda: text[text.index("\n") + 1 :] + "\n" + text[: text.index("\n")],
    ]
    return rng.choice(edits)()


def random_pairs(count, seed=0):
    """Ground truths and responses derived from them."""
    rng = random.Random(seed)
    for _ in range(count):
        due, answer = random_calls(rng), rng.random() < 0.5
        if rng.random() < 0.25:
            due, answer = [], True
        calls = due
        for _ in range(rng.randint(0, 3)):
            calls = mutate_calls(rng, calls)
        text = written(calls, answer != (rng.random() < 0.1) or not calls)
        for _ in range(rng.choice([0, 0, 1, 2])):
            text = mutate_text(rng, text) if re.search(r"</?\w+>", text) and "\n" in text else text
        yield written(due, answer), text


PAIRS = list(random_pairs(2000))


def score(text, truth, step):
    return scored([text], truth, {"rules": "toolrl", "reading": "parser"}, step)


@pytest.mark.parametrize("step", CORNERS)
def test_the_score_is_that_of_the_reference(step):
    for truth, text in PAIRS:
        found = score(text, truth, step)
        assert (found["correctness"], found["acc"]) == pytest.approx(reference_score(text, truth, step), abs=1e-9), (
            text
        )


def test_the_compared_pairs_are_of_every_kind():
    found = [score(text, truth, 75) for truth, text in PAIRS]
    assert len({round(components["score"], 9) for components in found}) > 100
    for component in ("legal", "parse_ok", "acc"):
        share = sum(components[component] for components in found) / len(found)
        assert 0.1 < share < 0.95, component
    for component in ("name", "arg_keys", "arg_values"):
        assert sum(0 < components[component] < 1 for components in found) > 100, component
    assert sum(components["extra_calls"] > 0 for components in found) > 50


@pytest.mark.parametrize("step", CORNERS)
def test_a_ground_truth_scores_the_maximum_against_itself(step):
    for truth, _ in PAIRS[:200]:
        found = score(truth, truth, step)
        _, format_max, _, correctness_max = CORNERS[step]
        assert found["score"] == pytest.approx(format_max + correctness_max * ("<tool_call>" in truth))
        assert (found["acc"], found["legal"], found["name"]) == (1.0, 1.0, float("<tool_call>" in truth))


BLOCKS = ["<think>", "</think>", "\n<tool_call>\n", "\n</tool_call>", "\n<response>", "</response>"]
CALLS = ['{"name": "book", "parameters": {"city": "Paris"}}', '{"name": "book", "parameters": {}}']
fragments = st.sampled_from([*BLOCKS, *CALLS, "\n", "{", "}", "NaN", '"', "\\"]).map(str.encode)
TRUTHS = [written([{"name": "book", "parameters": {"city": "Paris"}}], answer) for answer in (False, True)]
TRUTHS.append(written([], True))


@given(
    turns=st.lists(st.lists(fragments | st.binary(max_size=4), max_size=8).map(b"".join), max_size=3),
    truth=st.sampled_from(TRUTHS),
    step=st.sampled_from([*CORNERS]),
    format=st.sampled_from(["rlla", "hermes"]),
)
def test_any_bytes_score_between_the_bounds(turns, truth, step, format):
    found = scored(turns, truth, "paper", step, format)
    format_min, format_max, correctness_min, correctness_max = CORNERS[step]
    assert format_min + correctness_min - 1e-9 <= found["score"] <= format_max + correctness_max + 1e-9
    assert found["score"] == found["format"] + found["correctness"]
    assert all(type(value) is float and abs(value) < 1e6 for value in found.values())
    for component in ("legal", "name", "arg_keys", "arg_values", "parse_ok", "acc"):
        assert 0 <= found[component] <= 1


@pytest.mark.skipif(not TOOLRL_TEST.exists(), reason=f"needs ToolRL's test rows at {TOOLRL_TEST}")
def test_toolrls_own_ground_truths_are_read_and_score_the_maximum_against_themselves():
    pandas = pytest.importorskip("pandas")
    truths = [row["ground_truth"] for row in pandas.read_parquet(TOOLRL_TEST)["reward_model"]]
    assert len(truths) == 80
    for truth in truths:
        found = score(truth, truth, 75)
        assert found["score"] == pytest.approx(1.5 + (2.5 if "<tool_call>" in truth else 0.0)), truth
        assert found["acc"] == 1.0
        assert found["correctness"] == pytest.approx(reference_score(truth, truth, 75)[0], abs=1e-9)

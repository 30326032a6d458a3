"""The exported answers, judged by the official program."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
from bfcl_official import official_overall, official_verdicts
from saved_answers import RLLA, answers_to, right_texts, wrong_texts

from rest_verl.data.rows import turn_of_calls
from rest_verl.eval.bfcl_export import NO_SUCH_TOOL, export_bfcl
from rest_verl.eval.questions import BFCL_CATEGORIES, bfcl_questions
from rest_verl.eval.report import scores_of
from rest_verl.eval.score import outcomes_of, score_answers

pytest.importorskip("bfcl_eval", reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23")
pytest.importorskip("mpmath", reason="BFCL's MathAPI needs it")
pytest.importorskip("rank_bm25", reason="BFCL's key-value memory needs it")


AS_MODEL = "Qwen/Qwen3-8B-FC"
REFUSED = ("irrelevance", "live_relevance", "multiple", "multi_turn_base")


@pytest.fixture(scope="module")
def questions():
    """The first questions of each category."""
    return bfcl_questions(BFCL_CATEGORIES, limit=50)


def of(questions, category, number=0):
    return [question for question in questions if question.source == f"bfcl_{category}"][number]


def export(questions, answers, out):
    files = asyncio.run(export_bfcl(questions, answers, RLLA, out, AS_MODEL))
    return {entry["id"]: entry for path in files.values() for entry in map(json.loads, path.open(encoding="ascii"))}


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """Source text that makes a file, and the file."""
    path = tmp_path_factory.mktemp("code") / "it_ran"
    return f"open({str(path)!r}, 'w').close()", path


def hostile_texts(question, code):
    """Calls that are more than calls where they are evaluated, and then the right ones."""
    wide = "\uff46older"  # which Python reads as "folder"
    calls = [(f"{code} or ls", {}), ("ls", {f"a=1), {code}, (": 1}), ("ls", {"a": code}), ("cd", {wide: "x"})]
    return [*(turn_of_calls([call]) for call in calls), *right_texts(question)]


def overflowing_text(question):
    """A call with a number that the official checker cannot compare with a float."""
    truth = json.loads(question.row["reward_model"]["ground_truth"])
    ((name, accepted),) = truth["possible_answer"][0].items()
    schemas = truth["functions"][0]["parameters"]["properties"]
    arguments = {key: 10**400 if schemas[key]["type"] == "float" else values[0] for key, values in accepted.items()}
    assert 10**400 in arguments.values()
    return turn_of_calls([(name, arguments)])


@pytest.fixture(scope="module")
def judged(questions, code, tmp_path_factory):
    """Wrong answers and some special ones: our verdicts, the official ones, shares and overall score."""
    rng = random.Random(0)
    answers = {question.id: answers_to(question, wrong_texts(question, rng)) for question in questions}
    hostile, overflowing = of(questions, "multi_turn_base", 1), of(questions, "simple_python", 28)
    answers[hostile.id] = answers_to(hostile, hostile_texts(hostile, code[0]))
    answers[overflowing.id] = answers_to(overflowing, [overflowing_text(overflowing)])
    for number in range(1, 6):
        early = of(questions, "multi_turn_miss_func", number)
        answers[early.id] = answers_to(early, early_texts(early))
    for question in (of(questions, category) for category in REFUSED):
        answers[question.id] = [replace(answers_to(question, [""])[0], error="too long: <tool_call>")]
    given = [one for steps in answers.values() for one in steps]
    results, work = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("work")
    export(questions, given, results)
    scored = asyncio.run(score_answers(questions, given, RLLA))
    return scored, *official_verdicts(results, AS_MODEL, work), official_overall(work)


@pytest.fixture(scope="module")
def scored(judged):
    """Our verdicts."""
    return judged[0]


@pytest.fixture(scope="module")
def verdicts(judged):
    """Our verdicts and the official ones by id, and the official shares."""
    return {one.id: one.numbers["acc"] == 1 for one in judged[0]}, *judged[1:3]


@pytest.fixture(scope="module")
def overall(judged):
    """The official overall score."""
    return judged[3]


def test_the_official_program_gives_our_verdicts(questions, verdicts):
    ours, official, shares = verdicts
    assert official == ours
    assert len(shares) == 19
    for category, share in shares.items():
        of_category = [ours[question.id] for question in questions if question.source == f"bfcl_{category}"]
        assert share == pytest.approx(sum(of_category) / len(of_category))
        assert len(set(of_category)) == 2, f"{category}: both verdicts must occur, else nothing is compared"


def test_what_a_model_writes_is_never_run_by_the_official_program(questions, verdicts, code):
    ours, official, _ = verdicts
    id = of(questions, "multi_turn_base", 1).id
    assert ours[id] and official[id]
    assert not code[1].exists()


def test_refused_requests_are_wrong_for_both(questions, verdicts):
    ours, official, _ = verdicts
    ids = [of(questions, category).id for category in REFUSED]
    assert not any(ours[id] or official[id] for id in ids)


def test_an_answer_at_which_the_official_checker_stops_is_wrong_for_both(questions, verdicts):
    ours, official, _ = verdicts
    id = of(questions, "simple_python", 28).id
    assert not ours[id] and not official[id]


def early_texts(question):
    """A call of a tool that is held out, and then the right ones."""
    held_out = json.loads(question.row["extra_info"]["environment_kwargs"])["held_out"]
    return [turn_of_calls([(next(iter(held_out.values()))[0], {})]), *right_texts(question)]


def test_a_tool_that_is_held_out_is_exported_as_it_was_called(questions, tmp_path):
    """The official executor runs it, as our `acc` does."""
    asked = of(questions, "multi_turn_miss_func")
    unknown = turn_of_calls([("fly", {})])
    texts = [unknown, *early_texts(asked)]
    entry = export([asked], answers_to(asked, texts), tmp_path / "results")[asked.id]
    assert f'"name": "{NO_SUCH_TOOL}"' in entry["result"][0][0]
    assert '"name": "sort"' in entry["result"][0][1]
    assert entry["text"][0][:2] == texts[:2]


def test_the_overall_score_of_v4_is_the_official_one(questions, scored, overall):
    """Of the same answers; categories that cannot be asked here count as 0 in both."""
    groups = scores_of(outcomes_of(scored)).groups
    assert overall == f"{100 * groups['BFCL V4 Overall'].mean:.2f}%"
    assert 0 < groups["BFCL V4 Overall"].mean < groups["BFCL V3 Overall"].mean


def test_a_line_keeps_what_was_written_and_counted(questions, tmp_path):
    asked = of(questions, "multiple")
    (answer,) = answers_to(asked, ["I \ud800 see: <tool_call>\n{"])
    entry = export([asked], [replace(answer, prompt_tokens=7, completion_tokens=5)], tmp_path)[asked.id]
    assert entry == {
        "id": asked.id,
        "result": "",
        "text": [["I \ud800 see: <tool_call>\n{"]],
        "input_token_count": 7,
        "output_token_count": 5,
    }


def test_answers_of_several_seeds_are_refused(questions, tmp_path):
    asked = of(questions, "multiple")
    answers = [*answers_to(asked, ["a"], seed=0), *answers_to(asked, ["a"], seed=1)]
    with pytest.raises(ValueError, match="with the seeds 0, 1; choose one, a result file holds one"):
        asyncio.run(export_bfcl([asked], answers, RLLA, tmp_path, AS_MODEL))

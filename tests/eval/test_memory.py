"""Questions that begin with what other conversations left: the order of asking, replays, and BFCL's memory."""

import asyncio
import json
from functools import partial
from itertools import pairwise

import pytest
from scripted_endpoint import SYSTEM, Refusal, ScriptedEndpoint, turn
from typer.testing import CliRunner

from rest_verl.data.rows import RowEnvironment, make_row
from rest_verl.eval.answers import Answer, load_answers, open_log, save_answers
from rest_verl.eval.ask import ask_all
from rest_verl.eval.commands import app
from rest_verl.eval.endpoint import Endpoint, Sampling
from rest_verl.eval.questions import Question, bfcl_questions
from rest_verl.eval.score import score_answers
from rest_verl.eval.states import States
from rest_verl.formats import get_format
from rest_verl.rollout.environment import ENVIRONMENTS, NoEnvironment, Opening

RLLA = get_format("rlla")


class Diary(NoEnvironment):
    """`write` adds a word to what earlier conversations wrote; the score is its number of words, at most 1."""

    def __init__(self, words):
        super().__init__()
        self._words = list(words)

    async def reset(self):
        return Opening()

    async def call(self, name, arguments):
        self._words.append(arguments["word"])
        return "written"

    async def score(self):
        return {"score": min(len(self._words), 1)}

    def state(self):
        return list(self._words)


if "test_diary" not in ENVIRONMENTS.names():
    ENVIRONMENTS.add("test_diary", Diary)


def diary_row(id, index, words):
    prompt = [SYSTEM, {"role": "user", "content": f"{id}: {' '.join(words)}"}]
    return make_row("diary", index, id, "test", prompt, "", RowEnvironment("test_diary", {"words": words}))


def entry(index, after=None, judged=False):
    id = f"day{index}"
    row_after = None if after is None else partial(diary_row, id, index)
    known = None if after is None else ("diary", f"day{after}")
    return Question("diary", id, index, diary_row(id, index, []), known, row_after, judged)


# two diaries, of three days and of one, and a question about each
QUESTIONS = [entry(0), entry(1, 0), entry(2, 1), entry(3), entry(4, 2, judged=True), entry(5, 3, judged=True)]
BEGUN = ["day0: ", "day1: w0", "day2: w0 w1", "day3: ", "day4: w0 w1 w2", "day5: w3"]


def writing(body):
    """A model that writes the number of the day, once."""
    day, _, _ = body["messages"][1]["content"].partition(":")
    if body["messages"][-1]["role"] == "user":
        return turn(("write", {"word": f"w{day.removeprefix('day')}"}))
    return turn(said="Done.")


def ask(path, script=writing, seeds=1, concurrency=4):
    """Ask all; the requests that began a conversation."""

    async def run(url):
        async with Endpoint(url, "tiny", Sampling()) as endpoint:
            with open_log(path) as log:
                await ask_all(QUESTIONS, seeds, RLLA, endpoint, log, concurrency)

    with ScriptedEndpoint(script) as server:
        asyncio.run(run(server.url))
    return server, [body["messages"][1]["content"] for body in server.answered if len(body["messages"]) == 2]


@pytest.mark.parametrize("concurrency", [1, 2, 16])
def test_each_conversation_begins_with_what_the_one_before_left(tmp_path, concurrency):
    _, begun = ask(tmp_path / "a.jsonl", concurrency=concurrency, seeds=2)
    assert sorted(begun) == sorted(2 * BEGUN)
    if concurrency == 1:
        assert begun.index("day2: w0 w1") < begun.index("day5: w3"), "what others wait for comes first"


def test_only_judged_questions_are_scored_and_a_replay_begins_as_the_run(tmp_path):
    ask(tmp_path / "a.jsonl")
    states = States(QUESTIONS)
    scored = asyncio.run(score_answers(QUESTIONS, load_answers(tmp_path / "a.jsonl"), RLLA, states=states))
    assert [one.id for one in scored] == ["day4", "day5"]
    assert states.of_seed(0) == {"day0": ["w0"], "day1": ["w0", "w1"], "day2": ["w0", "w1", "w2"], "day3": ["w3"]}


def test_a_conversation_that_is_refused_leaves_what_it_began_with(tmp_path):
    """As on the leaderboard, where its memory is not written."""

    def failing(body):
        if len(body["messages"]) == 1:  # the endpoint is asked whether it answers anything
            return "yes"
        refused = body["messages"][1]["content"].startswith("day1") and body["messages"][-1]["role"] == "tool"
        return Refusal(400, "too long") if refused else writing(body)

    _, begun = ask(tmp_path / "a.jsonl", failing)
    assert "day2: w0" in begun and "day4: w0 w2" in begun
    states = States(QUESTIONS)
    asyncio.run(score_answers(QUESTIONS, load_answers(tmp_path / "a.jsonl"), RLLA, states=states))
    assert states.of_seed(0)["day1"] == ["w0"]


def test_a_run_that_broke_off_continues_with_the_same_states(tmp_path):
    path = tmp_path / "a.jsonl"
    ask(path)
    whole, answers = path.read_bytes(), load_answers(path)
    save_answers(path, answers[:3])
    server, _ = ask(path)
    assert len(server.answered) == len(answers) - 3
    assert path.read_bytes() == whole


def test_what_follows_a_missing_conversation_is_incomplete(tmp_path):
    ask(tmp_path / "a.jsonl")
    answers = [one for one in load_answers(tmp_path / "a.jsonl") if one.id != "day1"]
    with pytest.raises(ValueError, match="3 of 6 conversations are incomplete, such as diary, day1, seed 0"):
        asyncio.run(score_answers(QUESTIONS, answers, RLLA))


CATEGORY = "memory_rec_sum"


@pytest.fixture(scope="module")
def questions():
    pytest.importorskip("bfcl_eval", reason="needs BFCL's data: pip install --no-deps bfcl-eval==2026.3.23")
    return bfcl_questions([CATEGORY], limit=3)


def test_bfcls_conversations_come_before_the_questions_about_them(questions):
    assert [one.source for one in questions] == ["bfcl_memory_rec_sum_prereq"] * 10 + ["bfcl_memory_rec_sum"] * 3
    assert [one.judged for one in questions] == [False] * 10 + [True] * 3
    assert questions[0].after is None
    for before, one in pairwise(questions[:10]):
        assert one.after == before.key
    assert {one.after for one in questions[10:]} == {questions[9].key}
    assert [one.index for one in questions] == list(range(13))


def test_bfcls_memory_is_scored_from_a_file_of_answers(questions, tmp_path):
    """The model notes a name in the first conversation and an age in the third; asked for name, age and home it says
    what it knows. The memories are written for `rest-verl data bfcl --memory`."""
    texts = {}
    for number, question in enumerate(questions):
        noted = {0: "Michael.", 2: " He is 35."}.get(number)
        turns = len(json.loads(question.row["extra_info"]["environment_kwargs"])["turns"]) + 1
        calls = [turn(("memory_append", {"text": noted}))] if noted else []
        said = "Michael, 35" if question.judged else "Noted."
        texts[question.key] = [*calls, *[turn(said=said)] * turns]
    answers = [Answer(*key, 0, step, text) for key, steps in texts.items() for step, text in enumerate(steps)]
    save_answers(tmp_path / "answers.jsonl", answers)
    options = ["--format", "rlla", "--limit", "3", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["score", str(tmp_path / "answers.jsonl"), *options])
    assert done.exit_code == 0, done.output
    assert "prereq" not in done.stdout
    verdicts = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert [one["numbers"]["acc"] for one in verdicts] == [1, 1, 0]
    memories = [memory["memory"] for memory in json.loads((tmp_path / "out" / "memories.json").read_text()).values()]
    assert memories == ["Michael."] * 2 + ["Michael. He is 35."] * 8
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores["categories"]) == ["bfcl_memory_rec_sum"]
    assert scores["partial"]["BFCL V4 Overall"]["missing"][:2] == ["bfcl_simple_python", "bfcl_simple_java"]

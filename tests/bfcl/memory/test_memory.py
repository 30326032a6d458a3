"""BFCL's memory tasks: tools, judge, environment and rows are those of bfcl-eval, and nothing is shared."""

import asyncio
import importlib
import json
import random
from collections import Counter
from functools import cache

import pyarrow.parquet as pq
import pytest
from bfcl_calls import MISSING
from bfcl_memory_reference import Chain, ask_reference
from bfcl_multi_turn_reference import source_of
from tiers import in_full
from typer.testing import CliRunner

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)
pytest.importorskip("rank_bm25", reason="BFCL's key-value memory searches with it")

from rest_verl.bfcl.data.memories import read_memories, scripted_memories, write_memories
from rest_verl.bfcl.data.memory import MEMORY_CATEGORIES, bfcl_memory_rows, memory_tasks
from rest_verl.bfcl.memory.judge import final_message, mentions
from rest_verl.bfcl.memory.store import BACKENDS, MemoryStore, check_memory, empty_memory, text_of_memory
from rest_verl.cli import app
from rest_verl.config.reward import RewardConfig
from rest_verl.data.check import check_files
from rest_verl.formats import get_format
from rest_verl.reward.response import read_response
from rest_verl.reward.scorers import get_scorer
from rest_verl.reward.tool_reward import RewardAtStep, ToolReward
from rest_verl.rollout.environment import LeftToScorer, get_environment

HERMES = get_format("hermes")
KEYS = ("name", "home_city", "Bad Key", "a", "x_1", "coffee_order", "k9")
TEXTS = ("Michael", "Seattle, WA", "a" * 301, "a" * 2001, "b" * 9990, "", "17 %", "Michael lives in Seattle.", 7, None)
tasks_of = cache(memory_tasks)
scripted = cache(scripted_memories)


def some_call(backend, generator):
    """A call of a tool with arguments that are often wrong."""
    name = generator.choice(sorted(MemoryStore(backend, empty_memory(backend)).names()))
    # not the empty text, which ours refuses to replace where that would make the memory huge
    pool = {"key": KEYS, "query": (*KEYS, ""), "k": (1, 5, -1, "2", None), "old_text": ("Michael", "Seattle", 7, None)}
    given = {
        key: generator.choice(pool.get(key, TEXTS))
        for key in ("key", "value", "query", "k", "text", "old_text", "new_text")
        if key in _PARAMETERS[backend][name] and generator.random() < 0.97
    }
    return name, given


def _parameters(backend):
    docs = importlib.import_module("rest_verl.bfcl.data.memory")._docs(backend)
    return {doc["name"]: set(doc["parameters"]["properties"]) for doc in docs}


_PARAMETERS = {backend: _parameters(backend) for backend in BACKENDS}


def test_tools_memories_and_prompts_are_bfcl_evals_own(tmp_path):
    """Chains of conversations that hand their memory on: results of every call, what is kept, and what is shown."""
    generator = random.Random(0)
    made = [
        (backend, [[some_call(backend, generator) for _ in range(12)] for _ in range(3)])
        for backend in BACKENDS
        for _ in range(in_full(20, 200))
    ]
    chains = [Chain(backend, [[source_of(*call) for call in calls] for calls in chain]) for backend, chain in made]
    failed = Counter()
    for (backend, chain), their in zip(made, ask_reference(chains, tmp_path), strict=True):
        memory = empty_memory(backend)
        for calls, results, kept in zip(chain, their["results"], their["memories"], strict=True):
            store = MemoryStore(backend, memory)
            assert [store.call(*call) for call in calls] == results
            memory = store.memory()
            assert memory == kept
            failed.update("rror" in result for result in results)
        (task, *_) = [one for one in tasks_of(f"memory_{backend}") if one.accepted and one.scenario == "customer"]
        assert their["shown"].strip() in task.row(memory, 0, "hermes")["prompt"][0]["content"]
    assert min(failed.values()) > 100


def test_the_names_of_tools_are_those_of_bfcls_docs():
    for backend in BACKENDS:
        assert MemoryStore(backend, empty_memory(backend)).names() == set(_PARAMETERS[backend])


def checker():
    return importlib.import_module("bfcl_eval.eval_checker.agentic_eval.agentic_checker").agentic_checker


def mutated(text, generator):
    """An answer near a right one."""
    frame = generator.choice(
        ["{}", "It is {}.", "{{'answer': '{}', 'context': 'said so'}}", "x{}", "{}s", "17 {} 3", "({})"]
    )
    text = frame.format(text)
    for _ in range(generator.choice([0, 0, 1, 2])):
        position = generator.randrange(len(text) + 1)
        text = text[:position] + generator.choice(" ,./-_*^()'\"\nxX7ß") + text[position + generator.choice([0, 1]) :]
    return generator.choice([text, text.upper(), text.swapcase()])


def test_answers_are_judged_as_by_bfcl():
    """On the accepted values of all questions, and on 500 mutated ones."""
    generator, theirs = random.Random(0), checker()
    questions = [task for task in tasks_of("memory_kv") if task.accepted]
    for task in questions:
        assert mentions(task.accepted[0], task.accepted) == theirs(task.accepted[0], task.accepted)["valid"]
    verdicts = Counter()
    for number in range(500):
        accepted = questions[number % len(questions)].accepted
        text = mutated(generator.choice(accepted), generator)
        verdict = mentions(text, accepted)
        assert verdict == theirs(text, accepted)["valid"], text
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 100


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["<think>Seattle?</think>\n\nIt is Boston."], "It is Boston."),
        (["<think>It is Seattle, I th"], ""),  # cut off: nothing was answered
        (["Boston.", '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'], None),
        (['<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', "Boston"], "Boston"),
        (['<tool_call>\n{"name": '], None),
        ([], None),
    ],
)
def test_the_last_answer_without_reasoning_counts(texts, message):
    assert final_message(read_response([text.encode() for text in texts], HERMES)) == message


def scored(*texts, accepted=("Seattle",)):
    scorer = get_scorer("bfcl_memory_rec_sum")
    response = read_response([text.encode() for text in texts], HERMES)
    reward = RewardAtStep(ToolReward(RewardConfig(rules="strict")), step=0)
    return scorer.score(response, scorer.read(json.dumps(accepted)), reward)


def test_reciting_the_memory_is_right_but_earns_little():
    """60 words are free: of 600 words a tenth of the share is left."""
    assert (scored("Seattle")["acc"], scored("Seattle")["share"]) == (1, 1)
    recited = scored(" ".join(["word"] * 599 + ["Seattle"]))
    assert (recited["acc"], recited["share"]) == (1, pytest.approx(0.1))
    assert scored("Boston")["acc"] == scored("Boston")["share"] == 0
    assert recited["score"] < scored("Seattle")["score"]


@pytest.mark.parametrize("text", ["", "Seattle", "[]", "[1]", "{}", None])
def test_a_ground_truth_is_a_list_of_texts(text):
    with pytest.raises(ValueError, match="must be a JSON list of accepted texts"):
        get_scorer("bfcl_memory_kv").read(text)


def said(text):
    return [{"role": "user", "content": text}]


TELLS = {"backend": "rec_sum", "memory": {"memory": ""}, "turns": [said("b"), said("c")], "facts": [["35"], ["Rome"]]}


async def play(turns, task=TELLS):
    """(results, score, scores of turns, memory at the end) of calls by turn."""
    environment = get_environment("bfcl_memory")(**task)
    await environment.reset()
    results = []
    for number, calls in enumerate(turns):
        if number:
            assert await environment.next_user_turn() == task["turns"][number - 1]
        results += [await environment.call(name, arguments) for name, arguments in calls]
    score = await environment.score()
    state, turn_scores = environment.state(), environment.turn_scores()
    await environment.close()
    return results, score, turn_scores, state


def append(text):
    return "memory_append", {"text": text}


def test_a_conversation_earns_the_share_of_facts_that_it_keeps():
    _, score, turns, memory = asyncio.run(play([[append("I am 35. ")], [], [append("Home: Rome")]]))
    assert score == {"score": 1, "acc": 1, "facts_held": 2, "facts_due": 2}
    assert (turns, memory) == ([0.5, 0, 0.5], {"memory": "I am 35. Home: Rome"})
    _, score, turns, _ = asyncio.run(play([[append("I am 35.")], [("memory_clear", {})]]))
    assert score["score"] == score["acc"] == 0 and turns == [0.5, -0.5]


def test_a_question_is_left_to_the_scorer():
    task = {"backend": "rec_sum", "memory": {"memory": "Rome"}, "turns": [], "facts": None}
    results, score, turns, memory = asyncio.run(play([[("memory_retrieve", {})]], task))
    assert results == ['{"memory_content": "Rome"}']
    assert isinstance(score, LeftToScorer) and turns == [] and memory == {"memory": "Rome"}


def test_an_unknown_tool_is_none_of_the_memorys():
    for name in ("core_memory_add", "_load_scenario", "__init__", "memory"):
        with pytest.raises(KeyError):
            asyncio.run(play([[(name, {})]]))


def test_64_trajectories_at_once_are_as_one_by_one():
    """They begin with the same memory, which none of them changes for another."""
    memory = {"core_memory": {"name": "Michael"}, "archival_memory": {}}
    task = {"backend": "kv", "memory": memory, "turns": [said("b")], "facts": [["Michael"]]}
    generator = random.Random(0)
    all_turns = [[[some_call("kv", generator) for _ in range(8)] for _ in range(2)] for _ in range(64)]

    async def at_once():
        return await asyncio.gather(*(play(turns, task) for turns in all_turns))

    alone = [asyncio.run(play(turns, task)) for turns in all_turns]
    assert asyncio.run(at_once()) == alone
    assert memory == {"core_memory": {"name": "Michael"}, "archival_memory": {}}
    assert len({str(state) for *_, state in alone}) > 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "vector"}, "unknown memory backend of BFCL 'vector'"),
        ({"memory": {}}, "a memory of the backend rec_sum has the keys memory"),
        ({"memory": {"memory": {"a": "b"}}}, "memory: must be of the form ''"),
        ({"facts": []}, "at least one fact"),
        ({"facts": [[]]}, "at least one accepted value"),
        ({"turn": []}, "turn Unexpected keyword argument"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        get_environment("bfcl_memory")(**TELLS | changes)


def test_replacing_nothing_by_much_is_refused():
    """BFCL limits the new text alone: the empty text stands 10,001 times in a memory of 10,000 characters."""
    store = MemoryStore("rec_sum", {"memory": "a" * 10_000})
    result = store.call("memory_replace", {"old_text": "", "new_text": "b" * 10_000})
    assert result == "Error during execution: the memory would have more than 1,000,000 characters"
    assert store.memory() == {"memory": "a" * 10_000}


def test_lone_surrogates_do_not_leave_a_memory():
    store = MemoryStore("kv", empty_memory("kv"))
    store.call("core_memory_add", {"key": "a", "value": "\ud800"})
    assert store.memory()["core_memory"] == {"a": "\ufffd"}
    store.shown().encode()


def rows_of(category):
    return bfcl_memory_rows(scripted, [category], "hermes")


def kwargs_of(row):
    return json.loads(row["extra_info"]["environment_kwargs"])


@pytest.mark.parametrize("category", MEMORY_CATEGORIES)
def test_a_category_has_155_questions_and_37_conversations(category):
    rows = rows_of(category)
    assert Counter(row["data_source"] for row in rows) == {f"bfcl_{category}": 155, f"bfcl_{category}_prereq": 37}
    assert len({row["extra_info"]["id"] for row in rows}) == 192
    for task, row in zip(tasks_of(category), rows, strict=True):
        assert row["extra_info"]["id"] == task.id
        memory = kwargs_of(row)["memory"]
        assert memory == (scripted(category)[task.after] if task.after else empty_memory(task.backend))
        assert MemoryStore(task.backend, memory).shown().strip() in row["prompt"][0]["content"]
        assert row["prompt"][1:] == task.said[0] and kwargs_of(row)["turns"] == task.said[1:]


@pytest.mark.parametrize(("category", "held"), [("memory_kv", 140), ("memory_rec_sum", 135)])
def test_the_script_keeps_what_is_asked_for(category, held):
    """To the rest BFCL accepts only what the user did not say so, such as "08:00 AM" for "8 AM"."""
    questions = [task for task in tasks_of(category) if task.accepted]
    found = [mentions(text_of_memory(scripted(category)[task.after]), task.accepted) for task in questions]
    assert sum(found) == held
    for memory in scripted(category).values():
        check_memory(category.removeprefix("memory_"), memory)


def test_a_fact_is_told_in_the_conversation_that_bfcl_quotes():
    (first, *_) = [task for task in tasks_of("memory_kv") if task.scenario == "customer"]
    assert ["Michael"] in first.facts and ["Seattle"] in first.facts and ["MonoBean"] not in first.facts
    facts = [fact for task in tasks_of("memory_kv") for fact in task.facts]
    assert len(facts) == 137


def run(*arguments):
    return CliRunner().invoke(app, ["data", "bfcl", *map(str, arguments)])


def test_the_command_writes_rows_that_the_check_accepts(tmp_path):
    done = run("--memory", "--out", tmp_path / "out", "--format", "hermes")
    assert done.exit_code == 0, done.output
    files = [tmp_path / "out" / f"{side}.parquet" for side in ("train", "validation")]
    report = check_files(files)
    assert report.problems == [] and sum(file.rows for file in report.files) == 384
    sides = [
        {row["id"].removeprefix("memory_kv").removeprefix("memory_rec_sum") for row in table.to_pylist()}
        for table in (pq.read_table(file)["extra_info"] for file in files)
    ]
    assert len(sides[0]) + len(sides[1]) == 192, "a task is on one side with either backend"


def test_rows_begin_with_the_memories_of_a_run(tmp_path):
    written = {id: {"memory": f"after {id}"} for id in scripted("memory_rec_sum")}
    write_memories(tmp_path / "memories.json", written)
    assert read_memories(tmp_path / "memories.json") == written
    options = ["--memory", "--categories", "memory_rec_sum", "--memories", tmp_path / "memories.json"]
    assert run(*options, "--out", tmp_path / "out", "--validation-share", 0).exit_code == 0
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    (row,) = [row for row in rows if row["extra_info"]["id"] == "memory_rec_sum_0-customer-0"]
    assert kwargs_of(row)["memory"] == {"memory": "after memory_rec_sum_prereq_9-customer-9"}
    assert "after memory_rec_sum_prereq_9-customer-9" in row["prompt"][0]["content"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["sources"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not the memories of a run"),
        ('{"memory_kv_prereq_0-customer-0": {"memory": ""}}', "has the keys core_memory, archival_memory"),
        ('{"multiple_0": {}}', "multiple_0 is no conversation of memory_kv"),
    ],
)
def test_a_file_that_holds_no_memories_is_refused(tmp_path, text, message):
    (tmp_path / "memories.json").write_text(text)
    done = run("--memory", "--memories", tmp_path / "memories.json", "--out", tmp_path / "out")
    assert done.exit_code == 1 and message in done.stderr


def test_a_memory_that_is_missing_is_named(tmp_path):
    write_memories(tmp_path / "memories.json", {"memory_kv_prereq_0-customer-0": empty_memory("kv")})
    done = run("--memory", "--memories", tmp_path / "memories.json", "--out", tmp_path / "out")
    assert done.exit_code == 1 and "there is no memory of the conversation before it" in done.stderr

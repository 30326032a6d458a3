"""A trajectory sees nothing of any other, and leaves nothing behind."""

import asyncio
import copy
import decimal
import gc
import json
import random
import sys
import threading
import weakref

import psutil
import pytest
from bfcl_calls import MISSING
from tiers import in_full

from rest_verl.bfcl.multi_turn.apis import API_CLASSES, api_class, fresh_instance
from rest_verl.bfcl.multi_turn.executor import Executor
from rest_verl.rollout.environment import get_environment

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

from rest_verl.bfcl.data.multi_turn import bfcl_multi_turn_rows

AT_ONCE, OF_CLASS = in_full((96, 8), (512, 32))


@pytest.fixture(scope="module")
def tasks():
    """Arguments of so many environments, of which at least OF_CLASS involve each class."""
    rows = bfcl_multi_turn_rows(["multi_turn_base", "multi_turn_long_context"])
    known = [json.loads(row["extra_info"]["environment_kwargs"]) for row in rows]
    chosen = [random.Random(0).choice(known) for _ in range(AT_ONCE - OF_CLASS * len(API_CLASSES))]
    for name in API_CLASSES:
        chosen += [task for task in known if name in task["involved_classes"]][:OF_CLASS]
    return chosen[:AT_ONCE]


async def run(task, pause):
    """Run the ground truth of a task, some calls of it twice, and return all results and the score."""
    environment = get_environment("bfcl_multi_turn")(**task)
    await environment.reset()
    results = []
    for number, turn in enumerate(task["ground_truth"]):
        for call in turn + turn[: number % 2]:
            await pause()
            results.append(await environment.call(call["name"], call["arguments"]))
        await pause()
        await environment.next_user_turn()
    score = await environment.score()
    await environment.close()
    return results, score


async def run_all(tasks, seed):
    generator = random.Random(seed)

    async def pause():
        await asyncio.sleep(generator.choice([0, 0, 0.001, 0.003]))

    return await asyncio.gather(*(run(task, pause) for task in tasks))


async def run_one_by_one(tasks):
    async def pause():
        return None

    return [await run(task, pause) for task in tasks]


def alive():
    """How many instances of BFCL's classes there are."""
    gc.collect()
    classes = {api_class(name) for name in API_CLASSES}
    return sum(type(thing) in classes for thing in gc.get_objects())


def test_trajectories_at_once_equal_those_one_by_one(tasks):
    """And leave no instance and no memory."""
    assert all(sum(name in task["involved_classes"] for task in tasks) >= OF_CLASS for name in API_CLASSES)
    one_by_one = asyncio.run(run_one_by_one(tasks))
    before = alive()
    memory = psutil.Process().memory_info().rss
    for seed in range(2):
        assert asyncio.run(run_all(tasks, seed)) == one_by_one
    assert alive() == before
    assert psutil.Process().memory_info().rss < 1.1 * memory


def test_a_closed_environment_holds_no_instance(tasks):
    async def make_and_close():
        environment = get_environment("bfcl_multi_turn")(**tasks[0])
        await environment.reset()
        instances = [weakref.ref(one) for one in environment._judged._acting._instances.values()]
        await environment.close()
        return environment, instances

    _, instances = asyncio.run(make_and_close())
    gc.collect()
    assert instances and not any(instance() for instance in instances)


def test_padding_that_a_booking_changes_is_not_shared():
    first, second = (Executor(["TravelAPI"], {}, long_context=True) for _ in range(2))
    before = copy.deepcopy(second.states())
    for state in first.states()["TravelAPI"]["credit_card_list"].values():
        state["balance"] = -1
    assert second.states() == before
    assert Executor(["TravelAPI"], {}, long_context=True).states() == before


def test_default_arguments_that_are_lists_are_shared_by_the_calls_of_one_trajectory_alone():
    def mentions(executor):
        executor.call("post_tweet", {"content": "first"})
        executor.call("mention", {"tweet_id": 0, "mentioned_usernames": ["@a"]})
        return json.loads(executor.call("post_tweet", {"content": "second"}))["mentions"]

    config = {"TwitterAPI": {"authenticated": True}}
    assert mentions(Executor(["TwitterAPI"], config, False)) == ["@a"]  # as the class has it
    assert mentions(Executor(["TwitterAPI"], config, False)) == ["@a"]
    assert api_class("TwitterAPI").post_tweet.__defaults__ == ([], [])


def test_the_scenario_and_the_arguments_stay_as_they_are():
    config = {"TwitterAPI": {"authenticated": True, "tweets": {}, "following_list": []}}
    arguments = {"content": "c", "mentions": []}
    executor = Executor(["TwitterAPI"], config, False)
    executor.call("post_tweet", arguments)
    executor.call("mention", {"tweet_id": 0, "mentioned_usernames": ["@a"]})
    executor.call("follow_user", {"username_to_follow": "b"})
    assert config == {"TwitterAPI": {"authenticated": True, "tweets": {}, "following_list": []}}
    assert arguments == {"content": "c", "mentions": []}
    config = {"TravelAPI": {"credit_card_list": {}, "booking_record": {}}}
    Executor(["TravelAPI"], config, long_context=True)  # pads what it is given
    assert config == {"TravelAPI": {"credit_card_list": {}, "booking_record": {}}}


@pytest.fixture
def eager_threads():
    """Threads that take turns at every chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_precision_counts_for_its_own_call_and_no_thread_sees_that_of_another(eager_threads):
    mpmath = pytest.importorskip("mpmath")
    executor = Executor(["MathAPI"], {}, False)

    def logarithm(digits):
        return executor.call("logarithm", {"value": 7, "base": 3, "precision": digits})

    expected = {digits: logarithm(digits) for digits in (2, 5, 30, 200)}
    assert len(set(expected.values())) == 4
    wrong = []

    def repeat(digits):
        wrong.extend(digits for _ in range(200) if logarithm(digits) != expected[digits])

    threads = [threading.Thread(target=repeat, args=[digits]) for digits in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    executor.call("square_root", {"number": 2, "precision": 50})
    assert (mpmath.mp.dps, decimal.getcontext().prec) == (15, 28)


def test_instances_of_one_scenario_are_equal_and_share_nothing():
    config = {"root": {"a": {"type": "directory", "contents": {"f": {"type": "file", "content": "x"}}}}}
    one, other = (fresh_instance("GorillaFileSystem", config, False) for _ in range(2))
    assert one == other
    one.rm("f")
    assert one != other

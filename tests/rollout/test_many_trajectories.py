"""Trajectories beside each other: none sees, delays or outlives another."""

import asyncio
import gc
import random
import threading
import tracemalloc
import weakref

import pytest
from desk import bare
from tiers import HANG_GUARD, in_full
from transformers.utils import get_json_schema
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema

from rest_verl.rollout.environment import get_environment

DESK = get_environment("desk")
TOGETHER = in_full(64, 512)


def story(call, number):
    """What trajectory `number` does: it writes what is its own and reads it again."""
    own = f"note of {number}"
    return [
        call("write", key="a", text=own) + call("read", key="a"),
        "noted",
        call("fly") if number % 3 else call("read", key="a"),
        "done",
    ]


def test_many_trajectories_are_those_run_one_by_one(start, call):
    def begin(number, wait=None):
        desk = {"says": [f"And {number}?"], "parallel": False}
        return start(story(call, number), desk=desk, wait=wait, prompt=f"Begin {number}.")[1]

    async def together():
        rng = random.Random(0)
        return await asyncio.gather(
            *(begin(number, lambda: asyncio.sleep(rng.random() / 50)) for number in range(TOGETHER))
        )

    async def one_by_one():
        return [await begin(number) for number in range(TOGETHER)]

    side_by_side, alone = asyncio.run(together()), asyncio.run(one_by_one())
    assert [bare(output) for output in side_by_side] == [bare(output) for output in alone]
    assert all(f"note of {n}" in str(output.extra_fields) for n, output in enumerate(alone))


def test_nothing_is_left_of_a_trajectory_that_has_ended(start, call):
    async def run():
        outputs = await asyncio.gather(
            *(
                start([call("crash"), call("wait", seconds=9), "done"], "rest.rollout.call_seconds=0.05", desk={})[1]
                for _ in range(64)
            )
        )
        return len(outputs)

    asyncio.run(run())
    left = [weakref.ref(desk) for desk in DESK.made]
    assert len(left) == 64 and all(ref().log[-1] == "close" for ref in left)
    DESK.made.clear()
    gc.collect()
    assert not [ref for ref in left if ref() is not None]


def test_memory_comes_back(start, call):
    """Bytes that a trajectory leaves behind once caches are full; it holds many thousands while it runs. What verl's
    timers keep of each measurement is not counted."""

    count = in_full(24, 128)

    def play_round():
        async def run():
            await asyncio.gather(*(start(story(call, n), desk={"says": ["And?"]})[1] for n in range(count)))

        asyncio.run(run())
        DESK.made.clear()
        gc.collect()
        taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*codetiming*")])
        return sum(trace.size for trace in taken.traces)

    tracemalloc.start()
    try:
        play_round()
        first, second = play_round(), play_round()
    finally:
        tracemalloc.stop()
    assert (second - first) / count < in_full(2000, 500)  # of few, what is kept once is more of each


def hanging_tools(released):
    """A blocking function tool of verl's that hangs until it is released."""

    def hang() -> str:
        """Hang."""
        released.wait(HANG_GUARD)
        return "late"

    schema = OpenAIFunctionToolSchema.model_validate(get_json_schema(hang))
    return [FunctionTool("hang", hang, schema)]


@pytest.mark.parametrize("kind", ["environment", "verl's tool"])
def test_tools_that_hang_delay_no_other_trajectory(start, call, kind):
    """More of them than the event loop's pool has threads, in which verl tokenises; they hang on when their calls have
    timed out, until every trajectory has ended."""
    released = threading.Event()

    async def run():
        soon, patient = "rest.rollout.call_seconds=0.5", f"rest.rollout.call_seconds={HANG_GUARD}"
        if kind == "environment":
            hanging = [start([call("stubborn"), "ok"], soon, desk={})[1] for _ in range(64)]
        else:
            tools = hanging_tools(released)
            hanging = [start([call("hang"), "ok"], soon, tools=tools)[1] for _ in range(64)]
        tasks = [asyncio.create_task(one) for one in hanging]
        await asyncio.sleep(0.1)
        others = [await start([call("say", text="x"), "done"], patient, desk={})[1] for _ in range(5)]
        return [
            [output.extra_fields["rest_turn_table"][0]["calls"][0]["error"] for output in outputs]
            for outputs in (others, await asyncio.gather(*tasks))
        ]

    try:
        others, hanging = asyncio.run(run())
    finally:
        released.set()
    assert others == [None] * 5 and hanging == ["timeout"] * 64


@pytest.mark.parametrize("breaks_in", ["reset", "call say", "user", "score", "close"])
def test_the_environment_is_closed_whatever_breaks(start, call, breaks_in):
    async def run():
        return await start([call("say", text="x"), "done"], desk={"breaks_in": breaks_in})[1]

    if breaks_in in ("call say", "close"):  # the model reads of the one, the log of the other
        asyncio.run(run())
    else:
        with pytest.raises(RuntimeError, match=f"{breaks_in} is broken"):
            asyncio.run(run())
    assert DESK.made[-1].log[-1] == "close"
    assert DESK.made[-1].log.count("close") == 1


@pytest.mark.parametrize("while_in", ["engine", "call"])
def test_the_environment_is_closed_when_the_trajectory_is_cancelled(start, call, while_in):
    async def forever():
        await asyncio.Event().wait()

    async def run():
        turns = [call("wait", seconds=60), "done"]
        _, running = start(turns, desk={}, wait=forever if while_in == "engine" else None)
        task = asyncio.create_task(running)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    log = DESK.made[-1].log
    assert log[-1] == "close" and "score" not in log and not [what for what in log if what.startswith("waited")]


def test_the_environment_is_closed_when_the_engine_fails(start):
    async def run():
        await start([], desk={})[1]

    with pytest.raises(IndexError):
        asyncio.run(run())
    assert DESK.made[-1].log == ["reset", "close"]

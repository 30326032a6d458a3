"""A desk full of tools, well and badly behaved, and trajectories on it with a scripted engine in verl's real loop."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import tiny_model
from scripted_engine import ScriptedEngine, compose_config, make_loop

import rest_verl.rollout.agent_loop  # noqa: F401  registers the loop
from rest_verl.rollout.environment import Opening, ToolError, register_environment

TEXTS = ["Please write down what you read. <tool_call> </tool_call> {} error tool\n" * 3, '{"name": "read"}\n' * 3]
SETTINGS = (
    "rest.format=hermes",
    "rest.dump_dir=records",  # the loop writes no file: it gives a trajectory its turn table
    "actor_rollout_ref.rollout.prompt_length=2048",
    "actor_rollout_ref.rollout.response_length=20000",
    "actor_rollout_ref.rollout.multi_turn.max_parallel_calls=8",
)


@register_environment("desk")
@dataclass(eq=False)
class Desk:
    """Notes that are written and read, and tools that misbehave."""

    says: list[str] = field(default_factory=list)
    parallel: bool = False
    tools: list[dict] = field(default_factory=list)
    opens_with: list[dict] = field(default_factory=list)
    points: dict = field(default_factory=lambda: {"score": 1.0})
    breaks_in: str = ""
    notes: dict[str, str] = field(default_factory=dict, init=False)
    log: list[str] = field(default_factory=list, init=False)

    made = []  # all of them, emptied by the fixture

    def __post_init__(self):
        Desk.made.append(self)

    def _happens(self, what):
        self.log.append(what)
        if what == self.breaks_in:
            raise RuntimeError(f"{what} is broken")

    async def reset(self):
        self._happens("reset")
        return Opening(self.opens_with, self.tools)

    async def call(self, name, arguments):
        self._happens(f"call {name}")
        tools = {key.removeprefix("tool_"): getattr(self, key) for key in dir(type(self)) if key.startswith("tool_")}
        return await tools[name](**arguments)

    async def tool_write(self, key, text):
        self.notes[key] = text
        return "written"

    async def tool_read(self, key):
        return self.notes[key]

    async def tool_say(self, text):
        return text

    async def tool_long(self, length):
        return "x" * length

    async def tool_refuse(self):
        raise ToolError("the desk is locked\nand a second line")

    async def tool_crash(self):
        raise ValueError("boom " * 100_000 + "\nTraceback secret")

    async def tool_exit(self):
        raise SystemExit(1)

    async def tool_number(self):
        return 7

    async def tool_wait(self, seconds):
        await asyncio.sleep(seconds)
        self.log.append(f"waited {seconds}")
        return "waited"

    async def tool_stubborn(self):
        for _ in range(2):  # it ignores the loop's cancellation and gives way to the end of the process
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.log.append("not yet")
        return "late"

    async def next_user_turn(self):
        self._happens("user")
        return [{"role": "user", "content": self.says.pop(0)}] if self.says else None

    async def score(self):
        self._happens("score")
        return self.points

    async def close(self):
        self._happens("close")


@register_environment("graded desk")
@dataclass(eq=False)
class GradedDesk(Desk):
    """A desk that grades the user's turns."""

    grades: object = None

    def turn_scores(self):
        return self.grades


def bare(output):
    """An output without what a clock measured."""
    fields = dict(output.extra_fields)
    fields["rest_rollout"] = {key: value for key, value in fields["rest_rollout"].items() if "seconds" not in key}
    fields["rest_turn_table"] = [
        {**turn, "seconds": 0, "calls": [{**call, "seconds": 0} for call in turn["calls"]]}
        for turn in fields["rest_turn_table"]
    ]
    return output.prompt_ids, output.response_ids, output.response_mask, fields


@register_environment("named desk")
@dataclass(eq=False)
class NamedDesk(Desk):
    """A desk whose state is how many notes lie on it."""

    name: object = None

    def state_name(self):
        return self.name or f"{len(self.notes)} notes"


@pytest.fixture(scope="session")
def chat():
    """A small tokenizer with a chat template."""
    return tiny_model.train_tokenizer(TEXTS, 320)


@pytest.fixture(scope="session")
def config_of():
    """Function from overrides to the config of a run."""
    made = {}

    def get(*overrides):
        if overrides not in made:
            made[overrides] = compose_config(*SETTINGS, *overrides)
        return made[overrides]

    return get


@pytest.fixture
def call(chat):
    """Function from a tool's name and arguments to the ids of a call."""

    def ids(name, /, **arguments):
        text = json.dumps({"name": name, "arguments": arguments})
        return chat.encode(f"<tool_call>\n{text}\n</tool_call>", add_special_tokens=False)

    return ids


@pytest.fixture
def start(chat, config_of):
    """Function from turns to an engine and a coroutine that runs a trajectory on a desk; inside of an event loop."""
    Desk.made.clear()

    def begin(turns, *overrides, desk=None, tools=(), wait=None, prompt="Begin.", log_probs=True, extra=(), **row):
        turns = [chat.encode(turn, add_special_tokens=False) if isinstance(turn, str) else turn for turn in turns]
        engine = ScriptedEngine(turns, chat.eos_token_id, log_probs, wait)
        info = {"index": 0} | row | dict(extra)
        if desk is not None:
            info |= {"environment": "desk", "environment_kwargs": json.dumps(desk)}
        loop = make_loop(config_of(*overrides), chat, engine, tools=tools)
        return engine, loop.run({}, raw_prompt=[{"role": "user", "content": prompt}], extra_info=info)

    yield begin
    Desk.made.clear()


@pytest.fixture
def play(start):
    """Function from turns to what a whole trajectory gives: its output, fields, table, engine and desk."""

    def run(turns, *overrides, desk=(), **options):
        async def trajectory():
            engine, running = start(turns, *overrides, desk=None if desk is None else dict(desk), **options)
            return engine, await running

        engine, output = asyncio.run(trajectory())
        outputs = output if isinstance(output, list) else [output]
        fields = outputs[-1].extra_fields
        return SimpleNamespace(
            output=output,
            fields=fields,
            table=fields["rest_turn_table"],
            calls=[call for turn in fields["rest_turn_table"] for call in turn["calls"]],
            numbers=fields["rest_rollout"],
            ended_by=[key for key, value in fields["rest_rollout"].items() if key.startswith("ended_by") and value],
            engine=engine,
            desk=Desk.made[-1] if Desk.made else None,
        )

    return run


def side_by_side_and_alone(begin, count):
    """The outputs of so many trajectories that run at the same time, each with pauses of its own, and of the same ones
    one after the other. `begin(number, wait=None)` starts one."""

    async def together():
        rng = random.Random(0)
        waits = [rng.random() / 50 for _ in range(count)]
        return await asyncio.gather(
            *(begin(number, lambda wait=wait: asyncio.sleep(wait)) for number, wait in enumerate(waits))
        )

    async def one_by_one():
        return [await begin(number) for number in range(count)]

    return asyncio.run(together()), asyncio.run(one_by_one())

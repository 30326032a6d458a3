"""An OpenAI-compatible HTTP server on this machine whose answers a test writes, and questions that need no benchmark:
single-turn ones, and a dialogue about a sum."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rest_verl.data.rows import RowEnvironment, make_row
from rest_verl.eval.questions import Question
from rest_verl.rollout.environment import ENVIRONMENTS, NoEnvironment, Opening, ToolError

Body = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error."""

    status: int
    message: str


class ScriptedEndpoint:
    """A server in a thread, from `with` to its end.

    Attributes:
        url: what --base-url takes.
        answered: the bodies of the requests that got an answer, in order.
        refused: of those that got an error.
        keys: that were sent.
        hold_after: after so many answers, requests are held back; None for never.
        held: set once one was.
    """

    def __init__(self, script: Callable[[Body], str | Body | Refusal], models: tuple[str, ...] = ("tiny",)):
        """
        Args:
            script: from a request's body to the text of the answer, to the answer's message, or to an error.
            models: that it serves.
        """
        self._script = script
        self._models = models
        self.answered: list[Body] = []
        self.refused: list[Body] = []
        self.keys: set[str | None] = set()
        self.hold_after: int | None = None
        self.held = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "ScriptedEndpoint":
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _list(self, request: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in self._models]
        return web.json_response({"object": "list", "data": models})

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.keys.add(request.headers.get("Authorization"))
        if self.hold_after is not None and len(self.answered) >= self.hold_after:
            self.held.set()
            await asyncio.sleep(3600)
        said = self._script(body)
        if isinstance(said, Refusal):
            self.refused.append(body)
            return web.json_response({"error": {"message": said.message, "code": said.status}}, status=said.status)
        self.answered.append(body)
        message = {"role": "assistant", **(said if isinstance(said, dict) else {"content": said})}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(str(body["messages"])), "completion_tokens": 1, "total_tokens": 1}
        return web.json_response({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


SYSTEM = {"role": "system", "content": "Tools."}


def turn(*calls: tuple[str, dict[str, Any]], said: str = "") -> str:
    """A turn in the format rlla."""
    block = "\n".join(json.dumps({"name": name, "parameters": arguments}) for name, arguments in calls)
    text = f"<think> t </think>\n<tool_call>\n{block}\n</tool_call>" if calls else "<think> t </think>"
    return f"{text}\n<response> {said} </response>" if said else text


class Sum(NoEnvironment):
    """The user names numbers, one a turn; `add` adds to a sum, which must be right at the end of every turn."""

    def __init__(self, numbers: list[int]):
        super().__init__()
        self._numbers, self._turn, self._sum, self._right, self.closed = numbers, 0, 0, 0, False

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if name != "add":
            raise KeyError(name)
        if arguments.get("number") == 13:
            raise ToolError("not that one")
        if arguments.get("number") == "surrogate":
            return "\ud800"
        self._sum += arguments["number"]
        return str(self._sum)

    async def next_user_turn(self) -> list[dict[str, Any]] | None:
        self._judge()
        self._turn += 1
        return [ask(self._numbers[self._turn])] if self._turn < len(self._numbers) else None

    async def score(self) -> dict[str, float]:
        if self._turn < len(self._numbers):
            self._judge()
        return {"score": self._right / len(self._numbers), "turns_right": float(self._right)}

    def _judge(self) -> None:
        self._right += self._sum == sum(self._numbers[: self._turn + 1])


if "test_sum" not in ENVIRONMENTS.names():
    ENVIRONMENTS.add("test_sum", Sum)


def ask(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"Add {number}."}


def sum_question(*numbers: int, index: int = 0) -> Question:
    """A dialogue."""
    id = f"sum_{'_'.join(map(str, numbers))}"
    environment = RowEnvironment("test_sum", {"numbers": list(numbers)})
    return Question("sum", id, index, make_row("sum", index, id, "test", [SYSTEM, ask(numbers[0])], "", environment))


def single_question(number: int, index: int = 0) -> Question:
    """A question that asks for one call of `add`."""
    id = f"single_{number}"
    row = make_row("single", index, id, "test", [SYSTEM, ask(number)], turn(("add", {"number": number})))
    return Question("single", id, index, row)


def right_answer(messages: list[dict[str, Any]]) -> str:
    """What a model that makes no mistake answers."""
    last = messages[-1]
    if last["role"] == "tool":
        return turn(said=f"The sum is {last['content']}.")
    return turn(("add", {"number": int(last["content"].removeprefix("Add ").rstrip("."))}))

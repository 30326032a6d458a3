"""An OpenAI-compatible HTTP server on this machine whose answers a test writes."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

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

"""The whole application over an engine with adapters, whose answers tell what it was asked and by which weights."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from autoconfig.settings import AdapterSettings, SessionSettings
from handlers.formatters.scripts import Scripts
from tests.handlers.asgi import FakeEngine, Request, Response, application, in_progress
from tests.handlers.lora import FakeLora, write_adapter
from tests.timing import LONG_SECONDS

HEADER = "x_amzn_sagemaker_adapter_identifier"


@dataclass
class AdaptedEngine(FakeEngine):
    """An engine whose adapters are a FakeLora's."""

    lora: FakeLora = field(default_factory=FakeLora)
    at_once: int = 0
    most_at_once: int = 0
    """How many requests it has worked on at a time."""

    async def load_adapter(self, key: str, number: int, directory: str) -> None:
        await self.lora.load_adapter(key, number, directory)

    async def unload_adapter(self, key: str, number: int) -> None:
        await self.lora.unload_adapter(key, number)


def echoes() -> AdaptedEngine:
    """Return an engine that answers each prompt with itself and the model's name; `wait` in a prompt never ends."""

    async def answer(scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        engine.at_once += 1
        engine.most_at_once = max(engine.most_at_once, engine.at_once)
        await asyncio.sleep(0.01)
        engine.at_once -= 1
        asked = json.loads(body or b"{}")
        model = asked.get("model") or "tiny"
        prompts = asked.get("prompt") or asked.get("messages") or ""
        prompts = prompts if isinstance(prompts, list) else [prompts]
        if any("wait" in str(prompt) for prompt in prompts):
            await receive()
            return
        choices = [
            {"index": index, "text": f"{prompt} by {model}", "finish_reason": None if asked.get("stream") else "stop",
             "token_ids": None, "logprobs": None}
            for index, prompt in enumerate(prompts)
        ]  # fmt: skip
        told = {"path": scope["path"], "model": model, "choices": choices}
        if asked.get("stream"):
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for event in (json.dumps(told), json.dumps(told), "[DONE]"):
                await send({"type": "http.response.body", "body": f"data: {event}\n\n".encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        status = 400 if "refuse" in str(prompts) else 200
        refusal = {"error": {"message": f"The model `{model}` refuses.", "code": 400}}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told if status == 200 else refusal).encode()})

    engine = AdaptedEngine(answer)
    return engine


class Server:
    """An application with adapters below a directory: those of `names`, registered when it is entered."""

    def __init__(
        self,
        root: Path,
        names: str = "ab",
        *,
        slots: int = 2,
        sessions: SessionSettings | None = None,
        script: Scripts | None = None,
        **settings: Any,
    ) -> None:
        self.root = root
        self.slots = slots
        self.engine = echoes()
        adapters = AdapterSettings(slots, slots, 16, (str(root),))
        self.app = application(self.engine, adapters=adapters, sessions=sessions, script=script, **settings)
        self._names = names

    async def __aenter__(self) -> "Server":
        for number, name in enumerate(self._names):
            write_adapter(self.root / name, value=number)
            assert (await self.register(name)).status == 200
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing of any request is left: every adapter can be removed."""
        for name in self._names:
            if (await self.ask(b"", f"/adapters/{name}", "GET")).status == 200:
                assert (await self.ask(b"", f"/adapters/{name}", "DELETE")).status == 200
        assert self.engine.lora.held == {}

    async def register(self, name: str, **headers: str) -> Response:
        return await self.ask(b"", f"/adapters?name={name}&src={self.root / name}", **headers)

    async def ask(self, body: Any, path: str = "/invocations", method: str = "POST", **headers: str) -> Response:
        async with self.asking(body, path, method, **headers) as request:
            pass
        return request.response

    @asynccontextmanager
    async def asking(
        self, body: Any, path: str = "/invocations", method: str = "POST", **headers: str
    ) -> AsyncIterator[Request]:
        async with in_progress(self.app, body, path, method, True, **headers) as request:
            yield request

    async def step(self) -> None:
        """Let the engine's call that is under way, or the next one, end."""
        await until(lambda: self.engine.lora.pending)
        self.engine.lora.step()

    @property
    def asked(self) -> list[Any]:
        """The bodies the engine has seen."""
        return [json.loads(body) for _, body in self.engine.calls]


async def until(met: Callable[[], object]) -> None:
    while not met():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.001)


def serving(test: Callable[[Server], Awaitable[None]], root: Path, **settings: Any) -> None:
    """Run a test over a Server."""

    async def within() -> None:
        async with asyncio.timeout(LONG_SECONDS), Server(root, **settings) as server:
            await test(server)

    asyncio.run(within())

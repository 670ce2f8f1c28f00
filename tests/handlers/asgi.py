"""Drives the application as a front end would, and stands in for vLLM's application where a test needs its timing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoconfig.settings import AdapterSettings, ServingSettings, SessionSettings
from handlers.adapters.registry import Adapters
from handlers.adapters.routes import AdapterRoutes
from handlers.app import Application
from handlers.formatters.scripts import Scripts
from handlers.inference import Extensions, Inference
from handlers.invocations import Invocations, Task
from handlers.metrics import RequestMetrics
from handlers.sessions.registry import Sessions
from handlers.tgi_reply import TokenNames
from tests.timing import LONG_SECONDS


@dataclass
class FakeEngine:
    """An engine whose application is the test's; `calls` are the requests that reached it."""

    answer: Callable[[Scope, Receive, Send, bytes], Awaitable[None]]
    tokenizer: Any = None
    vocabulary_size: int = 1000
    version: str = "0"
    died: bool = False
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    formatting_tokenizer: Any = None
    weights_directory: Path | None = None

    async def load_adapter(self, key: str, number: int, directory: str) -> None:
        pass

    async def unload_adapter(self, key: str, number: int) -> None:
        pass

    def dead(self) -> bool:
        return self.died

    @property
    def app(self) -> ASGIApp:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            body = (await receive())["body"]
            self.calls.append((scope["path"], body))
            await self.answer(scope, receive, send, body)

        return application


def answers(body: Any, status: int = 200) -> FakeEngine:
    """Return an engine that gives every request one JSON body."""

    async def answer(_scope: Scope, _receive: Receive, send: Send, _body: bytes) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    return FakeEngine(answer)


def streams(*events: str, pause: bool = False) -> FakeEngine:
    """Return an engine that streams events; with `pause` it then waits until the request is ended."""

    async def answer(_scope: Scope, receive: Receive, send: Send, _body: bytes) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in events:
            await send({"type": "http.response.body", "body": f"data: {event}\n\n".encode(), "more_body": True})
        if pause:
            await receive()
        await send({"type": "http.response.body", "body": b""})

    return FakeEngine(answer)


def never_answers() -> FakeEngine:
    """Return an engine that works until its request is ended, and then answers as vLLM does: 200 `null`."""

    async def answer(_scope: Scope, receive: Receive, send: Send, _body: bytes) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"null"})

    return FakeEngine(answer)


def application(
    engine: FakeEngine,
    *,
    adapters: AdapterSettings | None = None,
    sessions: SessionSettings | None = None,
    script: Scripts | None = None,
    metrics: RequestMetrics | None = None,
    task: Task = "generate",
    **settings: Any,
) -> Application:
    """Return the application over an engine, with settings that differ from the defaults."""
    serving, names = ServingSettings(**settings), ("tiny", "lmi")
    registry = Adapters(adapters, engine, names, None) if adapters else None
    invocations = Invocations(serving, task, TokenNames(engine.tokenizer))
    extensions = Extensions(Sessions(sessions), registry, script, tokenizer=engine.formatting_tokenizer)
    inference = Inference(engine, serving, names, invocations, extensions)
    metrics = metrics or RequestMetrics(CollectorRegistry(), serving.max_concurrent_requests)
    return Application(engine, serving, inference, AdapterRoutes(registry, names), metrics)


@dataclass
class Response:
    """What a caller saw."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["error"]["message"])


class Request:
    """One request in progress; `leave` closes the caller's side."""

    def __init__(self, body: bytes, complete: bool) -> None:
        self.response = Response()
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": not complete})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.response.status = message["status"]
            self.response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["body"]:
            self.response.chunks.append(message["body"])


def scope_of(method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the ASGI scope a front end makes of a request line and its headers."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


@asynccontextmanager
async def in_progress(
    app: Application,
    body: Any,
    path: str = "/invocations",
    method: str = "POST",
    complete: bool = True,
    **headers: str,
) -> AsyncIterator[Request]:
    """Start a request and yield it while it runs; on leaving, wait for its end."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(raw, complete)
    task = asyncio.create_task(
        app(scope_of(method, path, {"content_type": "application/json"} | headers), request.receive, request.send)
    )
    await asyncio.sleep(0.01)
    yield request
    await asyncio.wait_for(task, LONG_SECONDS)


def call(
    app: Application, body: Any = b"", path: str = "/invocations", method: str = "POST", **headers: str
) -> Response:
    """Make one request from start to end."""

    async def run() -> Response:
        async with in_progress(app, body, path, method, True, **headers) as request:
            pass
        return request.response

    return asyncio.run(run())

"""Drives a reply of vLLM's through the formatters of a script, and holds what a caller saw of it."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from starlette.types import Message

from handlers.exchange import Exchange
from handlers.formatters import scripts
from handlers.formatters.formatting import Formatters, RequestContext
from handlers.formatters.scripts import Scripts
from handlers.reply import Reply
from handlers.streams import Rewrite

EXAMPLES = Path(__file__).parent / "lmi_examples"


def written(directory: Path, text: str) -> Path:
    """Write a model.py and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "model.py"
    file.write_text(dedent(text), encoding="utf-8")
    return file


def loaded(directory: Path, text: str) -> Scripts:
    """Write a model.py and load it."""
    return scripts.load(written(directory, text))


def example(name: str) -> Scripts:
    """Load one of LMI's own."""
    scripts.provide_djl_python()
    return scripts.load_base(EXAMPLES / name / "model.py")


@dataclass
class Caller:
    """A caller's side of one exchange."""

    method: str = "POST"
    query: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    reply_headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    ended: bool = False
    stopped: bool = False
    """The engine was made to stop."""
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def exchange(self) -> Exchange:
        scope = {
            "type": "http",
            "method": self.method,
            "path": "/invocations",
            "query_string": self.query,
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
        }
        return Exchange(scope, self._receive, self._send, time.monotonic)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """Return the values of JSON lines, or of events; `[DONE]` as that text."""
        parts = [line.removeprefix("data: ") for line in self.body.decode().splitlines() if line]
        return [part if part == "[DONE]" else json.loads(part) for part in parts]

    async def _receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.reply_headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            if message["body"]:
                self.chunks.append(message["body"])
                self.arrived.append(time.monotonic())
            self.ended = not message.get("more_body", False)


def formatters(script: Scripts, tokenizer: Any = None, **context: Any) -> Formatters:
    return Formatters(script, tokenizer, RequestContext(**{"headers": {}, **context}))


async def replied(body: Any, used: Formatters | None, rewrite: Rewrite | None = None, **reply: Any) -> Caller:
    """Have vLLM answer with one body."""
    caller = Caller()
    send = Reply(caller.exchange(), rewrite, formatters=used, **reply)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
    return caller


async def streamed(
    events: Sequence[Any],
    used: Formatters | None,
    rewrite: Rewrite | None = None,
    caller: Caller | None = None,
    each: Callable[[], Any] | None = None,
    **reply: Any,
) -> Caller:
    """Have vLLM stream events, then `[DONE]`, until the exchange makes it stop."""
    caller = caller or Caller()
    exchange = caller.exchange()
    send = Reply(exchange, rewrite, formatters=used, **reply)
    gone = asyncio.create_task(_gone(exchange))
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in [*events, "[DONE]"]:
        data = event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n"
        data = data if data.startswith(("data", "event")) else f"data: {data}\n\n"
        await send({"type": "http.response.body", "body": data.encode(), "more_body": True})
        await asyncio.sleep(0)
        if gone.done():
            break
        if each:
            each()
    await send({"type": "http.response.body", "body": b""})
    caller.stopped = gone.done()
    exchange.close()
    gone.cancel()
    return caller


async def _gone(exchange: Exchange) -> None:
    receive = exchange.replay(b"{}")
    await receive()
    assert (await receive())["type"] == "http.disconnect"

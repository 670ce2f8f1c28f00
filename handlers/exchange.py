"""One HTTP exchange from its first byte to its log line: the body in, the reply out, and why it ended early.

vLLM aborts a generation when its ASGI `receive` says `http.disconnect` (with ASGI spec 2.3; later versions stop
listening). The caller leaving, the deadline and the drain therefore all reach it that one way.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Literal, TypeVar

from starlette.types import Message, Receive, Scope, Send

from handlers.errors import RequestError, retry_headers
from handlers.streams import StreamFormat, record

T = TypeVar("T")
Reason = Literal["caller left", "deadline", "shutdown"]


class CallerLeftError(Exception):
    """The caller closed the connection before its request was complete."""


class EndedEarlyError(Exception):
    """The exchange has to end, for the reason it holds, before its answer could begin."""


class Exchange:
    """The state of one request; `status` is None until a reply has started."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, clock: Callable[[], float]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.status: int | None = None
        self.finished = False
        self.ended: Reason | None = None
        self.stream_format: StreamFormat = "sse"
        self.reply_headers: list[tuple[bytes, bytes]] = []
        """Sent with the reply, whoever makes it."""
        self.adapter = ""
        """The adapter that answers, as its callers know it; empty for the base model."""
        self.started_at = clock()
        self._scope = scope
        self._clock = clock
        self._receive = receive
        self.send = send
        self._gone = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        # HTTP/1.0 knows no chunks, which uvicorn would send for a stream: such a reply is gathered and sent at once.
        self._gathered: bytearray | None = bytearray() if scope.get("http_version") == "1.0" else None
        self._gathered_headers: list[tuple[bytes, bytes]] = []

    def header(self, name: bytes) -> str:
        """Return a request header as text, empty when absent."""
        raw = self.headers.get(name)
        return _text(raw) if raw else ""

    @property
    def text_headers(self) -> dict[str, str]:
        """The request's headers as text, by lower-case name."""
        return {_text(name): _text(value) for name, value in self.headers.items()}

    @property
    def raw_path(self) -> bytes:
        """The path as it came, still percent-encoded: a name in it may hold a `/`."""
        raw: bytes | None = self._scope.get("raw_path")
        return raw or self.path.encode()

    @property
    def query(self) -> str:
        """What follows the path's `?`, still percent-encoded."""
        return _text(self._scope.get("query_string", b""))

    @property
    def inference_id(self) -> str:
        """The caller's name for this request; empty when it gave none."""
        return self.header(b"x-amzn-sagemaker-inference-id") or self.header(b"x-request-id")

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body; raise RequestError (413) as soon as it is known to exceed `limit` bytes."""
        announced = self.header(b"content-length")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(limit)
        chunks, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.ended = "caller left"
                raise CallerLeftError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)

    def replay(self, body: bytes) -> Receive:
        """Return a `receive` that hands `body` over once, then waits until this exchange has to end."""
        self.watch()
        pending = [body]

        async def receive() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(), "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        return receive

    def watch(self) -> None:
        """Notice from now on when the caller leaves; its body has been read."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_caller())

    async def unless_ended(self, work: Coroutine[None, None, T]) -> T:
        """Return what `work` returns; raise EndedEarlyError, with it cancelled, when this exchange has to end first."""
        self.watch()
        task, gone = asyncio.create_task(work), asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise EndedEarlyError
        finally:
            gone.cancel()
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()  # which nobody else may be there to hear of

    def part(self, send: Send) -> "Exchange":
        """Return an exchange for a part of this one's work: it ends with this one, and its reply goes to `send`."""

        async def receive() -> Message:
            await self._gone.wait()
            return {"type": "http.disconnect"}

        return Exchange({**self._scope, "http_version": "1.1"}, receive, send, self._clock)

    def end(self, reason: Reason) -> None:
        """Make the engine stop working for this exchange; the first reason given is the one told."""
        if self.ended is None and not self.finished:
            self.ended = reason
            self._gone.set()

    def abandon(self) -> None:
        """Make the engine stop working for an exchange whose reply is complete without the rest."""
        self._gone.set()

    @property
    def gathers(self) -> bool:
        """Tell whether a stream is sent at once, at its end."""
        return self._gathered is not None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line and headers."""
        self.status = status
        headers = [*headers, *self.reply_headers]
        if self._gathered is None:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
        else:
            self._gathered_headers = [header for header in headers if header[0] != b"content-length"]

    async def write(self, body: bytes, more: bool) -> None:
        """Send part of the reply's body; the last part has `more` false."""
        self.finished = not more
        if self._gathered is not None:
            self._gathered += body
            if more:
                return
            body = bytes(self._gathered)
            headers = [*self._gathered_headers, (b"content-length", str(len(body)).encode())]
            await self.send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def respond(self, status: int, body: bytes, content_type: bytes = b"application/json",
                      headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:  # fmt: skip
        """Send a complete reply."""
        length = str(len(body)).encode()
        await self.start(status, [(b"content-type", content_type), (b"content-length", length), *headers])
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    async def fail(self, error: RequestError) -> None:
        """Tell the caller an error: as the whole reply, or as the last record of a stream that has begun."""
        if self.finished:
            return
        if self.status is None:
            await self.respond(error.status, error.body(), headers=retry_headers(error.status))
        else:
            await self.write(record(error.body(), self.stream_format), more=False)

    def close(self) -> None:
        """Stop watching the caller; nothing may be sent afterwards."""
        self.finished = True
        if self._watch is not None:
            self._watch.cancel()

    async def _watch_caller(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end("caller left")


def _text(raw: bytes) -> str:
    """Return what a caller wrote into a header or a query: UTF-8 from all but the oldest clients."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def too_large(limit: int) -> RequestError:
    """Return the error for a body above `option.max_request_size`."""
    return RequestError(413, f"The request body exceeds {limit} bytes, the limit of this server (max_request_size).")


def early_end(reason: Reason, timeout_seconds: float) -> RequestError:
    """Return what a caller is told whose request was ended by this server."""
    if reason == "deadline":
        told = math.ceil(timeout_seconds)
        return RequestError(504, f"The request did not finish within {told} s (option.predict_timeout).")
    return RequestError(503, "The server is shutting down; retry the request.")

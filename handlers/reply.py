"""The ASGI `send` vLLM's application is given: its messages, rewritten, become the reply of an Exchange.

Error replies become our one error object; a stream that fails midway ends with an error record and no `[DONE]`.
"""

from starlette.types import Message

from handlers.errors import RequestError, error_body, from_engine
from handlers.exchange import Exchange
from handlers.streams import CONTENT_TYPES, Rewrite, StreamFormat, end, record

_DATA = b"data: "
_GENERATION_FAILED = b'"Internal server error"'
"""The text vLLM 0.32 gives a generation the engine terminated (exceptions.py, GenerationError)."""
UNMET_CONSTRAINT = RequestError(400, "The engine could not follow the schema or grammar of this request.")
_KEPT_HEADERS = frozenset({b"content-type", b"x-request-id", b"allow", b"www-authenticate"})


class Reply:
    """One reply in the making.

    `rewrite=None` passes vLLM's own JSON and server-sent events through. `constrained` says that the request brought
    a grammar: one the engine cannot follow ends in a 500 (vLLM 0.32), which is the request's fault and told as 400.
    """

    def __init__(self, exchange: Exchange, rewrite: Rewrite | None, constrained: bool = False) -> None:
        self._exchange = exchange
        self._rewrite = rewrite
        self._constrained = constrained
        self._format: StreamFormat = "sse" if rewrite is None else rewrite.format
        self._status = 200
        self._headers: list[tuple[bytes, bytes]] = []
        self._streaming = False
        self._failed = False
        self._held = bytearray()

    async def __call__(self, message: Message) -> None:
        """Take one ASGI message from vLLM's application."""
        if self._exchange.ended is not None or self._exchange.finished:
            return
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), message.get("more_body", False))

    async def fail(self, error: RequestError) -> None:
        """Tell the caller that the request ended early: as a status, or as a record once the stream has begun."""
        if self._exchange.finished:
            return
        if self._exchange.status is None:
            await self._exchange.refuse(error)
        else:
            await self._exchange.write(record(error.body(), self._format), more=False)

    async def _start(self, message: Message) -> None:
        self._status = message["status"]
        self._headers = [(name, value) for name, value in message["headers"] if name in _KEPT_HEADERS]
        content_type = next((value for name, value in self._headers if name == b"content-type"), b"")
        self._streaming = self._status < 400 and content_type.startswith(b"text/event-stream")
        if self._streaming:
            kept = [header for header in self._headers if header[0] != b"content-type"]
            kept += [(b"content-type", CONTENT_TYPES[self._format]), (b"cache-control", b"no-cache")]
            await self._exchange.start(self._status, kept)

    async def _body(self, chunk: bytes, more: bool) -> None:
        if self._streaming:
            await self._stream(chunk, more)
            return
        self._held += chunk
        if more:
            return
        body = bytes(self._held)
        if self._status == 500 and self._constrained and _GENERATION_FAILED in body:
            self._status, body = 400, UNMET_CONSTRAINT.body()
        elif self._status >= 400:
            body = from_engine(self._status, body)
        if self._status >= 400:
            self._headers = [(name, value) for name, value in self._headers if name != b"content-type"]
            self._headers.append((b"content-type", b"application/json"))
        elif self._rewrite is not None:
            body = self._rewrite.whole(body)
        self._headers.append((b"content-length", str(len(body)).encode()))
        if self._status in (429, 503):
            self._headers.append((b"retry-after", b"1"))
        await self._exchange.start(self._status, self._headers)
        await self._exchange.write(body, more=False)

    async def _stream(self, chunk: bytes, more: bool) -> None:
        """Pass on one chunk; vLLM sends each server-sent event as one (0.32), and `[DONE]` even after an error."""
        told = chunk
        if self._failed and chunk:
            told = b""
        elif chunk.startswith(b'data: {"error"'):
            self._failed = True
            told = record(_in_stream_error(chunk), self._format)
        elif self._rewrite is not None:
            told = self._rewritten(self._rewrite, chunk)
        if told or not more:
            await self._exchange.write(told, more)

    def _rewritten(self, rewrite: Rewrite, chunk: bytes) -> bytes:
        told = b""
        for line in chunk.split(b"\n"):
            if line.startswith(_DATA):
                data = line.removeprefix(_DATA)
                told += end(self._format) if data == b"[DONE]" else rewrite.event(data)
        return told


def _in_stream_error(chunk: bytes) -> bytes:
    data = chunk.removeprefix(_DATA).strip()
    told = from_engine(500, data)
    return told or error_body(500, "The engine failed.")

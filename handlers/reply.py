"""The ASGI `send` vLLM's application is given: its messages, rewritten, become the reply of an Exchange.

Error replies become our one error object; a stream that fails midway ends with an error record and no `[DONE]`.
"""

from collections.abc import Awaitable

import orjson
from starlette.types import Message

from handlers.errors import RequestError, from_engine, retry_headers, status_of
from handlers.exchange import EndedEarlyError, Exchange
from handlers.formatters.formatting import Formatters
from handlers.formatters.user_functions import FunctionFailedError
from handlers.streams import CONTENT_TYPES, Rewrite, StreamFormat, end, events, payloads, record

_DATA = b"data: "
_DONE = b"[DONE]"
_ERROR = b'data: {"error"'
_GENERATION_FAILED = b'"Internal server error"'
"""The text vLLM 0.32 gives a generation the engine terminated (exceptions.py, GenerationError)."""
UNMET_CONSTRAINT = RequestError(400, "The engine could not follow the schema or grammar of this request.")
_KEPT_HEADERS = frozenset({b"content-type", b"x-request-id", b"allow", b"www-authenticate"})


class Reply:
    """One reply in the making.

    `rewrite=None` passes vLLM's own JSON and server-sent events through. `constrained` says that the request brought
    a grammar: one the engine cannot follow ends in a 500 (vLLM 0.32), which is the request's fault and told as 400.
    `formatters` has the last word on what succeeded. `renamed` is the engine's name of an adapter, and its own.
    """

    def __init__(
        self,
        exchange: Exchange,
        rewrite: Rewrite | None,
        constrained: bool = False,
        formatters: Formatters | None = None,
        renamed: tuple[str, str] | None = None,
    ) -> None:
        self._exchange = exchange
        self._rewrite = rewrite
        self._constrained = constrained
        self._formatters = formatters if formatters is not None and formatters.output is not None else None
        # The new name as it stands within a JSON string; the engine's needs no escapes.
        self._renamed = (renamed[0].encode(), orjson.dumps(renamed[1])[1:-1]) if renamed else None
        self._format: StreamFormat = "sse" if rewrite is None else rewrite.format
        exchange.stream_format = self._format
        self._status = 200
        self._headers: list[tuple[bytes, bytes]] = []
        self._streaming = False
        self._failed = False
        self._passing = False
        """The stream has begun, and its events are sent as vLLM made them."""
        self._held = bytearray()

    def __call__(self, message: Message) -> Awaitable[None]:
        """Take one ASGI message from vLLM's application.

        An event of a stream that is passed through goes straight on: here every token of every caller comes by.
        """
        if self._passing and self._exchange.ended is None and not message.get("body", b"").startswith(_ERROR):
            self._exchange.finished = not message.get("more_body", False)
            return self._exchange.send(message)
        return self._take(message)

    async def _take(self, message: Message) -> None:
        if self._exchange.ended is not None or self._exchange.finished:
            return
        if message["type"] == "http.response.start":
            self._start(message)
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), message.get("more_body", False))

    def _start(self, message: Message) -> None:
        """Keep the status until the first part of the body: an error may yet be what it says."""
        # 501 is vLLM's word for a route that this model has nothing for, which is the request's mistake.
        self._status = 400 if message["status"] == 501 else message["status"]
        self._headers = [(name, value) for name, value in message["headers"] if name in _KEPT_HEADERS]
        content_type = next((value for name, value in self._headers if name == b"content-type"), b"")
        self._streaming = self._status < 400 and content_type.startswith(b"text/event-stream")

    async def _body(self, chunk: bytes, more: bool) -> None:
        if self._streaming and self._exchange.status is None:
            if not chunk and more:
                return
            if chunk.startswith(_ERROR):
                # vLLM starts a stream before its engine has seen the request; nothing was sent yet, so tell it plainly.
                self._streaming = False
                chunk = chunk.removeprefix(_DATA).strip()
                self._status = status_of(chunk, 500)
                await self._whole(chunk)
                return
        if self._streaming:
            await self._stream(chunk, more)
            return
        self._held += chunk
        if not more:
            await self._whole(bytes(self._held))

    async def _begin(self) -> None:
        kept = [header for header in self._headers if header[0] != b"content-type"]
        kept += [(b"content-type", CONTENT_TYPES[self._format]), (b"cache-control", b"no-cache")]
        await self._exchange.start(self._status, kept)
        untouched = self._rewrite is None and self._formatters is None and self._renamed is None
        self._passing = untouched and not self._exchange.gathers

    async def _whole(self, body: bytes) -> None:
        content_type = b"application/json"
        if self._status == 500 and self._constrained and _GENERATION_FAILED in body:
            self._status, body = UNMET_CONSTRAINT.status, UNMET_CONSTRAINT.body()
        elif self._status >= 400:
            body = from_engine(self._status, self._with_name(body))
        else:
            given = self._with_name(body)
            body = given if self._rewrite is None else self._rewrite.whole(given)
            if self._formatters is not None:
                try:
                    formatted = self._formatters.whole(body, given if self._rewrite is not None else None)
                    body, content_type = await self._exchange.unless_ended(formatted)
                except FunctionFailedError as error:
                    await self._exchange.fail(_formatter_failed(error))
                    return
                except EndedEarlyError:  # the caller is told by who asked for this reply
                    return
        headers = self._headers
        if self._status >= 400 or self._formatters is not None:
            headers = [header for header in headers if header[0] != b"content-type"]
            headers.append((b"content-type", content_type))
        length = (b"content-length", str(len(body)).encode())
        await self._exchange.start(self._status, [*headers, *retry_headers(self._status), length])
        await self._exchange.write(body, more=False)

    async def _stream(self, chunk: bytes, more: bool) -> None:
        """Pass on one chunk; vLLM sends each server-sent event as one (0.32), and `[DONE]` even after an error."""
        told = chunk = self._with_name(chunk)
        if self._failed and chunk:
            told = b""
        elif chunk.startswith(_ERROR):
            self._failed, self._passing = True, False
            data = chunk.removeprefix(_DATA).strip()
            told = record(from_engine(status_of(data, 500), data), self._format)
        elif self._formatters is not None:
            try:
                told = await self._formatted(self._formatters, chunk)
            except FunctionFailedError as error:
                await self._exchange.fail(_formatter_failed(error))
                self._exchange.abandon()
                return
        elif self._rewrite is not None:
            told = b"".join(self._rewritten(data) for _, data in events(chunk))
        if self._exchange.status is None:
            await self._begin()
        if told or not more:
            await self._exchange.write(told, more)

    def _rewritten(self, data: bytes) -> bytes:
        if data == _DONE:
            return end(self._format)
        return record(data, self._format) if self._rewrite is None else self._rewrite.event(data)

    async def _formatted(self, formatters: Formatters, chunk: bytes) -> bytes:
        """Return what the formatter makes of each event; the event's name goes before what it tells of it."""
        told = b""
        for name, data in events(chunk):
            records = self._rewritten(data)
            if data == _DONE:
                told += records
                continue
            for formatted in await formatters.records(payloads(records, self._format), self._format):
                named = name and self._format == "sse" and formatted.startswith(_DATA)
                told += name + formatted if named else formatted
        return told

    def _with_name(self, text: bytes) -> bytes:
        return text if self._renamed is None else text.replace(*self._renamed)


def _formatter_failed(error: FunctionFailedError) -> RequestError:
    return RequestError(500, f"The output formatter failed: {error}")

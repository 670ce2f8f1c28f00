"""DJL's custom handler: `handle(inputs: Input) -> Output | None` of a `model.py` answers a request by itself.

None means that the request goes its ordinary way. While the model loads it is called once with an empty Input.
"""

import inspect
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from handlers.errors import RequestError, ScriptError, error_body
from handlers.exchange import Exchange
from handlers.formatters.formatting import RequestContext
from handlers.formatters.user_functions import Function, FunctionFailedError
from handlers.streams import StreamFormat

logger = logging.getLogger("lmi")
_CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_NOT_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "request_tracking_id"})
"""Properties of an Output that the server sets itself, or that are DJL's internals."""
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_BODILESS = (204, 304)
_NO_MORE = object()


class Properties(dict[str, str]):
    """Headers and options, found under their names in any case."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self._names = {name.lower(): name for name in given}

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(self._names.get(name.lower(), name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name.lower() in self._names or super().__contains__(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return super().get(self._names.get(name.lower(), name), default)


class CustomHandle:
    """The `handle` of one script; `properties` are the model's options, which it sees beside the headers."""

    def __init__(self, function: Function, properties: Mapping[str, str]) -> None:
        self._function = function
        self._properties = properties

    async def start(self) -> None:
        """Make the call with an empty Input.

        A handler that never asks whether it is empty does not know of this call, and its failure means nothing.

        Raises:
            ScriptError: the handler failed although it asked.
        """
        asked = False
        inputs = _inputs(self._properties)

        def is_empty() -> bool:
            nonlocal asked
            asked = True
            return True

        inputs.is_empty = is_empty
        try:
            await self._function(inputs)
        except FunctionFailedError as error:
            if asked:
                place = f"{self._function.file.name}: handle failed while the model loads"
                raise ScriptError(f"{place}: {error}") from error
            logger.warning("handle failed on the empty Input of the start, which it does not ask for: %s", error)

    async def answer(self, exchange: Exchange, body: bytes, context: RequestContext) -> bool:
        """Answer a request; return False where the handler leaves it to the ordinary way.

        Raises:
            RequestError: 500, the handler failed before anything was sent.
            EndedEarlyError: the exchange had to end first.
        """
        try:
            output = await exchange.unless_ended(self._function(self._request(exchange, body, context)))
            if output is None:
                return False
            if inspect.isasyncgen(output):
                await self._stream_of_outputs(exchange, output)
            elif not hasattr(output, "stream_content"):
                raise FunctionFailedError(f"it returned {type(output).__name__}; it must return an Output or None")
            elif output.stream_content is None:
                status, body = _status(output), _content(output)
                await exchange.start(status, _headers(output, "application/json"))
                await exchange.write(b"" if status in _BODILESS else body, more=False)
            else:
                await self._stream(exchange, output)
        except FunctionFailedError as error:
            self._function.report(error)
            await exchange.fail(RequestError(500, f"The custom handler failed: {error}"))
            return True
        if getattr(output, "finalize_function", None):
            await self._function.run(output.execute_finalize)
        return True

    def _request(self, exchange: Exchange, body: bytes, context: RequestContext) -> Any:
        """Return the Input of a request: headers and options, SageMaker's custom attributes one by one, the body."""
        attributes = context.headers.get(_CUSTOM_ATTRIBUTES, "").split(";")
        custom = dict(item.split("=", 1) for item in attributes if "=" in item)
        own = {"requestId": context.request_id} if context.request_id else {}
        inputs = _inputs({**custom, **context.headers, **own, **self._properties})
        for key, value in parse_qsl(exchange.query, keep_blank_values=True):
            inputs.content.add(key, value.encode())
        inputs.content.add("data", body)
        return inputs

    async def _stream(self, exchange: Exchange, output: Any) -> None:
        """Send what the stream of an Output yields, each part formatted as the Output says."""
        headers = _headers(output, "application/jsonlines")
        form = output.stream_output_formatter

        def formatted(part: Any) -> bytes:
            return _bytes(part if form is None else form(part))

        parts = self._parts(output.stream_content)
        status = _status(output)
        await self._send(exchange, status, headers, (await self._function.run(formatted, p) async for p in parts))

    async def _stream_of_outputs(self, exchange: Exchange, outputs: AsyncIterator[Any]) -> None:
        """Send the contents of the Outputs that an asynchronous generator yields; the first one's headers count."""
        parts = self._parts(outputs)
        first = await exchange.unless_ended(_next(parts, None))
        if first is None:
            await exchange.respond(204, b"")
            return

        async def contents() -> AsyncIterator[bytes]:
            yield _content(first)
            async for output in parts:
                yield _content(output)

        await self._send(exchange, _status(first), _headers(first, "application/jsonlines"), contents())

    async def _send(
        self, exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], parts: AsyncIterator[bytes]
    ) -> None:
        """Send the parts of a stream as they come; a failure before the first is a plain error."""
        form: StreamFormat = "sse" if dict(headers)[b"content-type"].startswith(b"text/event-stream") else "jsonlines"
        exchange.stream_format = form
        while True:
            part = await exchange.unless_ended(_next(parts, None))
            if exchange.status is None:
                await exchange.start(status, headers)
            await exchange.unless_ended(exchange.write(part or b"", more=part is not None))
            if part is None:
                return

    async def _parts(self, stream: Any) -> AsyncIterator[Any]:
        """Yield what an iterator of the handler's yields, asynchronous or not, without waiting on the event loop."""
        if hasattr(stream, "__aiter__"):
            steps = aiter(stream)
            while (part := await self._function.run(_next, steps, _NO_MORE)) is not _NO_MORE:
                yield part
        else:
            plain: Iterator[Any] = iter(stream)
            while (part := await self._function.run(next, plain, _NO_MORE)) is not _NO_MORE:
                yield part


async def _next(steps: AsyncIterator[Any], otherwise: Any) -> Any:
    return await anext(steps, otherwise)


def _inputs(properties: Mapping[str, str]) -> Any:
    """Return an Input of DJL's package, the class a script imports."""
    from djl_python import Input

    inputs = Input()
    inputs.function_name = "handle"
    inputs.properties = Properties(properties)
    return inputs


def _status(output: Any) -> int:
    code = output.code
    if type(code) is not int or not 200 <= code < 600:
        raise FunctionFailedError(f"its Output has the status {code!r:.20}")
    return code


def _headers(output: Any, default_type: str) -> list[tuple[bytes, bytes]]:
    """Return an Output's properties as headers, on one line each."""
    given = {str(key).lower(): str(value) for key, value in output.properties.items()}
    told = {name: value for name, value in given.items() if name not in _NOT_HEADERS}
    for name in told:
        if not _HEADER_NAME.fullmatch(name):
            raise FunctionFailedError(f"its Output has a property {name!r:.60}, which no header can be called")
    return [(name.encode(), _line(value)) for name, value in ({"content-type": default_type} | told).items()]


def _line(value: str) -> bytes:
    return "".join(filter(str.isprintable, " ".join(value.split()))).encode("latin-1", "replace")


def _content(output: Any) -> bytes:
    """Return the body of an Output: what is under `data`, else what was added first."""
    content = output.content
    if content.is_empty():
        return error_body(output.code, output.message) if output.code >= 400 else b""
    body = content.get("data")
    return bytes(content.value_at(0) if body is None else body)


def _bytes(part: Any) -> bytes:
    if isinstance(part, str):
        return part.encode()
    if not isinstance(part, bytes | bytearray):
        raise FunctionFailedError(f"its stream holds {type(part).__name__}, which is no text")
    return bytes(part)

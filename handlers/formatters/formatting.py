"""Custom formatters upon one request: its body through the input formatter, its reply through the output formatter.

The input formatter gets the body as the caller sent it. The output formatter gets what the caller would get without
it, whole or chunk by chunk: LMI's object where the body had `inputs`, else vLLM's; it has the last word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from handlers.errors import RequestError
from handlers.formatters.records import Record, ReplyRecord, to_json
from handlers.formatters.scripts import Scripts
from handlers.formatters.user_functions import Function, FunctionFailedError
from handlers.streams import StreamFormat, record, text_record

_ONLY_AT_THE_END = ("generated_text", "details")
"""Null in every line of a TGI stream but the last; scripts written for LMI ask whether the key is there."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a formatter may know of the request it works for."""

    headers: Mapping[str, str]
    """By lower-case name."""
    adapter: str = ""
    session: str = ""
    request_id: str = ""
    body: bytes = b""
    """As it came, for SageMaker's `input_fn`."""


class Whole(NamedTuple):
    """A complete reply and its content type."""

    body: bytes
    content_type: bytes = b"application/json"


class Formatters:
    """The formatters that apply to one request."""

    def __init__(self, scripts: Scripts, tokenizer: Any, context: RequestContext) -> None:
        self._input = scripts.input_formatter
        self.output: Function | None = scripts.output_formatter
        self._offered = {"tokenizer": tokenizer, "request": context}
        self._context = context

    @property
    def reads_body(self) -> bool:
        """Tell whether the input formatter parses the body itself."""
        return self._input is not None and self._input.sagemaker

    async def input(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the body the engine is to see; raise RequestError: 400 where the formatter refuses the caller's."""
        if self._input is None:
            return payload
        content_type = self._context.headers.get("content-type", "application/json")
        arguments = (self._context.body, content_type) if self._input.sagemaker else (payload,)
        try:
            keywords = self._keywords(self._input)
            (formatted,) = await self._input.each([arguments], lambda given: given, _body, **keywords)
        except _WrongResultError as error:
            raise RequestError(500, f"The input formatter {error}.") from error
        except FunctionFailedError as error:
            raise RequestError(400, f"The input formatter refused the request: {error}") from error
        return formatted

    async def whole(self, body: bytes, engine: bytes | None) -> Whole:
        """Format a complete JSON reply; `engine` is vLLM's own, where `body` is LMI's rewriting of it.

        A list of replies, to a list of inputs, is formatted one by one.
        """
        function = self._output_formatter()

        def before(value: Any) -> tuple[Any, ...]:
            if isinstance(value, dict):
                value = ReplyRecord(value, engine if alone else None)
            return self._arguments(function, value)

        def after(arguments: tuple[Any, ...], result: Any) -> Whole:
            if result is None:
                raise _WrongResultError("returned nothing for a complete reply")
            given = arguments[0]
            if result is given and isinstance(given, ReplyRecord):
                result = given.told()
            return _whole(result, self._accepted if function.sagemaker else "")

        value = orjson.loads(body)
        several = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        values = value if several else [value]
        alone = len(values) == 1
        found = await function.each(values, before, after, **self._keywords(function))
        return Whole(b"[" + b",".join(map(_as_json, found)) + b"]") if several else found[0]

    async def records(self, events: list[bytes], form: StreamFormat) -> list[bytes]:
        """Format some events of a stream, each into the bytes to send, which are none where it is dropped."""
        function = self._output_formatter()

        def before(data: bytes) -> tuple[Any, ...]:
            value = orjson.loads(data)
            if isinstance(value, dict):
                for key in _ONLY_AT_THE_END:
                    if value.get(key, "") is None:
                        del value[key]
                value = Record(value)
            return self._arguments(function, value)

        def after(_arguments: tuple[Any, ...], result: Any) -> bytes:
            if isinstance(result, dict) and "token" in result:
                for key in _ONLY_AT_THE_END:
                    result.setdefault(key, None)
            return _framed(result, form)

        return await function.each(events, before, after, **self._keywords(function))

    def _output_formatter(self) -> Function:
        assert self.output is not None, "asked to format without a formatter"
        return self.output

    def _arguments(self, function: Function, value: Any) -> tuple[Any, ...]:
        return (value, self._accepted) if function.sagemaker else (value,)

    def _keywords(self, function: Function) -> dict[str, Any]:
        return {name: self._offered[name] for name in function.keywords}

    @property
    def _accepted(self) -> str:
        """The one content type the caller asked for; JSON where it named none or several."""
        accept = self._context.headers.get("accept", "").partition(";")[0].strip()
        return accept if accept and "*" not in accept and "," not in accept else "application/json"


class _WrongResultError(FunctionFailedError):
    """A formatter returned what cannot be used; the text goes after its name."""


def _json(result: Any) -> bytes:
    try:
        return to_json(result)
    except TypeError as error:
        raise _WrongResultError(f"returned what is not JSON: {error}") from error


def _body(_arguments: tuple[Any, ...], result: Any) -> dict[str, Any]:
    """Return an input formatter's result as plain JSON values."""
    if isinstance(result, str | bytes | bytearray):  # input_fn may return the JSON text
        try:
            result = orjson.loads(result)
        except orjson.JSONDecodeError as error:
            raise _WrongResultError("returned text that is not JSON") from error
    elif not isinstance(result, dict | None):
        result = orjson.loads(_json(result))
    if not isinstance(result, dict):
        raise _WrongResultError(f"returned {type(result).__name__}; it must return a dict")
    plain: dict[str, Any] = orjson.loads(_json(result))
    return plain


def _whole(result: Any, accepted: str) -> Whole:
    """Return an output formatter's result as a reply; `accepted` is the type an `output_fn` was told to make."""
    content_type = accepted
    if accepted and isinstance(result, tuple) and len(result) == 2:
        result, content_type = result
    if not isinstance(result, str | bytes | bytearray):
        return Whole(_json(result))
    text = result.encode() if isinstance(result, str) else bytes(result)
    if content_type and content_type != "application/json":
        return Whole(text, str(content_type).encode("latin-1", "replace"))
    return Whole(text, b"application/json" if _is_json(text) else b"text/plain; charset=utf-8")


def _as_json(whole: Whole) -> bytes:
    return whole.body if _is_json(whole.body) else orjson.dumps(whole.body.decode(errors="replace"))


def _framed(result: Any, form: StreamFormat) -> bytes:
    if result is None:
        return b""
    if isinstance(result, bytes | bytearray):
        result = result.decode(errors="replace")
    if isinstance(result, str):
        return text_record(result, form)
    return record(_json(result), form)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True

"""Custom formatters upon one request: its body through the input formatter, its reply through the output formatter.

The input formatter gets the body as the caller sent it. The output formatter gets what the caller would get without
it, whole or chunk by chunk: LMI's object where the body had `inputs`, else vLLM's; it has the last word.
"""

import copy
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from handlers.errors import RequestError
from handlers.formatters import results
from handlers.formatters.records import Record, ReplyRecord
from handlers.formatters.results import Whole, WrongResultError
from handlers.formatters.scripts import Scripts
from handlers.formatters.user_functions import Function, FunctionFailedError
from handlers.streams import StreamFormat

_ONLY_AT_THE_END = ("generated_text", "details")
"""Null in every line of a TGI stream but the last; scripts written for LMI ask whether the key is there."""
_CARELESS = (AttributeError, LookupError, TypeError, json.JSONDecodeError, UnicodeDecodeError)
"""What a script raises that takes every body for a JSON object."""


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


class Formatters:
    """The formatters that apply to one request."""

    def __init__(self, scripts: Scripts, tokenizer: Any, context: RequestContext) -> None:
        self._input = scripts.input_formatter
        self.output: Function | None = scripts.output_formatter
        self._offered = {"tokenizer": tokenizer, "request": context}
        self._context = context

    @property
    def takes_texts(self) -> bool:
        """Tell whether the input formatter is for bodies that are parsed, whose `inputs` LMI documents as one text."""
        return self._input is not None and not self._input.sagemaker

    async def input(self, payload: dict[str, Any], refusal: RequestError | None = None) -> dict[str, Any]:
        """Return the body the engine is to see; `refusal` is why the caller's own is none.

        Raises:
            RequestError: 400 where the formatter refuses the caller's, 500 where it returned none; the refusal where
                the formatter does not read bodies itself, or did not think of such a one either.
        """
        if refusal is not None and (self._input is None or not self._input.sagemaker):
            raise refusal
        if self._input is None:
            return payload
        content_type = self._context.headers.get("content-type", "application/json")
        arguments = (self._context.body, content_type) if self._input.sagemaker else (payload,)
        count = len(texts(payload))

        def after(_: tuple[Any, ...], result: Any) -> dict[str, Any]:
            return results.body_of_all(result, count)

        try:
            (formatted,) = await self._input.each([arguments], tuple, after, **self._keywords(self._input))
        except FunctionFailedError as error:
            if refusal is not None and _careless(error, refusal):
                raise refusal from error
            raise self._refused(error, "the request") from error
        return formatted

    async def input_each(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a body for each text of a batch: what the formatter makes of one that came alone.

        Raises:
            RequestError: 400 at the first that the formatter refuses, 500 where it returned no body of one text.
        """
        assert self._input is not None, "asked to format without a formatter"
        shared = {key: value for key, value in payload.items() if key != "inputs"}
        if isinstance(shared.get("adapters"), list):  # a name for each text
            del shared["adapters"]
        begun = 0

        def before(text: str) -> tuple[Any, ...]:
            nonlocal begun
            begun += 1
            return ({**copy.deepcopy(shared), "inputs": text},)

        def after(_: tuple[Any, ...], result: Any) -> dict[str, Any]:
            return results.body_of_one(result)

        try:
            return await self._input.each(texts(payload), before, after, **self._keywords(self._input))
        except FunctionFailedError as error:
            raise self._refused(error, f"inputs[{begun - 1}]") from error

    async def whole(self, body: bytes, engine: bytes | None) -> Whole:
        """Format a complete JSON reply; `engine` is vLLM's own, where `body` is LMI's rewriting of it.

        A list of replies, to a list of inputs, is formatted one by one.
        """
        function = self._output_formatter()

        def before(item: tuple[int, Any]) -> tuple[Any, ...]:
            place, value = item
            if isinstance(value, dict):
                value = ReplyRecord(value, (lambda: behind()[place]) if engine else None)
            return self._arguments(function, value)

        @functools.cache
        def behind() -> list[dict[str, Any]]:
            return _one_by_one(orjson.loads(engine or b"{}"), len(values))

        def after(arguments: tuple[Any, ...], result: Any) -> Whole:
            if result is None:
                raise WrongResultError("returned nothing for a complete reply")
            given = arguments[0]
            if result is given and isinstance(given, ReplyRecord):
                result = given.told()
            return results.whole(result, self._accepted if function.sagemaker else "")

        value = orjson.loads(body)
        several = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        values = value if several else [value]
        found = await function.each(list(enumerate(values)), before, after, **self._keywords(function))
        return Whole(b"[" + b",".join(map(results.as_json, found)) + b"]") if several else found[0]

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
            return results.framed(result, form)

        return await function.each(events, before, after, **self._keywords(function))

    def _refused(self, error: FunctionFailedError, what: str) -> RequestError:
        """Return what the caller is told of an input formatter that failed at something of its request."""
        if isinstance(error, WrongResultError):
            whom = f" for the adapter `{self._context.adapter[:100]}`" if self._context.adapter else ""
            return RequestError(500, f"The input formatter{whom} {error}.")
        return RequestError(400, f"The input formatter refused {what}: {error}")

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


def texts(payload: dict[str, Any]) -> list[str]:
    """Return a batch's texts; none for a body of any other kind."""
    given = payload.get("inputs")
    return given if isinstance(given, list) and all(isinstance(text, str) for text in given) else []


def _careless(error: FunctionFailedError, refusal: RequestError) -> bool:
    """Tell whether a script failed because it did not think of a body that this server cannot read either."""
    if isinstance(error, WrongResultError):  # it returned what it had parsed
        return refusal.status == HTTPStatus.BAD_REQUEST
    return isinstance(error.__cause__, _CARELESS)


def _one_by_one(reply: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return vLLM's reply to a batch as its replies to each of the texts."""
    choices = reply.get("choices", [])
    each = len(choices) // count
    slices = [choices[place * each : (place + 1) * each] for place in range(count)]
    return [{**reply, "choices": [{**each, "index": index} for index, each in enumerate(own)]} for own in slices]

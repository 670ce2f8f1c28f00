"""Calls of `/adapters`, `/adapters/{name}` and `/adapters/{name}/update` into the registry, and its answers.

SageMaker sends query parameters and no body; LMI's clients do so too, those of vLLM a JSON body. A body's fields go
before the query's. Names are taken from the path as it came, where `%2F` is not a slash between segments.
"""

import asyncio
import re
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson

from handlers.adapters.registration import Adapter
from handlers.adapters.registry import Adapters
from handlers.errors import RequestError
from handlers.exchange import Exchange

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 30
MAX_PAGE = 1000
_ALIAS = b"x-amzn-sagemaker-adapter-alias"
_PATH = re.compile(rb"(?:/models/(?P<model>.+?))?/adapters(?:/(?P<name>.+?)(?P<update>/update)?)?/?")
_MAX_QUERY_FIELDS = 100
_BOOLEANS = {"true": True, "false": False}

Fields = dict[str, Any]


class AdapterRoutes:
    """The routes; without a registry each of them says that LoRA is not enabled."""

    def __init__(self, adapters: Adapters | None, model_names: tuple[str, ...]) -> None:
        self._adapters = adapters
        self._model_names = frozenset((*model_names, "model"))

    async def answer(self, exchange: Exchange) -> None:
        """Answer one call; DELETE takes as long as the requests that use the adapter.

        Raises:
            RequestError: what is wrong with the call or the adapter: 400, 404, 405, 408, 409, 413, 507.
        """
        found = _PATH.fullmatch(exchange.raw_path.partition(b"?")[0])
        if found is None:
            raise RequestError(404, f"{exchange.path[:100]} is not a path of this server.")
        if found["model"] is not None and _text(found["model"]) not in self._model_names:
            raise RequestError(404, f"The model `{_text(found['model'])[:100]}` does not exist.", "model")
        if self._adapters is None:
            raise RequestError(400, "LoRA is not enabled; set option.enable_lora=true.")
        status = await self._answer(self._adapters, exchange, found)
        await exchange.respond(200, orjson.dumps(status))

    async def _answer(self, adapters: Adapters, exchange: Exchange, found: re.Match[bytes]) -> Fields:
        name = _text(found["name"] or b"")
        reads = exchange.method in ("GET", "HEAD")
        if found["update"] and exchange.method == "POST":
            return _status(await self._update(adapters, exchange, name), "updated")
        if found["update"]:
            name += "/update"
        if name and reads:
            return _facts(adapters.describe(name))
        if name and exchange.method == "DELETE":
            return _status(await adapters.remove(name), "unregistered", exchange.header(_ALIAS))
        if not name and reads:
            return _page(adapters, exchange)
        if not name and exchange.method == "POST":
            return _status(await self._register(adapters, exchange), "registered")
        raise RequestError(405, f"{exchange.method} is not allowed here.")

    async def _register(self, adapters: Adapters, exchange: Exchange) -> Adapter:
        given = await _given(exchange)
        name, src = _string(given, "name"), _string(given, "src")
        if not name or not src:
            raise RequestError(
                400, f"The parameter {'src' if name else 'name'} is required.", "src" if name else "name"
            )
        alias, pin = exchange.header(_ALIAS), _boolean(given, "pin")
        return await adapters.register(name, src, alias=alias, preload=_boolean(given, "preload"), pin=pin or False)

    async def _update(self, adapters: Adapters, exchange: Exchange, name: str) -> Adapter:
        given = await _given(exchange)
        return await adapters.update(
            name,
            src=_string(given, "src") or None,
            alias=exchange.header(_ALIAS) or None,
            preload=_boolean(given, "preload"),
            pin=_boolean(given, "pin"),
        )


async def _given(exchange: Exchange) -> Fields:
    """Return the fields of the query, and over them those of the body."""
    query = _query(exchange)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await exchange.read_body(MAX_BODY_BYTES)
    except TimeoutError:
        raise RequestError(408, f"The request body did not arrive within {BODY_SECONDS} s.") from None
    if not body.strip():
        return query
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"The request body is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise RequestError(400, "The request body must be a JSON object.")
    return {**query, **fields}


def _query(exchange: Exchange) -> Fields:
    try:
        return dict(parse_qsl(exchange.query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        raise RequestError(400, f"The query has more than {_MAX_QUERY_FIELDS} parameters.") from None


def _string(given: Fields, name: str) -> str:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(400, f"{name} must be a string.", name)
    return value or ""


def _boolean(given: Fields, name: str) -> bool | None:
    """Return a switch as it was given, None where it was not."""
    value = given.get(name)
    value = _BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value
    if value is not None and not isinstance(value, bool):
        raise RequestError(400, f"{name} must be true or false.", name)
    return value


def _page(adapters: Adapters, exchange: Exchange) -> Fields:
    given = _query(exchange)
    limit = _count(given, "limit", 100, 1, MAX_PAGE)
    told, rest = adapters.page(_count(given, "next_page_token", 0, 0, 2**31), limit)
    page: Fields = {"adapters": [_facts(adapter) for adapter in told]}
    return page if rest is None else {**page, "nextPageToken": str(rest)}


def _count(given: Fields, name: str, default: int, low: int, high: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise RequestError(400, f"{name} must be a number from {low} to {high}.", name)
    return int(text)


def _facts(adapter: Adapter) -> Fields:
    return asdict(adapter)


def _status(adapter: Adapter, done: str, alias: str = "") -> Fields:
    return {"status": f"Adapter {alias or adapter.shown} {done}", "adapter": _facts(adapter)}


def _text(encoded: bytes) -> str:
    return unquote_to_bytes(encoded).decode("utf-8", "replace")

"""Calls of `/adapters`, `/adapters/{name}` and `/adapters/{name}/update` into the registry, and its answers.

SageMaker sends query parameters and no body; LMI's clients do so too, those of vLLM a JSON body. A body's fields go
before the query's. Names are taken from the path as it came, where `%2F` is not a slash between segments.
"""

import asyncio
import base64
import difflib
import re
from collections.abc import Iterable
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
_FIELDS = ("name", "src", "preload", "pin")
_FIELDS_OF_A_PAGE = ("limit", "next_page_token")
_LIKENESS = 0.65
"""From which on a field is taken for a slip: `preloaded`, `pinned`, `source`, `nextPageToken`."""

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
            told = f"{exchange.path[:100]} is not a path of this server."
            raise RequestError(404, told, paths=(exchange.path,))
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
            return await self._update(adapters, exchange, name)
        if found["update"]:
            name += "/update"
        if name and reads:
            return _facts(adapters.describe(name))
        if name and exchange.method == "DELETE":
            return _status(await adapters.remove(name), "unregistered", exchange.header(_ALIAS))
        if not name and reads:
            return _page(adapters, exchange)
        if not name and exchange.method == "POST":
            return await self._register(adapters, exchange)
        exchange.reply_headers.append((b"allow", b"DELETE, GET, HEAD" if name else b"GET, HEAD, POST"))
        raise RequestError(405, f"{exchange.method} is not allowed here.")

    async def _register(self, adapters: Adapters, exchange: Exchange) -> Fields:
        given = await _given(exchange)
        name, src = _string(given, "name"), _string(given, "src")
        if not name or not src:
            raise RequestError(
                400, f"The parameter {'src' if name else 'name'} is required.", "src" if name else "name"
            )
        alias, pin = exchange.header(_ALIAS), _boolean(given, "pin")
        preload = _boolean(given, "preload")
        adapter = await adapters.register(name, src, alias=alias, preload=preload, pin=pin or False)
        return _status(adapter, "registered") | _ignored(given)

    async def _update(self, adapters: Adapters, exchange: Exchange, name: str) -> Fields:
        given = await _given(exchange)
        if _string(given, "name") not in ("", name):
            raise RequestError(400, "An adapter keeps its name; register it under another one.", "name")
        adapter = await adapters.update(
            name,
            src=_string(given, "src") or None,
            alias=exchange.header(_ALIAS) or None,
            preload=_boolean(given, "preload"),
            pin=_boolean(given, "pin"),
        )
        return _status(adapter, "updated") | _ignored(given)


async def _given(exchange: Exchange) -> Fields:
    """Return the fields of the query, and over them those of the body."""
    query = _query(exchange, _FIELDS)
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
    _check_names(fields, _FIELDS)
    return {**query, **fields}


def _query(exchange: Exchange, known: tuple[str, ...]) -> Fields:
    try:
        given = dict(parse_qsl(exchange.query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        raise RequestError(400, f"The query has more than {_MAX_QUERY_FIELDS} parameters.") from None
    _check_names(given, known)
    return given


def _check_names(given: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse (400) a slip of the pen; what else the platform, or a client of LMI's, may add stops nothing."""
    for name in sorted(set(given) - set(known)):
        if near := difflib.get_close_matches(name[:100].lower(), known, n=1, cutoff=_LIKENESS):
            raise RequestError(400, f"There is no parameter {name[:100]}. Did you mean {near[0]}?", name[:100])


def _ignored(given: Fields) -> Fields:
    """Return what to tell of fields that mean nothing here."""
    return {"ignored": ignored} if (ignored := sorted(set(given) - set(_FIELDS))) else {}


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
    given = _query(exchange, _FIELDS_OF_A_PAGE)
    limit = _count(given, "limit", 100, 1, MAX_PAGE)
    told, more = adapters.page(_name_in(given.get("next_page_token", "")), limit)
    page: Fields = {"adapters": [_facts(adapter) for adapter in told]}
    return {**page, "nextPageToken": _token(told[-1].name)} if more else page


def _token(name: str) -> str:
    """Return the token of the page that follows a name: adapters that come and go between two pages move no others."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_in(token: str) -> str:
    """Return the name a token was made of; DJL's first page is that of `0`."""
    if token in ("", "0"):
        return ""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True).decode()
    except ValueError:
        told = "next_page_token must be the nextPageToken of the page before, or 0 for the first."
        raise RequestError(400, told, "next_page_token") from None


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

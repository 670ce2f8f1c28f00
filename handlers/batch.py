"""A batch that takes several calls of the engine: one for each adapter its inputs name, or as its formatter has it.

The calls' replies become one, in the inputs' order; the first error is the whole batch's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Message

from handlers import screening
from handlers.errors import RequestError, retry_headers
from handlers.exchange import EndedEarlyError, Exchange
from handlers.request import Request

logger = logging.getLogger("lmi")
_AT_ONCE = 8
"""Parts of one batch that are worked on at a time: others want places for their adapters too."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one call is to answer of a batch."""

    request: Request
    name: str
    """Its adapter's."""
    places: tuple[int, ...]
    listed: bool = True
    """The call has a list of inputs and answers with a list; otherwise its answer is the one place's."""


Answer = Callable[[Exchange, Request, str], Awaitable[None]]
"""What answers a part's request with an adapter."""


async def by_adapter(exchange: Exchange, request: Request, names: tuple[str, ...], one: Answer) -> None:
    """Answer `inputs` with an adapter for each.

    Raises:
        RequestError: 400 for a stream, and for a route that knows no `inputs`.
        EndedEarlyError: the exchange had to end first; so have its parts.
    """
    if request.route.kind != "invocations":
        raise RequestError(400, f"{exchange.path} takes one adapter; batches go to /invocations.", "adapters")
    if request.payload.get("stream"):
        raise RequestError(400, "A batch with several adapters cannot be streamed.", "adapters")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    shared = {key: value for key, value in request.payload.items() if key != "adapters"}
    parts = []
    for name, mine in places.items():
        payload = {**shared, "inputs": [request.payload["inputs"][place] for place in mine]}
        body = orjson.dumps(payload)
        parts.append(Part(request._replace(body=body, payload=payload, text=body), name, tuple(mine)))
    await together(exchange, parts, one)


def by_body(request: Request, name: str, bodies: Sequence[dict[str, Any]]) -> list[Part]:
    """Return the parts of a batch that has a body for each text: texts asked for in the same way are one call."""
    alike: dict[bytes, list[int]] = {}
    for place, body in enumerate(bodies):
        rest = {key: value for key, value in body.items() if key != "inputs"}
        key = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS) if "inputs" in body else b"%d" % place
        alike.setdefault(key, []).append(place)
    parts = []
    for places in alike.values():
        body = bodies[places[0]]
        if listed := "inputs" in body:
            body = {**body, "inputs": [bodies[place]["inputs"] for place in places]}
        parts.append(Part(rewritten(request, body), name, tuple(places), listed))
    return parts


def rewritten(request: Request, payload: dict[str, Any]) -> Request:
    """Return a request with the body its formatter made, screened like any other."""
    text = orjson.dumps(payload)
    return request._replace(payload=screening.parse_object(text), text=text, refusal=None)


async def together(exchange: Exchange, parts: Sequence[Part], one: Answer) -> None:
    """Answer all parts and reply with one list.

    Raises:
        RequestError: 500, a script answered otherwise than with an item for each input.
        EndedEarlyError: the exchange had to end first; so have its parts.
    """
    replies = await exchange.unless_ended(_replies(exchange, parts, one))
    if exchange.ended is not None:
        raise EndedEarlyError
    told: list[Any] = [None] * sum(len(part.places) for part in parts)
    for part, (status, body) in zip(parts, replies, strict=True):
        if status != 200:
            await exchange.respond(status, body, headers=retry_headers(status))
            return
        for place, item in zip(part.places, _items(body, part), strict=True):
            told[place] = item
    await exchange.respond(200, orjson.dumps(told))


async def _replies(exchange: Exchange, parts: Sequence[Part], one: Answer) -> list[tuple[int, bytes]]:
    """Return status and body of the reply to each part."""
    waiting = iter(enumerate(parts))
    replies = [(500, b"")] * len(parts)

    async def work() -> None:
        for number, part in waiting:  # shared by all who work
            replies[number] = await _reply(exchange, part, one)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(parts))):
            group.create_task(work())
    return replies


async def _reply(exchange: Exchange, part: Part, one: Answer) -> tuple[int, bytes]:
    reply = bytearray()

    async def collect(message: Message) -> None:
        reply.extend(message.get("body", b""))

    inner = exchange.part(collect)
    try:
        await one(inner, part.request, part.name)
    except RequestError as error:
        return error.status, error.body()
    except EndedEarlyError:  # as has the whole
        pass
    finally:
        inner.close()
    return inner.status or 500, bytes(reply)


def _items(body: bytes, part: Part) -> list[Any]:
    """Return an item for each input, which only a script can have made something else of."""
    count = len(part.places)
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError:
        items = body.decode(errors="replace")
    if not part.listed:
        return [items]
    if isinstance(items, list) and len(items) == count:
        return items
    whose = f"the adapter `{part.name[:100]}`" if part.name else "the base model"
    told = f"The script for {whose} answered {count} inputs of a batch with something else than a list of {count}"
    logger.error("%s; its functions must return that where they answer for a list of inputs", told)
    raise RequestError(500, f"{told}; it must return one.")

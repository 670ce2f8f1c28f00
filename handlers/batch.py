"""A batch whose inputs name different adapters: one engine call for each, and one reply in the inputs' order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from starlette.types import Message

from handlers.errors import RequestError, retry_headers
from handlers.exchange import Exchange

if TYPE_CHECKING:
    from handlers.inference import Request

Answer = Callable[[Exchange, "Request", str], Awaitable[None]]
"""What answers the part of a batch that is one adapter's."""


async def answer(exchange: Exchange, request: "Request", names: tuple[str, ...], one: Answer) -> None:
    """Answer `inputs` with an adapter for each; the first error of a part is the whole batch's.

    Raises:
        RequestError: 400 for a stream.
        EndedEarlyError: the exchange had to end first; so have its parts.
    """
    if request.payload.get("stream"):
        raise RequestError(400, "A batch with several adapters cannot be streamed.", "adapters")
    inputs = request.payload["inputs"]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    parts = [_part(exchange, request, name, [inputs[place] for place in mine], one) for name, mine in places.items()]
    replies = await exchange.unless_ended(_all(parts))
    told: list[Any] = [None] * len(inputs)
    for mine, (status, body) in zip(places.values(), replies, strict=True):
        if status != 200:
            await exchange.respond(status, body, headers=retry_headers(status))
            return
        for place, item in zip(mine, orjson.loads(body), strict=True):
            told[place] = item
    await exchange.respond(200, orjson.dumps(told))


async def _all(parts: Iterable[Awaitable[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    return await asyncio.gather(*parts)


async def _part(exchange: Exchange, request: "Request", name: str, inputs: list[Any], one: Answer) -> tuple[int, bytes]:
    """Return status and body of what one adapter answers to its inputs."""
    body = bytearray()

    async def collect(message: Message) -> None:
        body.extend(message.get("body", b""))

    part = exchange.part(collect)
    payload = {**request.payload, "inputs": inputs}
    payload.pop("adapters")
    try:
        await one(part, replace(request, payload=payload, text=orjson.dumps(payload)), name)
    except RequestError as error:
        return error.status, error.body()
    finally:
        part.close()
    return part.status or 500, bytes(body)

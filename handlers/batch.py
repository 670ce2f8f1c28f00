"""A batch whose inputs name different adapters: one engine call for each, and one reply in the inputs' order."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import orjson
from starlette.types import Message

from handlers.errors import RequestError, retry_headers
from handlers.exchange import EndedEarlyError, Exchange
from handlers.request import Request

Answer = Callable[[Exchange, Request, str], Awaitable[None]]
"""What answers the part of a batch that is one adapter's."""
_AT_ONCE = 8
"""Parts of one batch that are worked on at a time: others want places for their adapters too."""


async def answer(exchange: Exchange, request: Request, names: tuple[str, ...], one: Answer) -> None:
    """Answer `inputs` with an adapter for each; the first error of a part is the whole batch's.

    Raises:
        RequestError: 400 for a stream, and for a route that knows no `inputs`.
        EndedEarlyError: the exchange had to end first; so have its parts.
    """
    if request.route.kind != "invocations":
        raise RequestError(400, f"{exchange.path} takes one adapter; batches go to /invocations.", "adapters")
    if request.payload.get("stream"):
        raise RequestError(400, "A batch with several adapters cannot be streamed.", "adapters")
    inputs = request.payload["inputs"]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    free = asyncio.Semaphore(_AT_ONCE)
    parts = [
        _part(free, exchange, request, name, [inputs[place] for place in mine], one) for name, mine in places.items()
    ]
    replies = await exchange.unless_ended(_all(parts))
    if exchange.ended is not None:
        raise EndedEarlyError
    told: list[Any] = [None] * len(inputs)
    for mine, (status, body) in zip(places.values(), replies, strict=True):
        if status != 200:
            await exchange.respond(status, body, headers=retry_headers(status))
            return
        for place, item in zip(mine, _items(body, len(mine)), strict=True):
            told[place] = item
    await exchange.respond(200, orjson.dumps(told))


async def _all(parts: Iterable[Coroutine[Any, Any, tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
    return [task.result() for task in tasks]


async def _part(
    free: asyncio.Semaphore, exchange: Exchange, request: Request, name: str, inputs: list[Any], one: Answer
) -> tuple[int, bytes]:
    """Return status and body of what one adapter answers to its inputs."""
    reply = bytearray()

    async def collect(message: Message) -> None:
        reply.extend(message.get("body", b""))

    async with free:
        part = exchange.part(collect)
        payload = {**request.payload, "inputs": inputs}
        payload.pop("adapters")
        body = orjson.dumps(payload)
        try:
            await one(part, request._replace(body=body, payload=payload, text=body), name)
        except RequestError as error:
            return error.status, error.body()
        except EndedEarlyError:  # as has the whole
            pass
        finally:
            part.close()
        return part.status or 500, bytes(reply)


def _items(body: bytes, count: int) -> list[Any]:
    """Return an item for each input, which only a script can have made something else of."""
    with contextlib.suppress(orjson.JSONDecodeError):
        items = orjson.loads(body)
        if isinstance(items, list) and len(items) == count:
            return items
    raise RequestError(
        500, f"The script answered {count} inputs of a batch with something else than a list of {count}."
    )

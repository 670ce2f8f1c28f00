"""A closed-loop load: so many clients, each sending its next request when its last one is answered, and when what came.

Bytes are stamped as they arrive and parsed after the run, so that the client's own work stays out of the figures.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import aiohttp

Body = dict[str, Any]


class LoadError(Exception):
    """A request was not answered as it should be; the figures of its run would mean nothing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One answered request, in seconds since it was sent."""

    first_token: float
    """Of a whole answer: when it was there."""
    gaps: tuple[float, ...]
    """Between one token's arrival and the next; of a whole answer, none."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Load:
    """All requests of one run and how long they took together."""

    timings: tuple[Timing, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """What came for one body, each piece with the moment it arrived."""

    number: int
    """Which of the bodies it answers."""
    sent: float
    chunks: list[tuple[float, bytes]]
    failure: str = ""
    """Why it is no answer."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """All that came of one run, in the order of its ends."""

    started: float
    seconds: float
    received: tuple[Received, ...]


async def closed_loop(url: str, bodies: Sequence[Body], concurrency: int) -> Load:
    """Send every body once, `concurrency` at a time; raise LoadError if one was not answered."""
    exchange = await send_all(url, bodies, concurrency)
    for answer in exchange.received:
        if answer.failure:
            raise LoadError(answer.failure)
    return Load(tuple(_timing(answer) for answer in exchange.received), exchange.seconds)


async def send_all(
    url: str, bodies: Sequence[Body], concurrency: int, headers: Mapping[str, str] | None = None
) -> Exchange:
    """Send every body once, `concurrency` at a time, whatever becomes of the others."""
    waiting = iter(enumerate(bodies))
    received: list[Received] = []
    timeout = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as clients:
            for _ in range(concurrency):
                clients.create_task(_client(session, url, waiting, received))
        return Exchange(started, time.perf_counter() - started, tuple(received))


async def _client(
    session: aiohttp.ClientSession, url: str, waiting: Iterator[tuple[int, Body]], received: list[Received]
) -> None:
    for number, body in waiting:
        received.append(await _send(session, url, number, body))


async def _send(session: aiohttp.ClientSession, url: str, number: int, body: Body) -> Received:
    sent = time.perf_counter()
    chunks: list[tuple[float, bytes]] = []
    failure = ""
    try:
        async with session.post(url, json=body) as response:
            chunks += [(time.perf_counter(), chunk) async for chunk in response.content.iter_any()]
            if response.status != 200:
                excerpt = b"".join(chunk for _, chunk in chunks)[:300].decode(errors="replace")
                failure = f"{url} answered {response.status}: {excerpt}"
    except (aiohttp.ClientError, TimeoutError) as error:
        failure = f"{url}: {error or type(error).__name__}"
    return Received(number, sent, chunks, failure)


def _timing(answer: Received) -> Timing:
    whole = b"".join(chunk for _, chunk in answer.chunks)
    if not whole.startswith(b"data:"):
        return Timing(answer.chunks[-1][0] - answer.sent, (), json.loads(whole)["usage"]["completion_tokens"])
    stamps: list[float] = []
    tokens = 0
    for stamp, event in events(answer.chunks):
        if event.get("error"):
            raise LoadError(f"the stream ended in an error: {event['error']}")
        if any(choice["delta"].get("content") for choice in event["choices"]):
            stamps.append(stamp)
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if not stamps or not tokens or not whole.rstrip().endswith(b"[DONE]"):
        raise LoadError(f"a stream without text, usage or end: ...{whole[-200:].decode(errors='replace')}")
    gaps = tuple(after - before for before, after in pairwise(stamps))
    return Timing(stamps[0] - answer.sent, gaps, tokens)


def events(chunks: list[tuple[float, bytes]]) -> Iterator[tuple[float, Body]]:
    """Yield each server-sent event with the moment its last byte arrived."""
    rest = b""
    for stamp, chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n\n")
        for record in complete:
            data = record.removeprefix(b"data:").strip()
            if data and not data.startswith(b":") and data != b"[DONE]":
                yield stamp, json.loads(data)

"""A closed-loop load: so many clients, each sending its next request when its last one is answered, and when what came.

Bytes are stamped as they arrive and parsed after the run, so that the client's own work stays out of the figures.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
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
class _Received:
    sent: float
    chunks: list[tuple[float, bytes]]


async def closed_loop(url: str, bodies: Sequence[Body], concurrency: int) -> Load:
    """Send every body once, `concurrency` at a time, over connections that stay open."""
    waiting = iter(bodies)
    received: list[_Received] = []
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        started = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as clients:
                for _ in range(concurrency):
                    clients.create_task(_client(session, url, waiting, received))
        except* LoadError as failed:
            raise failed.exceptions[0] from None
        seconds = time.perf_counter() - started
    return Load(tuple(_timing(answer) for answer in received), seconds)


async def _client(session: aiohttp.ClientSession, url: str, waiting: Iterator[Body], received: list[_Received]) -> None:
    for body in waiting:
        sent = time.perf_counter()
        async with session.post(url, json=body) as response:
            chunks = [(time.perf_counter(), chunk) async for chunk in response.content.iter_any()]
            if response.status != 200:
                excerpt = b"".join(chunk for _, chunk in chunks)[:300].decode(errors="replace")
                raise LoadError(f"{url} answered {response.status}: {excerpt}")
        received.append(_Received(sent, chunks))


def _timing(answer: _Received) -> Timing:
    whole = b"".join(chunk for _, chunk in answer.chunks)
    if not whole.startswith(b"data:"):
        return Timing(answer.chunks[-1][0] - answer.sent, (), json.loads(whole)["usage"]["completion_tokens"])
    stamps: list[float] = []
    tokens = 0
    for stamp, event in _events(answer.chunks):
        if event.get("error"):
            raise LoadError(f"the stream ended in an error: {event['error']}")
        if any(choice["delta"].get("content") for choice in event["choices"]):
            stamps.append(stamp)
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if not stamps or not tokens or not whole.rstrip().endswith(b"[DONE]"):
        raise LoadError(f"a stream without text, usage or end: ...{whole[-200:].decode(errors='replace')}")
    gaps = tuple(after - before for before, after in pairwise(stamps))
    return Timing(stamps[0] - answer.sent, gaps, tokens)


def _events(chunks: list[tuple[float, bytes]]) -> Iterator[tuple[float, Body]]:
    """Yield each server-sent event with the moment its last byte arrived."""
    rest = b""
    for stamp, chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n\n")
        for record in complete:
            data = record.removeprefix(b"data:").strip()
            if data and not data.startswith(b":") and data != b"[DONE]":
                yield stamp, json.loads(data)

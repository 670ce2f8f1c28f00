"""The load's clock against a server whose delays are known; what takes longer than it should is measured again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.load import Body, Load, LoadError, closed_loop
from tests.timing import assert_within

FIRST, GAP, TOKENS = 0.16, 0.04, 8
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def event(content: str | None, usage: int | None = None) -> bytes:
    choices = [] if content is None else [{"delta": {"content": content}}]
    record: Body = {"choices": choices} | ({"usage": {"completion_tokens": usage}} if usage else {})
    return f"data: {json.dumps(record)}\n\n".encode()


async def streams_slowly(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(event(""))  # as vLLM opens a chat: a role, no text
    await asyncio.sleep(FIRST)
    for number in range(TOKENS):
        await response.write(event(f"{number} "))
        await asyncio.sleep(GAP)
    last = event(None, usage=TOKENS) + b"data: [DONE]\n\n"
    await response.write(last[:10])
    await response.write(last[10:])
    return response


async def answers_whole(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(FIRST)
    return web.json_response({"usage": {"completion_tokens": TOKENS}})


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(event("half of an ans"))
    return response


async def refuses(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "no such model"}}, status=404)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/chat", handler)
    async with TestServer(application) as server:
        yield str(server.make_url("/chat"))


def measured(handler: Handler, requests: int, concurrency: int) -> Load:
    async def run() -> Load:
        async with serving(handler) as url:
            return await closed_loop(url, [{"messages": []}] * requests, concurrency)

    return asyncio.run(run())


def test_a_stream_is_timed_from_its_first_text_and_not_from_its_first_byte() -> None:
    def first_token() -> float:
        (timing,) = measured(streams_slowly, requests=1, concurrency=1).timings
        assert timing.first_token >= FIRST
        return timing.first_token

    assert_within(FIRST + GAP, first_token)


def test_the_gaps_of_a_stream_are_the_servers_gaps() -> None:
    def gap() -> float:
        (timing,) = measured(streams_slowly, requests=1, concurrency=1).timings
        assert len(timing.gaps) == TOKENS - 1
        assert sum(timing.gaps) > GAP * (TOKENS - 2)
        return median(timing.gaps)

    assert_within(GAP * 1.5, gap)


def test_tokens_are_what_the_usage_says() -> None:
    assert [timing.tokens for timing in measured(streams_slowly, requests=3, concurrency=3).timings] == [TOKENS] * 3


def test_a_whole_answer_is_timed_to_its_end() -> None:
    def end() -> float:
        (timing,) = measured(answers_whole, requests=1, concurrency=1).timings
        assert (timing.gaps, timing.tokens) == ((), TOKENS)
        assert timing.first_token >= FIRST
        return timing.first_token

    assert_within(FIRST * 1.5, end)


@pytest.mark.parametrize("concurrency", [8, 4, 1])
def test_as_many_requests_are_under_way_as_asked_for(concurrency: int) -> None:
    under_way = 0
    seen: list[int] = []

    async def counts(request: web.Request) -> web.StreamResponse:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        response = await answers_whole(request)
        under_way -= 1
        return response

    measured(counts, requests=8, concurrency=concurrency)
    assert (len(seen), max(seen)) == (8, concurrency)


@pytest.mark.parametrize(("handler", "message"), [(breaks_off, "half of an ans"), (refuses, "404: .*no such model")])
def test_an_answer_that_is_no_answer_ends_the_run(handler: Handler, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        measured(handler, requests=2, concurrency=2)

"""A model under a DJL engine through its life: what the supervisor and Java are told, whatever goes wrong."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from handlers.djl_engine.wire import Call, Frame
from handlers.djl_service import Model, Service
from handlers.errors import EngineRefusedError, ScriptError
from handlers.status import Status


@dataclass
class App:
    """An application that does what the test says; `end_all` ends what waits for `ended`."""

    answer: Callable[["App", Scope, Receive, Send], Any]
    told: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(self, scope, receive, send)

    def drain(self) -> None:
        self.told.append("drain")

    def end_all(self) -> None:
        self.told.append("end all")
        self.ended.set()


@dataclass
class Life:
    """A service, and what it told."""

    app: App
    failure: Exception | None = None
    dead: bool = False
    ends: list[int] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._status, there = os.pipe()
        self.service = Service(self._load, Status(there), self._end)

    async def _load(self, _properties: Mapping[str, str], _status: Status) -> Model:
        if self.failure:
            raise self.failure
        return Model(self.app, lambda: self.dead, self._close, drain_seconds=0.05)

    def _end(self, code: int) -> None:
        self.ends.append(code)
        self.over.set()

    async def _close(self) -> None:
        self.app.told.append("close")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in os.read(self._status, 65536).splitlines()]

    async def ask(self, function: str = "handle") -> list[Frame]:
        frames: list[Frame] = []

        async def send(frame: Frame) -> None:
            frames.append(frame)

        await self.service.answer(function, Call({}, [("data", b"{}")]), send)
        return frames


async def _says_hello(_app: App, _scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def _raises(_app: App, _scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("a defect of ours")


async def _raises_midway(_app: App, _scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    raise ValueError("a defect of ours")


async def _waits(app: App, _scope: Scope, _receive: Receive, send: Send) -> None:
    await app.ended.wait()
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b'{"error": {"message": "ended"}}'})


def test_a_start_tells_java_and_the_supervisor() -> None:
    life = Life(App(_says_hello))
    assert asyncio.run(life.service.start({})) == (200, "OK")
    assert [event["event"] for event in life.events()] == ["ready"]


def test_a_start_that_fails_says_whose_fault_it_is() -> None:
    for failure, code in ((EngineRefusedError("a"), 2), (ScriptError("a"), 2), (RuntimeError("a"), 4)):
        life = Life(App(_says_hello), failure)
        status, message = asyncio.run(life.service.start({}))
        assert (status, message.endswith("a"), life.service.loaded) == (500, True, False)
        assert life.events()[-1]["code"] == code


def test_a_call_always_ends_with_a_last_frame() -> None:
    async def run(answer: Any, function: str = "handle") -> list[Frame]:
        life = Life(App(answer))
        await life.service.start({})
        return await life.ask(function)

    failed = Frame(last=True, code=500, error="The server failed on this request.")
    assert asyncio.run(run(_says_hello)) == [Frame(b"hello"), Frame(last=True)]
    assert asyncio.run(run(_raises)) == [failed]
    assert asyncio.run(run(_raises_midway)) == [Frame(b"hel"), Frame(last=True)]
    assert asyncio.run(run(_says_hello, "no_such_function")) == [failed]


def test_the_death_of_the_engine_ends_requests_and_then_the_process() -> None:
    async def run() -> tuple[Life, list[Frame]]:
        life = Life(App(_waits))
        await life.service.start({})
        asking = asyncio.create_task(life.ask())
        await asyncio.sleep(0.05)
        life.dead = True
        await life.over.wait()
        return life, await asking

    life, frames = asyncio.run(run())
    assert [(frame.code, frame.error, frame.last) for frame in frames] == [(503, "ended", True)]
    assert life.ends == [4]
    assert life.events()[-1]["event"] == "failed"


def test_a_drain_waits_for_what_is_in_flight_and_then_tells_the_supervisor() -> None:
    async def run() -> Life:
        life = Life(App(_waits))
        await life.service.start({})
        asking = asyncio.create_task(life.ask())
        await asyncio.sleep(0.02)
        life.service.drain()
        life.service.drain()
        assert not asking.done()
        await asking
        await asyncio.sleep(0.3)
        return life

    life = asyncio.run(run())
    assert life.app.told == ["drain", "end all", "close"]
    assert [event["event"] for event in life.events()] == ["ready", "drained"]


def test_a_request_waits_for_the_adapters_asked_for_before_it() -> None:
    order: list[str] = []

    async def slow_for_adapters(_app: App, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/adapters":
            await asyncio.sleep(0.05)
        order.append(scope["path"])
        await _says_hello(_app, scope, receive, send)

    async def run() -> None:
        life = Life(App(slow_for_adapters))
        await life.service.start({})
        await asyncio.gather(life.ask("register_adapter"), life.ask(), life.ask())

    asyncio.run(run())
    assert order == ["/adapters", "/invocations", "/invocations"]

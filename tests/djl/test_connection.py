"""Our engine's end of the socket: one write for what a turn of the loop brings, less frames for a slow reader."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from benchmarks.djl_wire.peer import TRACKING_ID, call
from handlers.djl_engine.connection import Connection
from handlers.djl_engine.wire import Call, Encoder, Frame


class Transport(asyncio.WriteTransport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Streams:
    """A service whose every stream sends a token whenever `step` says so."""

    loaded = True

    def __init__(self) -> None:
        self.sends: list[Callable[[Frame], Awaitable[None]]] = []

    async def start(self, properties: Mapping[str, str]) -> tuple[int, str]:
        raise AssertionError(properties)

    async def answer(self, function: str, asked: Call, send: Callable[[Frame], Awaitable[None]]) -> None:
        assert (function, len(asked.properties)) == ("handle", 2)
        self.sends.append(send)

    async def step(self, data: bytes) -> None:
        """Have each stream send a token, as a step of the engine does."""
        await asyncio.gather(*(send(Frame(data)) for send in self.sends))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def frame(number: int, data: bytes, *, last: bool = False) -> bytes:
    return Encoder(str(number))(Frame(data, last=last))


async def _connected(streams: int) -> tuple[Streams, Connection, Transport]:
    service, transport = Streams(), Transport()
    connection = Connection(service)
    connection.connection_made(transport)
    for number in range(streams):
        connection.data_received(call({TRACKING_ID: str(number), "handler": "handle"}, [("data", b"")]))
    await asyncio.sleep(0)
    return service, connection, transport


def test_what_all_streams_send_in_one_step_is_one_write() -> None:
    async def run() -> list[bytes]:
        service, _, transport = await _connected(64)
        await service.step(b"a")
        await service.step(b"b")
        return transport.writes

    writes = asyncio.run(run())
    assert writes == [b"".join(frame(number, token) for number in range(64)) for token in (b"a", b"b")]


def test_a_callers_header_cannot_take_a_reply_its_name() -> None:
    async def run() -> list[bytes]:
        service, connection, transport = await _connected(0)
        # Java puts its own value under the spelling that a caller's header brought.
        connection.data_received(call({"Request_Tracking_Id": "7", "handler": "handle"}, [("data", b"")]))
        await asyncio.sleep(0)
        await service.step(b"a")
        return transport.writes

    assert asyncio.run(run()) == [frame(7, b"a")]


def test_tokens_gather_into_one_frame_while_java_reads_too_slowly() -> None:
    async def run() -> list[bytes]:
        service, connection, transport = await _connected(2)
        connection.pause_writing()
        for token in (b"a", b"b", b"c"):
            await service.step(token)
        assert transport.writes == []
        await service.sends[0](Frame(last=True))
        connection.resume_writing()
        await service.step(b"d")
        return transport.writes

    first, *_ = asyncio.run(run())
    assert first.startswith(frame(0, b"abc") + frame(0, b"", last=True) + frame(1, b"abc"))


def test_a_stream_waits_once_it_has_gathered_too_much() -> None:
    async def run() -> tuple[bool, bool]:
        service, connection, _ = await _connected(1)
        connection.pause_writing()
        sending = asyncio.ensure_future(service.sends[0](Frame(bytes(300_000))))
        await asyncio.sleep(0.01)
        waited = not sending.done()
        connection.resume_writing()
        await asyncio.sleep(0.01)
        return waited, sending.done()

    assert asyncio.run(run()) == (True, True)

"""One connection to DJL's Java side: calls in, the frames of all replies out, in as few writes as may be.

What all requests send within one turn of the event loop, which is a step of the engine, goes out in one write. While
Java reads too slowly, the data of one request gather and leave as one frame.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from handlers.djl_engine.wire import TRACKING_ID, Call, Decoder, Encoder, Frame, envelope, merged

_BUFFERED_BYTES = 1024 * 1024
"""What may wait to be written before it counts as too slow."""
_HELD_BYTES = 256 * 1024
"""What one request may hold back meanwhile before it has to wait itself."""


class Service(Protocol):
    """What answers: handlers.djl_service.Service."""

    @property
    def loaded(self) -> bool:
        """Tell whether the first call is over."""

    async def start(self, properties: Mapping[str, str]) -> tuple[int, str]:
        """Load the model; return a status and a message."""

    async def answer(self, function: str, call: Call, send: Callable[[Frame], Awaitable[None]]) -> None:
        """Answer one call."""


class Connection(asyncio.Protocol):
    """The engine's end of the socket; `gone` is set when Java has closed its own."""

    def __init__(self, service: Service) -> None:
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.holding: dict[_Stream, None] = {}
        """Requests that hold something back, in the order in which they began to."""
        self._service = service
        self._decoder = Decoder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a fresh connection."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=_BUFFERED_BYTES)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why makes no difference
        """Java is gone, or has had enough."""
        self.gone.set()

    def data_received(self, data: bytes) -> None:
        """Answer each call that is complete; the first loads the model."""
        for call in self._decoder.feed(data):
            task = asyncio.create_task(self._answer(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def pause_writing(self) -> None:
        """Java reads too slowly."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Send what was held back."""
        self.writable.set()
        holding, self.holding = self.holding, {}
        for stream in holding:
            stream.release()

    def write(self, data: bytes) -> None:
        """Send at the end of this turn of the loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._transport.write(b"".join(pending))

    async def _answer(self, call: Call) -> None:
        if self._service.loaded:
            stream = _Stream(self, _tracking_id(call.properties))
            await self._service.answer(call.properties.get("handler", "handle"), call, stream.send)
        else:
            self.write(envelope(*await self._service.start(call.properties), {}))


def _tracking_id(properties: Mapping[str, str]) -> str:
    """Return by which name Java knows a call; a caller's header of that name lends its spelling to it (TreeMap.put)."""
    return next((value for name, value in properties.items() if name.lower() == TRACKING_ID), "")


class _Stream:
    """The frames of one request."""

    def __init__(self, connection: Connection, tracking_id: str) -> None:
        self._connection = connection
        self._encode = Encoder(tracking_id)
        self._held: list[Frame] = []
        self._held_bytes = 0

    async def send(self, frame: Frame) -> None:
        """Send a frame, or hold it back while Java reads too slowly."""
        connection = self._connection
        if connection.writable.is_set():
            connection.write(self._encode(frame))
            return
        self._held.append(frame)
        self._held_bytes += len(frame.data)
        connection.holding[self] = None
        if self._held_bytes > _HELD_BYTES:
            await connection.writable.wait()

    def release(self) -> None:
        """Send what was held back, in as few frames as may be."""
        held, self._held, self._held_bytes = self._held, [], 0
        for frame in merged(held):
            self._connection.write(self._encode(frame))

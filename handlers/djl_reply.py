"""The ASGI `send` of one call: the application's messages into frames as DJL's Java side can carry them.

Java marks a reply as complete before its last chunk can be read, and a reader that looks in between sees the end
(ChunkedBytesSupplier 0.34): what a caller must get goes before the last frame, and the last frame is empty.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import orjson
from starlette.types import Message

from handlers.djl_engine.wire import FRAME_BYTES, Frame
from handlers.errors import one_line

logger = logging.getLogger("lmi")
_SET_BY_JAVA = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date", b"server"})
_ERROR_SECONDS = 0.01
"""How old a request is before it is told of an error, which can only be one last frame: by then Java waits for it."""
_ERROR_CHARACTERS = 2000

Send = Callable[[Frame], Awaitable[None]]


class Reply:
    """One reply in the making; `at_once` says that an error must not wait."""

    def __init__(self, send: Send, at_once: bool = False) -> None:
        self.ended = False
        self._send = send
        self._earliest = time.monotonic() + (0 if at_once else _ERROR_SECONDS)
        self._status = 200
        self._headers: tuple[tuple[str, str], ...] = ()
        self._begun = False
        self._kept = b""
        """The body of an error so far; of a success, the start of a character whose rest is to come."""

    async def __call__(self, message: Message) -> None:
        """Take one ASGI message; what comes after the end is dropped, as Java has forgotten the call."""
        if self.ended:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message["headers"]
                if name not in _SET_BY_JAVA
            )
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._status < 400:
            await self._data(body, more)
        else:
            self._kept += body
            if not more:
                await self.fail(self._status, _message(self._kept))

    async def fail(self, status: int, message: str) -> None:
        """End the reply with an error, as far as it can still be told."""
        if self.ended:
            return
        self.ended = True
        if self._begun:
            await self._send(Frame(last=True))
            return
        await asyncio.sleep(self._earliest - time.monotonic())
        text = one_line(message)[:_ERROR_CHARACTERS]
        await self._send(Frame(last=True, headers=self._headers, code=status, error=text))

    async def _data(self, body: bytes, more: bool) -> None:
        if self._kept or not body.isascii():
            body = self._kept + body
            whole = len(body) if not more else _whole(body)
            body, self._kept = body[:whole], body[whole:]
            if not self._begun and not _is_text(body):
                # Java reads frames as text. Only a custom handler answers with anything else.
                await self.fail(
                    500, "The reply is binary, which DJL Serving does not carry (option.frontend=direct does)."
                )
                return
        while len(body) > FRAME_BYTES:
            cut = _whole(body[:FRAME_BYTES])
            await self._part(body[:cut])
            body = body[cut:]
        if body:
            await self._part(body)
        if not more and not self.ended:
            if not self._begun:
                await self._part(b"\n")  # an empty reply would be one last frame, which may be lost
            self.ended = True
            await self._send(Frame(last=True))

    def _part(self, data: bytes) -> Awaitable[None]:
        if self._begun:
            return self._send(Frame(data))
        self._begun = True
        return self._send(Frame(data, headers=self._headers))


def _whole(text: bytes) -> int:
    """Return how much of UTF-8 is whole characters, where the last may be cut short."""
    for back in range(1, min(4, len(text)) + 1):
        lead = text[-back]
        if lead & 0xC0 != 0x80:  # where the last character starts
            needed = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2 if lead >= 0xC0 else 1
            return len(text) - back if needed > back else len(text)
    return len(text)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _message(body: bytes) -> str:
    """Return what an error's body says: the message of our error object, or the text a custom handler made."""
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body.decode("utf-8", "replace")

"""DJL's side as a Python engine sees it: the same bytes, without Java (ai.djl.python 0.34, Connection and Request)."""

import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TRACKING_ID = "request_tracking_id"
_READ_BYTES = 1024 * 1024


@dataclass
class Reply:
    """What Java has of a reply."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    error: str | None = None
    ended: bool = False

    @property
    def body(self) -> bytes:
        """Return all that came before the end."""
        return b"".join(self.chunks)

    def take(self, properties: Mapping[str, str], parts: Mapping[bytes, bytes]) -> None:
        """Take a frame as Java's Request does."""
        self.headers |= properties
        self.ended = parts[b"last"].lower() == b"true"
        data = parts.get(b"data", b"")
        if not data and not self.ended:
            return
        if code := parts.get(b"code"):
            self.status, self.error = int(code), parts.get(b"error", b"").decode()
        else:
            self.chunks.append(data)


def call(properties: Mapping[str, str], content: list[tuple[str, bytes]]) -> bytes:
    """Encode a call."""
    told = [struct.pack(">h", len(properties))]
    for name, value in properties.items():
        told += [_string(name.encode()), _string(value.encode())]
    told.append(struct.pack(">h", len(content)))
    for key, data in content:
        told += [_string(key.encode()), _string(data)]
    return b"".join(told)


def _string(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


class Peer:
    """One connection to an engine, which has one caller: this object."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = self._socket.makefile("rb", _READ_BYTES)
        self.largest = 0
        """The longest content a frame had."""

    def load(self, properties: Mapping[str, str]) -> tuple[int, str]:
        """Make the call that loads the model; return what the engine answers."""
        self._socket.sendall(call({**properties, "handler": "handle"}, []))
        code, message, _, _ = self._envelope()
        return code, message

    def ask(self, body: bytes, handler: str = "handle", query: Mapping[str, str] | None = None, **headers: str) -> str:
        """Send a request; return its id."""
        number = str(uuid.uuid4())
        properties = {"Content-Type": "application/json", "requestId": f"request-{number}", **headers}
        content = [(name, value.encode()) for name, value in (query or {}).items()]
        if handler == "handle":
            content.append(("data", body))
        self._socket.sendall(call({**properties, TRACKING_ID: number, "handler": handler}, content))
        return number

    def frames(self) -> Iterator[tuple[str, dict[str, str], dict[bytes, bytes]]]:
        """Yield the frames that arrive: whose, with which properties, and what they say."""
        while True:
            code, message, properties, content = self._envelope()
            assert code == 200, message
            yield properties.pop(TRACKING_ID), properties, _parts(content)

    def replies(self, *numbers: str) -> list[Reply]:
        """Wait until the replies to these requests are complete."""
        replies = {number: Reply() for number in numbers}
        waiting = set(numbers)
        for number, properties, parts in self.frames():
            if number in waiting:
                replies[number].take(properties, parts)
            if number in waiting and replies[number].ended:
                waiting.remove(number)
            if not waiting:
                break
        return list(replies.values())

    def reply(self, body: bytes, **given: Any) -> Reply:
        """Send one request and wait for its reply."""
        return self.replies(self.ask(body, **given))[0]

    def close(self) -> None:
        """Close the connection, as Java does when it ends its Python."""
        self._reader.close()
        self._socket.close()

    def receive_into(self, buffer: bytearray) -> int:
        """Read what has come, without looking at it."""
        return self._socket.recv_into(buffer)

    def _envelope(self) -> tuple[int, str, dict[str, str], bytes]:
        code = self._number(">h")
        message = self._text()
        properties = {self._text(): self._text() for _ in range(self._number(">h"))}
        content = b""
        for _ in range(self._number(">h")):
            self._bytes()
            content = self._bytes()
        self.largest = max(self.largest, len(content))
        return code, message, properties, content

    def _number(self, form: str) -> int:
        data = self._reader.read(struct.calcsize(form))
        if not data:
            raise ConnectionError("the engine has closed the connection")
        number: int = struct.unpack(form, data)[0]
        return number

    def _bytes(self) -> bytes:
        length = self._number(">i")
        return self._reader.read(length) if length > 0 else b""

    def _text(self) -> str:
        return self._bytes().decode()


def _parts(content: bytes) -> dict[bytes, bytes]:
    """Read the map within an envelope's content."""
    (count,) = struct.unpack_from(">h", content)
    strings, at = [], 2
    for _ in range(2 * count):
        (length,) = struct.unpack_from(">i", content, at)
        strings.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return dict(zip(strings[::2], strings[1::2], strict=True))

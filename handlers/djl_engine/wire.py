"""DJL's wire format between its Java side and a Python engine, as values in and bytes out; nothing here does I/O.

Big endian; a string is its length (int32, -1 for null) and UTF-8. Read in ai.djl.python 0.34 (Connection, Request).
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

TRACKING_ID = "request_tracking_id"
"""The property by which Java knows which request a frame belongs to."""
FRAME_BYTES = 4 * 1024 * 1024
"""What one frame carries at most; Java gives the engine up over one above 20 MiB (MAX_NETTY_BUFFER_SIZE)."""

_SHORT, _INT = struct.Struct(">h"), struct.Struct(">i")
_NULL = _INT.pack(-1)


class Call(NamedTuple):
    """What Java asks: headers and DJL's own words as properties, the body under `data`, query parameters beside it."""

    properties: Mapping[str, str]
    content: list[tuple[str | None, bytes]]


class Frame(NamedTuple):
    """A part of a reply. Data that comes with the last frame may be lost on its way through Java: see djl_reply."""

    data: bytes = b""
    last: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    """Counts on a reply's first frame only."""
    code: int | None = None
    """The HTTP status of an error, which ends the reply; its text is `error`, in one line."""
    error: str = ""


class Decoder:
    """A stream of bytes into calls."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 1
        """The next call cannot be complete with fewer bytes, so it is not looked at."""

    def feed(self, data: bytes) -> Iterator[Call]:
        """Take the next bytes and yield the calls they complete."""
        self._buffer += data
        while len(self._buffer) >= self._needed:
            try:
                with memoryview(self._buffer) as view:
                    call, end = _call(view)
            except _IncompleteError as error:
                self._needed = error.needed
                return
            del self._buffer[:end]
            self._needed = 1
            yield call


class _IncompleteError(Exception):
    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


def _call(view: memoryview) -> tuple[Call, int]:
    """Read one call; return it and where it ends."""
    properties: dict[str, str] = {}
    content: list[tuple[str | None, bytes]] = []
    count, at = _number(_SHORT, view, 0)
    for _ in range(count):
        name, at = _string(view, at)
        value, at = _string(view, at)
        if name is not None and value is not None:
            properties[name] = value
    count, at = _number(_SHORT, view, at)
    for _ in range(count):
        key, at = _string(view, at)
        data, at = _bytes(view, at)
        content.append((key, data or b""))
    return Call(properties, content), at


def _number(form: struct.Struct, view: memoryview, at: int) -> tuple[int, int]:
    end = at + form.size
    if end > len(view):
        raise _IncompleteError(end)
    return form.unpack_from(view, at)[0], end


def _bytes(view: memoryview, at: int) -> tuple[bytes | None, int]:
    length, at = _number(_INT, view, at)
    if length < 0:
        return None, at
    end = at + length
    if end > len(view):
        raise _IncompleteError(end)
    return bytes(view[at:end]), end


def _string(view: memoryview, at: int) -> tuple[str | None, int]:
    data, at = _bytes(view, at)
    return None if data is None else data.decode("utf-8", "replace"), at


def _encoded(text: bytes) -> bytes:
    return _INT.pack(len(text)) + text


def _pair(name: str, value: str) -> bytes:
    return _encoded(name.encode()) + _encoded(value.encode())


_TRUE, _FALSE = _pair("last", "True"), _pair("last", "False")
_PLAIN = _SHORT.pack(2) + _encoded(b"data")
"""What the content of a frame without a code starts with."""
_PLAIN_BYTES = len(_PLAIN) + _INT.size
_OK = _SHORT.pack(200) + _encoded(b"OK")
_KEY = _SHORT.pack(1) + _NULL
"""One content, under no key."""


def content(frame: Frame) -> bytes:
    """Return the content of a frame's envelope, which is a map of its own."""
    last = _TRUE if frame.last else _FALSE
    if frame.code is None:
        return b"".join((_PLAIN, _INT.pack(len(frame.data)), frame.data, last))
    told = _pair("code", str(frame.code)) + _pair("error", frame.error)
    return b"".join((_SHORT.pack(4), _encoded(b"data"), _encoded(frame.data), last, told))


def envelope(code: int, message: str, properties: Mapping[str, str]) -> bytes:
    """Return a reply without content: the answer to the call that loads the model."""
    told = b"".join(_pair(name, value) for name, value in properties.items())
    return _SHORT.pack(code) + _encoded(message.encode()) + _SHORT.pack(len(properties)) + told + _SHORT.pack(0)


class Encoder:
    """The frames of one request into bytes; what is the same in all of them is made once."""

    def __init__(self, tracking_id: str) -> None:
        self._tracking = _pair(TRACKING_ID, tracking_id)
        self._head = _OK + _SHORT.pack(1) + self._tracking + _KEY

    def __call__(self, frame: Frame) -> bytes:
        """Encode one frame. Every token of every caller comes by here."""
        data = frame.data
        if frame.code is None and not frame.headers:
            last = _TRUE if frame.last else _FALSE
            size = len(data)
            length = _INT.pack(_PLAIN_BYTES + size + len(last))
            return b"".join((self._head, length, _PLAIN, _INT.pack(size), data, last))
        properties = b"".join(_pair(name, value) for name, value in frame.headers)
        inner = content(frame)
        return b"".join(
            (_OK, _SHORT.pack(1 + len(frame.headers)), properties, self._tracking, _KEY, _INT.pack(len(inner)), inner)
        )


def merged(frames: list[Frame]) -> Iterator[Frame]:
    """Yield the same reply in as few frames as may be: data that follow one another become one frame.

    A last frame stays one of its own, so that what it ends is not lost with it.
    """
    pending: list[Frame] = []
    size = 0
    for frame in frames:
        alone = frame.last or frame.code is not None
        if pending and (alone or frame.headers or size + len(frame.data) > FRAME_BYTES):
            yield _joined(pending)
            pending, size = [], 0
        if alone:
            yield frame
        else:
            pending.append(frame)
            size += len(frame.data)
    if pending:
        yield _joined(pending)


def _joined(frames: list[Frame]) -> Frame:
    return Frame(b"".join(frame.data for frame in frames), headers=frames[0].headers)

"""DJL's wire format: our bytes are those of djl_python's own classes, kept as files where those are not at hand.

The files of tests/djl/wire were written by djl_python 0.34: `python tests/djl/test_wire.py STOCK_DIRECTORY`.
"""

import contextlib
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.djl_wire import peer
from benchmarks.djl_wire.parts import Parts
from handlers.djl_engine.wire import FRAME_BYTES, Call, Decoder, Encoder, Frame, content, envelope, merged

WIRE = Path(__file__).parent / "wire"
TRACKING = "3f5ad5dd-470f-421a-9863-2ca97529ed68"
FRAMES = {
    "first": Frame("data: é\n\n".encode(), headers=(("content-type", "text/event-stream"), ("x-odd", "Grüße"))),
    "middle": Frame(b"data: {}\n\n"),
    "last": Frame(last=True),
    "error": Frame(last=True, headers=(("retry-after", "1"),), code=429, error="Too many; retry shortly."),
}
names = st.text(min_size=1, max_size=8)
calls = st.tuples(
    st.dictionaries(names, st.text(max_size=8), max_size=5),
    st.lists(st.tuples(names, st.binary(max_size=50)), max_size=4),
)
headers = st.lists(st.tuples(names, st.text(max_size=8)), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)
frames = st.builds(
    Frame, st.text(max_size=20).map(str.encode), st.booleans(), headers, st.none() | st.integers(400, 599), names
)


def by_stock(output: Callable[[], Any], frame: Frame) -> bytes:
    """Return what djl_python's Output sends for a frame."""
    data: dict[str, object] = {"data": frame.data.decode(), "last": frame.last}
    if frame.code is not None:
        data |= {"code": frame.code, "error": frame.error}
    made = output()
    for name, value in (*frame.headers, (peer.TRACKING_ID, TRACKING)):
        made.add_property(name, value)
    sent = bytearray()
    made.add(made.binary_encode(data)).send(type("Socket", (), {"sendall": staticmethod(sent.extend)}))
    return bytes(sent)


@contextlib.contextmanager
def importing(stock: Path) -> Iterator[Any]:
    """Yield djl_python as DJL ships it, under a name that scripts' own cannot have."""
    kept = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "djl_python"}
    sys.path.insert(0, str(stock))
    try:
        import djl_python

        yield djl_python
    finally:
        sys.path.remove(str(stock))
        for name in [name for name in sys.modules if name.partition(".")[0] == "djl_python"]:
            del sys.modules[name]
        sys.modules |= kept


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_what_djl_python_sends(name: str) -> None:
    assert Encoder(TRACKING)(FRAMES[name]) == (WIRE / f"{name}.bin").read_bytes()


@pytest.mark.djl
def test_any_frame_is_what_djl_python_sends(parts: Parts) -> None:
    with importing(parts.stock) as djl_python:

        @given(frames)
        def check(frame: Frame) -> None:
            assert Encoder(TRACKING)(frame) == by_stock(djl_python.Output, frame)

        check()


@pytest.mark.djl
def test_any_call_is_read_as_djl_python_reads_it(parts: Parts) -> None:
    with importing(parts.stock) as djl_python:

        @given(calls)
        def check(asked: tuple[dict[str, str], list[tuple[str, bytes]]]) -> None:
            inputs = djl_python.Input()
            inputs.read(Reader(peer.call(*asked)))
            (ours,) = Decoder().feed(peer.call(*asked))
            assert ours.properties == inputs.get_properties()
            keys, values = inputs.get_content().get_keys(), inputs.get_content().get_values()
            assert ours.content == [(key, bytes(value)) for key, value in zip(keys, values, strict=True)]

        check()


class Reader:
    """A socket that has received some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


@given(st.lists(calls, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_calls_are_the_same_however_their_bytes_arrive(
    asked: list[tuple[dict[str, str], list[tuple[str, bytes]]]], sizes: list[int]
) -> None:
    data, decoder, at = b"".join(peer.call(*one) for one in asked), Decoder(), 0
    found: list[Call] = []
    while at < len(data):
        size = sizes[at % len(sizes)]
        found += decoder.feed(data[at : at + size])
        at += size
    assert [(dict(call.properties), call.content) for call in found] == asked


def test_a_null_is_no_property_and_no_bytes() -> None:
    null = struct.pack(">i", -1)
    name = struct.pack(">i", 5) + b"alias"
    data = struct.pack(">h", 1) + name + null + struct.pack(">h", 1) + null + null
    (call,) = Decoder().feed(data)
    assert (call.properties, call.content) == ({}, [(None, b"")])


def test_a_large_body_that_arrives_in_pieces_is_not_read_again_for_each() -> None:
    decoder = Decoder()
    data = peer.call({"a": "b"}, [("data", bytes(50_000_000))])
    found = [call for at in range(0, len(data), 65536) for call in decoder.feed(data[at : at + 65536])]
    assert len(found[0].content[0][1]) == 50_000_000


def test_the_answer_to_the_first_call_is_an_envelope_without_content() -> None:
    told = envelope(500, "Grüße", {"a": "b"})
    text = "Grüße".encode()
    assert told == (
        struct.pack(">hi", 500, len(text)) + text + struct.pack(">hi", 1, 1) + b"a" + struct.pack(">i", 1) + b"b\0\0"
    )


@given(st.lists(frames, max_size=8))
def test_merged_frames_say_the_same_in_no_more_frames(given_frames: list[Frame]) -> None:
    said = list(merged(given_frames))
    assert len(said) <= len(given_frames)
    assert b"".join(frame.data for frame in said) == b"".join(frame.data for frame in given_frames)
    ends = [frame for frame in given_frames if frame.last or frame.code is not None]
    assert [frame for frame in said if frame.last or frame.code is not None] == ends
    assert all(frame in said for frame in ends)


def test_merged_frames_stay_below_the_limit_of_one() -> None:
    said = list(merged([Frame(bytes(FRAME_BYTES // 3))] * 10))
    assert [len(frame.data) for frame in said] == [FRAME_BYTES // 3 * 3] * 3 + [FRAME_BYTES // 3]


@given(frames)
def test_the_content_of_a_frame_is_read_back(frame: Frame) -> None:
    reply, parts = peer.Reply(), peer._parts(content(frame))
    reply.take({}, parts)
    assert reply.ended == frame.last
    assert parts[b"data"] == frame.data


def write(stock: Path) -> None:
    """Write the files again, with djl_python's own classes."""
    WIRE.mkdir(exist_ok=True)
    with importing(stock) as djl_python:
        told: Mapping[str, bytes] = {name: by_stock(djl_python.Output, frame) for name, frame in FRAMES.items()}
    for name, data in told.items():
        (WIRE / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

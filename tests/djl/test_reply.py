"""An ASGI application's messages into frames: what Java can carry, and nothing of a reply in its last frame."""

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handlers.djl_engine.wire import FRAME_BYTES, Frame
from handlers.djl_reply import Reply


def frames(*parts: bytes, status: int = 200, **headers: str) -> list[Frame]:
    """Return the frames of a reply whose body comes in parts."""
    sent: list[Frame] = []

    async def send(frame: Frame) -> None:
        sent.append(frame)

    async def run() -> None:
        reply = Reply(send)
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await reply({"type": "http.response.start", "status": status, "headers": raw})
        for number, part in enumerate(parts, start=1):
            await reply({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    asyncio.run(run())
    return sent


def body(sent: list[Frame]) -> bytes:
    return b"".join(frame.data for frame in sent)


def error(status: int, message: Any) -> list[Frame]:
    told = json.dumps({"error": {"message": message, "type": "X", "code": status}}).encode()
    return frames(told, status=status, content_type="application/json")


@given(st.lists(st.text(max_size=30).map(str.encode), min_size=1, max_size=6))
def test_data_come_before_the_last_frame_which_is_empty(parts: list[bytes]) -> None:
    sent = frames(*parts, content_type="text/plain")
    assert [frame.last for frame in sent] == [False] * (len(sent) - 1) + [True]
    assert sent[-1] == Frame(last=True)
    assert len(sent) > 1
    assert all(frame.data for frame in sent[:-1])
    assert body(sent) == (b"".join(parts) or b"\n")


def test_headers_come_with_the_first_frame_but_for_those_java_sets() -> None:
    sent = frames(b"a", b"b", content_type="text/plain", content_length="2", x_amzn_sagemaker_session_id="1")
    assert sent[0].headers == (("content-type", "text/plain"), ("x-amzn-sagemaker-session-id", "1"))
    assert {frame.headers for frame in sent[1:]} == {()}


def test_a_large_body_is_split_between_characters() -> None:
    text = "é€😀x".encode() * (FRAME_BYTES // 4)
    sent = frames(text)
    assert all(len(frame.data) <= FRAME_BYTES and frame.data.decode() is not None for frame in sent)
    assert body(sent) == text


@given(st.text(min_size=1, max_size=40), st.data())
def test_each_frame_holds_whole_characters_wherever_the_body_was_cut(text: str, data: st.DataObject) -> None:
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    sent = frames(*(whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)))
    assert "".join(frame.data.decode() for frame in sent) == text


def test_a_reply_that_is_no_text_is_an_error() -> None:
    (sent,) = frames(b"\x89PNG\xff\xfe")
    assert (sent.code, sent.last, "binary" in sent.error) == (500, True, True)


def test_nothing_follows_the_last_frame_of_a_stream_that_turned_out_to_be_no_text() -> None:
    sent = frames(b"\xff\x00", b"text", b"", content_type="application/octet-stream")
    assert [(frame.code, frame.last) for frame in sent] == [(500, True)]


def test_an_error_is_one_last_frame_with_its_message_in_one_line() -> None:
    (sent,) = error(400, "first\nsecond\r\nthird")
    assert sent == Frame(
        last=True, headers=(("content-type", "application/json"),), code=400, error="first second third"
    )


def test_an_error_of_another_shape_is_told_as_it_is() -> None:
    assert frames(b'{"error": "no"}', status=418)[0].error == "no"
    assert frames(b"<p>no\n</p>", status=418)[0].error == "<p>no </p>"
    assert len(frames(b"x" * 100_000, status=418)[0].error) == 2000


def test_a_reply_that_fails_midway_ends() -> None:
    sent: list[Frame] = []

    async def run() -> None:
        async def send(frame: Frame) -> None:
            sent.append(frame)

        reply = Reply(send)
        await reply({"type": "http.response.start", "status": 200, "headers": []})
        await reply({"type": "http.response.body", "body": b"a", "more_body": True})
        await reply.fail(500, "The server failed.")
        await reply.fail(500, "The server failed.")

    asyncio.run(run())
    assert sent == [Frame(b"a"), Frame(last=True)]

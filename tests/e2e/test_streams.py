"""Checks 21, 22 and 39: streams arrive piece by piece, in the format asked for, and end as they should."""

from itertools import islice

import pytest

from tests.e2e.client import LONG, Client, Json, json_lines, sse
from tests.timing import eventually

CHAT = {"messages": [{"role": "user", "content": "Tell me more"}], "max_tokens": 12, "temperature": 0}
COMPLETION = {"prompt": "The quick brown", "max_tokens": 12, "temperature": 0}
TGI = {"inputs": "The quick brown", "parameters": {"max_new_tokens": 12}}
OPENAI = [pytest.param(CHAT, id="chat"), pytest.param(COMPLETION, id="completions")]


def joined(chunks: list[Json]) -> tuple[str, list[str]]:
    """Return a stream's whole text and its finish reasons; where it was cut into chunks is a matter of timing."""
    choices = [chunk["choices"][0] for chunk in chunks]
    texts = [choice["delta"].get("content") or "" if "delta" in choice else choice["text"] for choice in choices]
    return "".join(texts), [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


@pytest.mark.parametrize("body", OPENAI)
def test_check_21_a_stream_is_server_sent_events_in_several_pieces_and_ends_with_done(api: Client, body: Json) -> None:
    with api.http.stream("POST", "/invocations", json={**body, "stream": True}) as response:
        pieces = list(response.iter_raw())
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["transfer-encoding"] == "chunked"
    assert len(pieces) >= 2
    chunks = sse(api.stream(body)[1])
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
def test_check_22_the_first_pieces_leave_long_before_generation_ends(api: Client, body: Json) -> None:
    with api.http.stream("POST", "/invocations", json={**body, "stream": True}) as response:
        pieces = list(islice(response.iter_raw(), 5))
        assert len(pieces) == 5
        # vLLM's gauge follows the engine's steps, not the stream; of a stream that was held back it stays at 0.
        eventually(lambda: api.requests_running() == 1, "the request still running")
    eventually(lambda: api.requests_running() == 0, "no request running")


@pytest.mark.parametrize("body", OPENAI)
@pytest.mark.parametrize("accept", ["application/jsonlines", "application/x-ndjson"])
def test_check_39_accept_jsonlines_gets_the_same_chunks_as_json_lines(api: Client, body: Json, accept: str) -> None:
    content_type, text = api.stream(body, {"Accept": accept})
    assert content_type.startswith("application/jsonlines")
    assert joined(json_lines(text)) == joined(sse(api.stream(body)[1]))


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/event-stream", "application/json, text/event-stream"]
)
def test_other_accept_headers_leave_a_chat_stream_as_it_is(api: Client, accept: str) -> None:
    content_type, text = api.stream(CHAT, {"Accept": accept})
    assert content_type.startswith("text/event-stream")
    assert sse(text)


@pytest.mark.parametrize("body", [*OPENAI, pytest.param(TGI, id="tgi")])
def test_an_error_before_the_first_token_is_an_ordinary_error_reply(api: Client, body: Json) -> None:
    response = api.invoke({**body, "stream": True, "model": "nope"})
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("application/json")

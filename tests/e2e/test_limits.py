"""Checks 34, 35 and 40: a client that leaves frees the engine, a deadline is told, and overload is refused at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.client import (
    LONG,
    LONG_CHAT,
    LONG_GENERATION,
    LONG_TGI,
    Client,
    Json,
    error_object,
    json_lines,
    refusal,
)
from tests.e2e.conftest import MAX_CONCURRENT, PREDICT_SECONDS
from tests.e2e.test_health import PING_SECONDS
from tests.timing import assert_within, eventually, seconds_of

ABORT_SECONDS = 2.0


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "whole"])
@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
def test_check_34_a_client_that_leaves_aborts_its_generation(api: Client, body: Json, streaming: bool) -> None:
    def leave() -> float:
        with api.send({**body, "stream": streaming}) as connection:
            eventually(lambda: api.requests_running() == 1, "the request running")
            if streaming:
                assert connection.recv(1024).startswith(b"HTTP/1.1 200")
        return seconds_of(lambda: eventually(lambda: api.requests_running() == 0, "no request running"))

    assert_within(ABORT_SECONDS, leave)


def test_check_34_a_client_that_leaves_before_its_body_is_complete_leaves_nothing(api: Client) -> None:
    with api.connect() as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    eventually(lambda: api.metric("lmi_requests_in_flight") == 0, "no request in flight", PREDICT_SECONDS / 2)


def test_check_35_a_request_past_its_deadline_is_504_or_an_error_record(api: Client) -> None:
    slow = {"n": 8, "max_tokens": 16_000}  # more than any machine does in the time
    whole, chat = {**LONG_GENERATION, **slow}, {**LONG_CHAT, **slow, "stream": True}
    tgi = {**LONG_TGI, "parameters": {**LONG_TGI["parameters"], "max_new_tokens": 16_000}, "stream": True}
    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(api.invoke, (whole, chat, tgi)))
    assert PREDICT_SECONDS * 0.9 < time.monotonic() - started < PREDICT_SECONDS * 2
    refusal(answers[0], 504)
    assert [answer.status_code for answer in answers[1:]] == [200, 200]
    records = [record for record in answers[1].text.split("\n\n") if record]
    assert "[DONE]" not in records[-1]
    assert records[-1].startswith('data: {"error"')
    assert '"code":504' in records[-1].replace(" ", "")
    error_object(json_lines(answers[2].text)[-1], 504)
    eventually(lambda: api.requests_running() == 0, "no request running")


def test_check_40_a_request_too_many_is_429_at_once_and_ping_stays_fast(api: Client) -> None:
    with api.in_flight(MAX_CONCURRENT):
        response = api.invoke({"prompt": "one more", "max_tokens": 1})
        assert api.requests_running() == MAX_CONCURRENT  # it was not kept waiting for a place
        refusal(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert_within(PING_SECONDS, api.ping_seconds)
    assert api.invoke({"prompt": "one more", "max_tokens": 1}).status_code == 200


def test_a_hundred_clients_that_leave_at_once_leave_nothing(api: Client) -> None:
    for _ in range(2):
        with ExitStack() as clients:
            for _ in range(50):
                clients.enter_context(api.send({**LONG_CHAT, "stream": True}))
            eventually(lambda: api.requests_running() > 10, "requests running")
        eventually(lambda: api.requests_running() == 0, "no request running")
    eventually(lambda: api.metric("lmi_requests_in_flight") == 0, "no request in flight")

"""Checks 67-73, and rows 7 and 19: stateful sessions as SageMaker's sticky routing needs them."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from tests.e2e.adapter_calls import ask, completion
from tests.e2e.client import Client, refusal
from tests.e2e.conftest import BRIEF_SECONDS, SESSION_SECONDS, Engines
from tests.e2e.server import Server

SESSION, NEW, CLOSED = (f"X-Amzn-SageMaker-{name}" for name in ("Session-Id", "New-Session-Id", "Closed-Session-Id"))
# botocore's pattern of NewSessionId (sagemaker-runtime, 2017-05-13).
BOTOCORE = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*;\sExpires=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def opened(api: Client) -> httpx.Response:
    """Open a session."""
    response = api.invoke({"requestType": "NEW_SESSION"})
    assert response.status_code == 200, response.text
    return response


def open_session(api: Client) -> str:
    """Open a session, and return its id."""
    return opened(api).headers[NEW].partition(";")[0]


def use(api: Client, session: str) -> httpx.Response:
    return api.invoke(completion(), {SESSION: session})


def close(api: Client, session: str) -> httpx.Response:
    return api.invoke({"requestType": "CLOSE"}, {SESSION: session} if session else {})


def test_check_67_a_new_session_is_told_in_both_headers_with_its_end(api: Client) -> None:
    before = datetime.now(UTC)
    headers = opened(api).headers
    assert BOTOCORE.fullmatch(headers[NEW])
    assert len(headers[NEW]) <= 256
    assert headers[SESSION] == headers[NEW]
    until = datetime.strptime(headers[NEW].partition("Expires=")[2], "%Y-%m-%dT%H:%M:%S%z")
    assert -1 <= (until - before).total_seconds() - SESSION_SECONDS <= (datetime.now(UTC) - before).total_seconds()


def test_check_68_a_session_is_used_and_an_unknown_one_refused(api: Client) -> None:
    session = open_session(api)
    assert use(api, session).status_code == 200
    assert use(api, session).json()["choices"][0]["text"] == ask(api).text
    refusal(use(api, "0123456789abcdef"), 400)


@pytest.mark.parametrize("session", ["../x", "..", "a/b", "%2e%2e%2fx", "a" * 300, "a_b", "-a", "x;y", "a b"])
def test_check_68_a_malformed_session_is_refused(api: Client, session: str) -> None:
    refusal(use(api, session), 400)
    refusal(close(api, session), 400)


def test_the_whole_header_of_a_new_session_is_told_from_its_id(api: Client) -> None:
    assert "before the `;`" in refusal(use(api, opened(api).headers[NEW]), 400)["message"]


def test_a_request_type_beside_a_prompt_or_of_no_kind_is_refused(api: Client) -> None:
    error = refusal(api.invoke(completion(requestType="NEW_SESSION")), 400)
    assert error["param"] == "prompt"
    assert "NEW_SESSION or CLOSE" in refusal(api.invoke({"requestType": "FOO"}), 400)["message"]


def test_check_69_a_closed_session_is_over(api: Client) -> None:
    session = open_session(api)
    response = close(api, session)
    assert (response.status_code, response.headers[CLOSED]) == (200, session)
    assert "closed" in refusal(use(api, session), 400)["message"]
    refusal(close(api, session), 400)
    refusal(close(api, ""), 400)


def test_check_72_and_row_07_where_sessions_are_off_only_opening_one_is_refused(tiny: Server) -> None:
    api = tiny.client
    for kind in ("NEW_SESSION", "CLOSE"):
        error = refusal(api.invoke({"requestType": kind}, {SESSION: "abc"}), 400)
        assert "option.enable_stateful_sessions" in error["message"]
    plain = api.answer(completion())["choices"]
    for session in ("abc", "../x", "NEW_SESSION"):
        response = use(api, session)
        assert response.status_code == 200
        assert response.json()["choices"][0]["text"] == plain[0]["text"]
        assert NEW not in response.headers


def test_check_73_the_header_new_session_opens_one_and_answers(api: Client) -> None:
    response = use(api, "NEW_SESSION")
    assert response.status_code == 200
    assert response.json()["choices"][0]["text"] == ask(api).text
    session = response.headers[NEW].partition(";")[0]
    assert use(api, session).status_code == 200


def test_row_19_sessions_need_no_aws_region(lora: Server) -> None:
    environment = {name for process in lora.family() for name in process.environ()}
    assert not [name for name in environment if name.startswith("AWS_")]
    assert close(lora.client, open_session(lora.client)).status_code == 200


def test_a_session_is_checked_on_every_route_of_inference(api: Client) -> None:
    session = open_session(api)
    chat = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    for path, body in (("/v1/completions", completion()), ("/v1/chat/completions", chat)):
        assert api.post(path, body, {SESSION: session}).status_code == 200
        refusal(api.post(path, body, {SESSION: "unknown"}), 400)


def test_check_71_a_session_outlives_its_server(
    engines: Engines, lora: Server, start_lora: Callable[[float], Server]
) -> None:
    kept, closed = open_session(lora.client), open_session(lora.client)
    close(lora.client, closed)
    again = engines.use("brief", lambda: start_lora(BRIEF_SECONDS)).client
    assert use(again, kept).status_code == 200
    refusal(use(again, closed), 400)


def test_check_70_the_first_use_after_its_time_is_refused(brief: Server) -> None:
    session = open_session(brief.client)
    assert use(brief.client, session).status_code == 200
    time.sleep(BRIEF_SECONDS + 0.5)
    refusal(use(brief.client, session), 400)
    refusal(close(brief.client, session), 400)

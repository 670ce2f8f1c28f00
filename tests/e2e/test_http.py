"""Checks 14, 26-29, 31-33, 41 and 83: what HTTP allows and SageMaker's platform does is answered, not refused."""

import gzip
import json

import pytest

from tests.e2e.client import Client, http_request, refusal
from tests.e2e.conftest import MAX_REQUEST_MIB
from tests.e2e.server import Server

MIB = 2**20
BODY = {"prompt": "The quick brown", "max_tokens": 4, "temperature": 0}
CONTENT = json.dumps(BODY).encode()
JSON = {"Content-Type": "application/json"}


def text_of(reply: bytes) -> str:
    """Return the generated text in a raw reply."""
    _, _, body = reply.partition(b"\r\n\r\n")
    return str(json.loads(body)["choices"][0]["text"])


@pytest.fixture
def expected(api: Client) -> str:
    return str(api.answer(BODY)["choices"][0]["text"])


def test_check_14_two_requests_share_one_connection(api: Client, expected: str) -> None:
    first = http_request("POST", "/invocations", CONTENT, JSON)
    last = http_request("POST", "/invocations", CONTENT, JSON | {"Connection": "close"})
    replies = api.raw(first + last).split(b"HTTP/1.1 200 OK\r\n")
    assert replies[0] == b""
    assert [text_of(reply) for reply in replies[1:]] == [expected, expected]


def test_check_14_http_1_0_is_answered_and_closed(api: Client, expected: str) -> None:
    assert text_of(api.raw(http_request("POST", "/invocations", CONTENT, JSON, version="1.0"))) == expected


def test_check_14_an_http_1_0_stream_ends_with_the_connection(api: Client) -> None:
    content = json.dumps({**BODY, "stream": True}).encode()
    reply = api.raw(http_request("POST", "/invocations", content, JSON, version="1.0"))
    assert b"transfer-encoding: chunked" not in reply.lower()
    assert reply.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/octet-stream", "text/plain", "text/plain; charset=utf-8", "APPLICATION/JSON"],
)  # fmt: skip
def test_check_26_a_json_body_is_read_under_the_types_sagemaker_clients_send(
    api: Client, expected: str, content_type: str | None
) -> None:
    headers = {"Connection": "close"} | ({"Content-Type": content_type} if content_type else {})
    reply = api.raw(http_request("POST", "/invocations", CONTENT, headers))
    assert reply.startswith(b"HTTP/1.1 200"), reply[:300]
    assert text_of(reply) == expected


@pytest.mark.parametrize("content_type", ["image/png", "text/html", "multipart/form-data; boundary=x", "nonsense"])
def test_check_27_other_content_types_are_415(api: Client, content_type: str) -> None:
    refusal(api.invoke(CONTENT, {"Content-Type": content_type}), 415)


def test_check_28_unknown_headers_change_nothing(api: Client, expected: str) -> None:
    unknown = {f"X-Amzn-SageMaker-Unknown-{n}": "value" for n in range(30)}
    known = {
        "X-Amzn-SageMaker-Target-Model": "other.tar.gz", "X-Amzn-SageMaker-Forwarded-Api": "InvokeEndpoint",
        "X-Amzn-SageMaker-Enable-Explanations": "`true`", "X-data-parallel-rank": "7", "X-Vllm-Priority": "9",
        "batch_size": "2", "handler": "x", "X-Synchronous": "false",
    }  # fmt: skip
    response = api.invoke(BODY, unknown | known)
    assert response.json()["choices"][0]["text"] == expected


@pytest.mark.parametrize("value", ["a" * 1024, ";=,", "route=/adapters", "a=b;c=d", '"quoted"; {json}', ""])
def test_check_29_custom_attributes_are_accepted_whatever_they_hold(api: Client, expected: str, value: str) -> None:
    response = api.invoke(BODY, {"X-Amzn-SageMaker-Custom-Attributes": value})
    assert response.json()["choices"][0]["text"] == expected


@pytest.mark.parametrize("size", [6 * MIB, 25_000_000, 25 * MIB])
def test_check_31_bodies_of_6_and_25_mb_pass_the_http_layer(api: Client, size: int) -> None:
    body = {**BODY, "user": "x" * size}
    assert api.invoke(body).status_code == 200


def test_bodies_beyond_max_request_size_are_413(api: Client) -> None:
    refusal(api.invoke({**BODY, "user": "x" * (MAX_REQUEST_MIB + 1) * MIB}), 413)


def test_an_announced_body_beyond_the_limit_is_413_before_it_is_sent(api: Client) -> None:
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {(MAX_REQUEST_MIB + 1) * MIB}\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with api.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"  # and not the 408 of a body that never came


def test_check_32_a_response_beyond_6_mib_arrives_intact(cached: Server) -> None:
    # Of this server, which allows a request its 240 s: on a slow machine this takes a while.
    count, tokens, top = 40, 90, 20
    body = {"messages": [{"role": "user", "content": "Go on"}], "n": count, "max_tokens": tokens, "ignore_eos": True,
            "logprobs": True, "top_logprobs": top, "return_tokens_as_token_ids": True}  # fmt: skip
    response = cached.client.invoke(body)
    assert len(response.content) > 6 * MIB
    assert int(response.headers.get("content-length", len(response.content))) == len(response.content)
    choices = response.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(count))
    assert {len(choice["logprobs"]["content"]) for choice in choices} == {tokens}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_check_33_other_methods_on_invocations_are_405_in_json(api: Client, method: str) -> None:
    response = api.http.request(method, "/invocations")
    refusal(response, 405)
    assert response.headers["allow"] == "POST"


def test_check_33_unknown_paths_are_404_in_json(api: Client) -> None:
    for path in ("/", "/nothing/here", "/invocations/", "/v1", "/%00", "/ping2"):
        refusal(api.http.get(path), 404)
        refusal(api.post(path, BODY), 404)


def test_check_41_a_chunked_body_without_content_length_is_read(api: Client, expected: str) -> None:
    parts = (CONTENT[:7], CONTENT[7:9], CONTENT[9:], b"")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert text_of(api.raw(head + chunks)) == expected


def test_check_41_expect_100_continue_is_answered_before_the_body(api: Client, expected: str) -> None:
    request = http_request("POST", "/invocations", CONTENT, JSON | {"Expect": "100-continue", "Connection": "close"})
    with api.connect() as connection:
        connection.sendall(request[: -len(CONTENT)])
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(CONTENT)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    assert text_of(reply) == expected


def test_check_41_accept_encoding_gzip_gets_a_readable_answer(api: Client, expected: str) -> None:
    headers = JSON | {"Accept-Encoding": "gzip", "Connection": "close"}
    head, _, body = api.raw(http_request("POST", "/invocations", CONTENT, headers)).partition(b"\r\n\r\n")
    text = gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body
    assert json.loads(text)["choices"][0]["text"] == expected


def test_check_83_multi_model_endpoints_are_not_pretended(api: Client) -> None:
    refusal(api.http.get("/models"), 404)
    refusal(api.post("/models", {"model_name": "m", "url": "/opt/ml/models/m/model"}), 404, 405)
    refusal(api.http.request("DELETE", "/models/m"), 404, 405)

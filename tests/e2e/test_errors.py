"""Checks 24 and 25: whatever is wrong with a request, the answer is 4xx with one short error object."""

import json

import pytest

from tests.e2e.client import Client, Json, refusal
from tests.e2e.models import MAX_POSITIONS

CHAT: Json = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
COMPLETION: Json = {"prompt": "Hello", "max_tokens": 4}
NESTED = b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
OBJECTS = b'{"messages": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}"

MALFORMED = {
    "empty": b"", "blank": b" \n", "truncated": b'{"prompt": "Hel', "text": b"Hello", "array": b"[]", "number": b"1",
    "string": b'"prompt"', "null": b"null", "true": b"true", "list of bodies": json.dumps([COMPLETION]).encode(),
    "two objects": b"{}{}", "trailing comma": b'{"prompt": "a",}', "single quotes": b"{'prompt': 'a'}",
    "deep lists": NESTED, "deep objects": OBJECTS, "NUL byte": b'{"prompt": "a\x00b"}', "only NUL": b"\x00" * 64,
    "not UTF-8": b'{"prompt": "\xff\xfe"}', "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "NaN": b'{"prompt": "a", "temperature": NaN}', "Infinity": b'{"prompt": "a", "temperature": Infinity}',
    "huge exponent": b'{"prompt": "a", "temperature": 1e999}',
    "huge integer": b'{"prompt": "a", "seed": ' + b"9" * 400 + b"}",
    "integer of 5,000 digits": b'{"prompt": "a", "max_tokens": ' + b"9" * 5_000 + b"}",
    "lone surrogate": b'{"prompt": "\\ud800"}', "surrogate key": b'{"prompt": "a", "\\udfff": 1}',
    "empty object": b"{}", "unknown schema": b'{"question": "a"}', "form": b"prompt=a",
}  # fmt: skip

INVALID: dict[str, Json] = {
    "negative max_tokens": {**COMPLETION, "max_tokens": -1},
    "max_tokens beyond the context": {**COMPLETION, "max_tokens": MAX_POSITIONS + 1},
    "max_tokens of text": {**COMPLETION, "max_tokens": "many"},
    "fractional max_tokens": {**COMPLETION, "max_tokens": 1.5},
    "max_tokens out of range": {**COMPLETION, "max_tokens": 10**30},
    "negative temperature": {**CHAT, "temperature": -1},
    "temperature of text": {**CHAT, "temperature": "hot"},
    "top_p above one": {**CHAT, "top_p": 1.5},
    "negative n": {**CHAT, "n": -1},
    "enormous n": {**CHAT, "n": 10**9},
    "bad tool_choice": {**CHAT, "tool_choice": "perhaps"},
    "tool_choice without tools": {**CHAT, "tool_choice": "required"},
    "bad response_format": {**CHAT, "response_format": {"type": "poem"}},
    "bad schema": {
        **CHAT,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 1}}},
    },
    "bad regex": {**COMPLETION, "structured_outputs": {"regex": "("}},
    "messages as text": {**CHAT, "messages": "Hello"},
    "no messages": {**CHAT, "messages": []},
    "message without role": {**CHAT, "messages": [{"content": "a"}]},
    "image for a text model": {
        **CHAT,
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
    },
    "prompt as object": {**COMPLETION, "prompt": {"text": "a"}},
    "prompt of mixed types": {**COMPLETION, "prompt": ["a", 1]},
    "token beyond the vocabulary": {**COMPLETION, "prompt": [10**6]},
    "negative token": {**COMPLETION, "prompt": [-1]},
    "bias beyond the vocabulary": {**COMPLETION, "logit_bias": {"1000000": 1}},
    "allowed tokens beyond the vocabulary": {**COMPLETION, "allowed_token_ids": [10**6]},
    "stream as text": {**CHAT, "stream": "yes please"},
    "top_logprobs beyond the limit": {**CHAT, "logprobs": True, "top_logprobs": 10_000},
    "prompt longer than the context": {**COMPLETION, "prompt": [17] * (MAX_POSITIONS + 1)},
    "chat longer than the context": {**CHAT, "messages": [{"role": "user", "content": "word " * 3 * MAX_POSITIONS}]},
    "inputs as number": {"inputs": 1},
    "inputs as list of numbers": {"inputs": [1, 2]},
    "inputs of no text": {"inputs": None},
    "no inputs": {"inputs": []},
    "inputs longer than the context": {"inputs": "word " * 3 * MAX_POSITIONS},
    "parameters as list": {"inputs": "a", "parameters": [1]},
    "negative max_new_tokens": {"inputs": "a", "parameters": {"max_new_tokens": -1}},
    "max_new_tokens zero": {"inputs": "a", "parameters": {"max_new_tokens": 0}},
    "max_new_tokens beyond the context": {"inputs": "a", "parameters": {"max_new_tokens": MAX_POSITIONS + 1}},
    "max_new_tokens of text": {"inputs": "a", "parameters": {"max_new_tokens": "5"}},
    "do_sample of text": {"inputs": "a", "parameters": {"do_sample": "yes"}},
    "negative truncate": {"inputs": "a", "parameters": {"truncate": -1}},
    "negative temperature in TGI": {"inputs": "a", "parameters": {"do_sample": True, "temperature": -1}},
    "top_p of two": {"inputs": "a", "parameters": {"do_sample": True, "top_p": 2}},
    "stop as number": {"inputs": "a", "parameters": {"stop": 1}},
    "seed of text": {"inputs": "a", "parameters": {"seed": "a"}},
    "top_n_tokens beyond the limit": {"inputs": "a", "parameters": {"details": True, "top_n_tokens": 10_000}},
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/invocations", "/v1/completions", "/v1/chat/completions"])
def test_check_24_a_body_that_is_no_json_object_is_400(api: Client, path: str, content: bytes) -> None:
    refusal(api.post(path, content), 400)


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_check_25_an_invalid_parameter_is_4xx_and_says_which(api: Client, body: Json) -> None:
    refusal(api.invoke(body), 400, 422)


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_check_25_an_invalid_parameter_is_refused_before_a_stream_starts(api: Client, body: Json) -> None:
    refusal(api.invoke(body if isinstance(body.get("stream"), str) else {**body, "stream": True}), 400, 422)


def test_check_25_context_overflow_says_how_long_the_context_is(api: Client) -> None:
    for body in (INVALID["prompt longer than the context"], INVALID["inputs longer than the context"]):
        assert str(MAX_POSITIONS) in refusal(api.invoke(body), 400)["message"]


@pytest.mark.parametrize(
    "content", [b"\r\n\r\n", b"GET\r\n\r\n", b"POST /invocations HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_bytes_that_are_no_http_leave_the_server_well(api: Client, content: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(content)
        connection.shutdown(1)
        connection.recv(4096)
    assert api.http.get("/ping").status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999"])
def test_a_content_length_that_is_none_is_refused(api: Client, length: str) -> None:
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    reply = api.raw(head.encode())
    assert not reply or reply.split(b" ", 2)[1] in (b"400", b"413"), reply[:200]
    assert api.http.get("/ping").status_code == 200

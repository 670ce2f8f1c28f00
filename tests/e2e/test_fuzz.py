"""Bodies nobody would write by hand: every answer is 2xx or 4xx, no request hangs, and /ping stays 200 throughout."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.client import Client, Json, pinging, refusal
from tests.e2e.odd_values import (
    ANY_FIELD,
    CHAT_FIELDS,
    COMPLETION_FIELDS,
    MESSAGES_FIELDS,
    RESPONSES_FIELDS,
    TGI_FIELDS,
    fields,
)
from tests.e2e.server import Server

Bodies = st.SearchStrategy[Any]
CHAT: Json = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
COMPLETION: Json = {"prompt": "Hi", "max_tokens": 3}


def bounded(body: Json) -> Json:
    """Keep a limit on the tokens where there would be none: an answer that ends is wanted here."""
    return body if body["max_tokens"] is not None else body | {"max_tokens": 3}


CHATS = fields((*ANY_FIELD, *CHAT_FIELDS)).map(lambda odd: bounded(CHAT | odd))
COMPLETIONS = fields((*ANY_FIELD, *COMPLETION_FIELDS)).map(lambda odd: bounded(COMPLETION | odd))
TGI_BODIES = st.builds(
    lambda odd, stream: {"inputs": "Hi", "parameters": {"max_new_tokens": 3} | odd, "stream": stream},
    fields(TGI_FIELDS), st.booleans(),
)  # fmt: skip
EMBEDDINGS = fields(("input", "inputs", "model", "dimensions", "encoding_format", "truncate_prompt_tokens", "user",
                     "priority", "add_special_tokens", "normalize", "use_activation", "cache_salt", "request_id",
                     "embed_dtype", "endianness", "messages")).map(lambda odd: {"input": "Hi"} | odd)  # fmt: skip
OTHER_ROUTES = {
    "/v1/responses": fields(RESPONSES_FIELDS).map(lambda odd: {"input": "Hi", "max_output_tokens": 16} | odd),
    "/v1/messages": fields(MESSAGES_FIELDS).map(lambda odd: {**CHAT, "model": "lmi"} | odd),
    "/tokenize": fields(("prompt", "messages", "model", "add_special_tokens", "return_token_strs", "tools")),
    "/detokenize": fields(("tokens", "model")).map(lambda odd: {"tokens": [1, 2]} | odd),
}
SPLICES = st.builds(
    lambda where, length, noise: (where, length, noise), st.integers(0, 80), st.integers(0, 12),
    st.one_of(st.binary(max_size=8), st.sampled_from((b"[[[", b"{", b'"', b"\x00", b"1e9"))),
)  # fmt: skip


def shoot(api: Client, path: str, content: bytes) -> None:
    response = api.http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 200 or 400 <= response.status_code < 500, (response.status_code, response.text[:300])
    if response.status_code != 200:
        refusal(response, response.status_code)
    assert b'"code":500' not in response.content  # in a stream, after its 200


def fuzz(server: Server, path: str, bodies: Bodies, number: int) -> None:
    """Send a number of bodies, the same everywhere, pinging all the while, and see the engine alive at the end."""
    api = server.client

    # No shrinking: a body that hangs the engine would hang it hundreds of times more.
    @settings(max_examples=number, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(body=bodies)
    def each(body: Any) -> None:
        shoot(api, path, body if isinstance(body, bytes) else json.dumps(body).encode())

    with pinging(api):
        each()
    assert server.process.poll() is None
    assert api.http.get("/ping").status_code == 200


def test_odd_chat_bodies_are_answered_or_refused(tiny: Server) -> None:
    fuzz(tiny, "/v1/chat/completions", CHATS, 800)


def test_odd_completions_bodies_are_answered_or_refused(tiny: Server) -> None:
    fuzz(tiny, "/invocations", COMPLETIONS, 800)


def test_odd_tgi_bodies_are_answered_or_refused(tiny: Server) -> None:
    fuzz(tiny, "/invocations", TGI_BODIES, 500)


@pytest.mark.parametrize(("path", "bodies"), OTHER_ROUTES.items(), ids=OTHER_ROUTES)
def test_odd_bodies_on_other_routes_are_answered_or_refused(tiny: Server, path: str, bodies: Bodies) -> None:
    fuzz(tiny, path, bodies, 300)


def test_odd_embeddings_bodies_are_answered_or_refused(embedder: Server) -> None:
    fuzz(embedder, "/invocations", EMBEDDINGS, 400)


def test_bodies_with_bytes_cut_out_and_put_in_are_answered_or_refused(tiny: Server) -> None:
    odd = {**CHAT, "stop": ["a", "\n"], "logit_bias": {"5": 1}, "stream": False, "max_completion_tokens": 3}
    whole = json.dumps(odd).encode()
    fuzz(tiny, "/invocations", SPLICES.map(lambda s: whole[: s[0]] + s[2] + whole[s[0] + s[1] :]), 400)


# What vLLM 0.32 answers with 500, or does not survive; found by the tests above.
BREAKS_VLLM: dict[str, Json] = {
    "array of a billion items": {
        **CHAT, "response_format": {"type": "json_schema", "json_schema": {
            "name": "a", "schema": {"type": "array", "minItems": 10**9, "items": {"type": "integer"}}}},
    },
    "regex of a billion characters": {**COMPLETION, "structured_outputs": {"regex": "a{1000000000}"}},
    "left-recursive grammar": {**COMPLETION, "structured_outputs": {"grammar": 'root ::= "a" root | root'}},
    "grammar of a billion characters": {**COMPLETION, "structured_outputs": {"grammar": 'root ::= "a"{1000000000}'}},
    "ten thousand equal choices": {**COMPLETION, "structured_outputs": {"choice": ["a"] * 10_000}},
    "structural tag without triggers": {
        **CHAT, "structured_outputs": {"structural_tag": '{"type":"structural_tag","format":{"type":"any_text"}}'},
    },
    "structured outputs that are a number": {**CHAT, "structured_outputs": 1},
    "structured outputs that are a list": {**COMPLETION, "structured_outputs": []},
    "top_k beyond 64 bits": {**CHAT, "top_k": 10**30},
    "stream interval beyond 64 bits": {**CHAT, "stream": True, "stream_interval": 2**64},
    "seed for a prompt of several steps": {"prompt": [19] * 5000, "max_tokens": 2, "seed": 1},
    "lone surrogate in stop": {**COMPLETION, "stop": ["\ud800"]},
    "lone surrogate in a request id": {**CHAT, "request_id": "\ud800"},
    "transfer parameters by the back door": {**CHAT, "vllm_xargs": {"kv_transfer_params": "x"}},
}  # fmt: skip


@pytest.mark.parametrize("body", BREAKS_VLLM.values(), ids=BREAKS_VLLM)
def test_bodies_that_break_vllm_are_answered_or_refused(api: Client, body: Json) -> None:
    shoot(api, "/invocations", json.dumps(body).encode())
    assert api.answer(COMPLETION)["choices"]

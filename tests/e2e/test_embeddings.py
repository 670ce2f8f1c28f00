"""Check 4, and a server of an embedding model: OpenAI bodies with `input` and LMI bodies with `inputs`."""

import math

import pytest

from tests.e2e.client import Client, Json, refusal
from tests.e2e.server import Server

TEXTS = ["The quick brown fox", "天地玄黄"]


@pytest.fixture
def embeddings(embedder: Server) -> Client:
    return embedder.client


def vectors(answer: Json) -> list[list[float]]:
    return [item["embedding"] for item in answer["data"]]


def test_check_04_an_invocation_right_after_the_first_200_succeeds(embedder: Server) -> None:
    # The first test of this server: nothing but the /ping that answered 200 came before.
    assert embedder.client.invoke({"inputs": "first"}).status_code == 200


@pytest.mark.parametrize("path", ["/invocations", "/v1/embeddings"])
def test_an_openai_embeddings_body_is_answered_on_both_routes(embeddings: Client, path: str) -> None:
    answer = embeddings.answer({"input": TEXTS}, path)
    assert answer["object"] == "list"
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert answer["usage"]["prompt_tokens"] == sum(
        embeddings.answer({"prompt": text}, "/tokenize")["count"] for text in TEXTS
    )


def test_an_inputs_body_gets_bare_vectors(embeddings: Client) -> None:
    expected = vectors(embeddings.answer({"input": TEXTS}))
    many, one = embeddings.answer({"inputs": TEXTS}), embeddings.answer({"inputs": TEXTS[0]})
    for found, wanted in zip([*many, *one], [*expected, expected[0]], strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_vectors_have_length_one(embeddings: Client) -> None:
    (vector,) = embeddings.answer({"inputs": TEXTS[0]})
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("model", [None, "", "lmi"])
def test_an_embedding_needs_no_model_name(embeddings: Client, model: str | None) -> None:
    assert embeddings.invoke({"input": TEXTS[0], "model": model}).status_code == 200


BAD: list[Json] = [
    {"inputs": 1}, {"inputs": None}, {"inputs": [1.5]}, {"input": {}}, {"input": None}, {"inputs": ["a", 1]},
    {"input": [10**9]}, {"input": [-1]}, {"inputs": "word " * 50_000}, {"input": "a", "dimensions": -1},
    {"input": "a", "dimensions": 10**30}, {"input": "a", "encoding_format": "x"}, {"inputs": []}, {"input": []},
    {"messages": [{"role": "user", "content": "a"}], "max_tokens": "x"},
    {"inputs": "a", "model": "nope"}, {"prompt": "a"},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=[str(body)[:50] for body in BAD])
def test_a_bad_embeddings_body_is_4xx(embeddings: Client, body: Json) -> None:
    refusal(embeddings.invoke(body), 400, 404, 422)


def test_generation_is_refused_by_an_embedding_server(embeddings: Client) -> None:
    refusal(embeddings.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}), 400, 404, 501)
    assert embeddings.http.get("/ping").status_code == 200

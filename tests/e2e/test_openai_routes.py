"""Checks 18, 19, 23, 37, 38 and 42-45, the aliases of LMI, and what of vLLM's application is not to be reached."""

import json

import pytest

from tests.e2e.client import Client, Json, refusal, sse

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 8, "temperature": 0}
COMPLETION = {"prompt": "The quick brown", "max_tokens": 8, "temperature": 0}


def chat_text(answer: Json) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_check_18_a_chat_body_gets_a_chat_completion_with_usage(api: Client) -> None:
    response = api.invoke(CHAT)
    assert response.headers["content-type"].startswith("application/json")
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] == 8
    assert chat_text(answer)


def test_check_19_a_completions_body_gets_a_text_completion(api: Client) -> None:
    answer = api.answer(COMPLETION)
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"]


def test_usage_counts_are_exact(api: Client) -> None:
    counted = api.answer({"prompt": COMPLETION["prompt"]}, "/tokenize")["count"]
    answer = api.answer({**COMPLETION, "return_token_ids": True})
    produced = len(answer["choices"][0]["token_ids"])
    assert answer["usage"]["prompt_tokens"] == counted
    assert answer["usage"]["completion_tokens"] == produced == 8
    assert answer["usage"]["total_tokens"] == counted + produced


def test_check_23_the_last_chunk_carries_usage_when_asked(api: Client) -> None:
    _, text = api.stream({**CHAT, "stream_options": {"include_usage": True}})
    *chunks, last = sse(text)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 8
    assert all(chunk["choices"] for chunk in chunks)


NAMELESS: list[Json] = [{}, {"model": None}, {"model": ""}, {"model": "lmi"}]


@pytest.mark.parametrize("model", NAMELESS, ids=json.dumps)
@pytest.mark.parametrize("path", ["/invocations", "/v1/chat/completions"])
def test_checks_38_and_42_no_model_name_means_the_base_model(api: Client, path: str, model: Json) -> None:
    assert chat_text(api.answer({**CHAT, **model}, path)) == chat_text(api.answer(CHAT))


@pytest.mark.parametrize("body", [CHAT, COMPLETION, {"inputs": "The quick brown"}], ids=["chat", "completions", "tgi"])
@pytest.mark.parametrize("model", ["nope", "gpt-4", " ", "lmi2", "LMI", "../lmi"])
def test_check_37_another_model_name_is_404_and_never_answered(api: Client, body: Json, model: str) -> None:
    error = refusal(api.invoke({**body, "model": model}), 404)
    assert "does not exist; GET /v1/models lists" in error["message"]


@pytest.mark.parametrize("model", [7, [], {}, True])
def test_a_model_name_that_is_no_string_is_refused(api: Client, model: object) -> None:
    refusal(api.invoke({**CHAT, "model": model}), 400, 404, 422)


def test_check_43_the_served_names_and_the_model_id_are_accepted_and_others_are_404(api: Client) -> None:
    served = [model["id"] for model in api.http.get("/v1/models").json()["data"]]
    assert served
    for name in served:
        assert api.post("/v1/chat/completions", {**CHAT, "model": name}).status_code == 200
    refusal(api.post("/v1/chat/completions", {**CHAT, "model": "nope"}), 404)


def test_check_44_a_chat_stream_has_chunks_usage_and_done(api: Client) -> None:
    content_type, text = api.stream({**CHAT, "stream_options": {"include_usage": True}}, path="/v1/chat/completions")
    assert content_type.startswith("text/event-stream")
    chunks = sse(text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]) == chat_text(api.answer(CHAT))
    assert chunks[-1]["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer anything"}, {"Authorization": "nonsense"}], ids=json.dumps
)
def test_check_45_authorization_is_left_to_the_platform(api: Client, headers: dict[str, str]) -> None:
    assert api.post("/v1/chat/completions", CHAT, headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/predictions/lmi", "/models/lmi/invoke", "/predictions/model", "/models/model/invoke"]
)
def test_the_paths_of_lmi_are_aliases_of_invocations(api: Client, path: str) -> None:
    assert chat_text(api.answer(CHAT, path)) == chat_text(api.answer(CHAT))
    assert "generated_text" in api.answer({"inputs": "Hello"}, path)


def test_the_paths_of_lmi_know_no_other_model(api: Client) -> None:
    refusal(api.post("/predictions/nope", CHAT), 404)
    refusal(api.post("/models/nope/invoke", CHAT), 404)


def test_a_responses_body_is_answered_on_its_route(api: Client) -> None:
    answer = api.answer({"model": "lmi", "input": "Hello", "max_output_tokens": 4}, "/v1/responses")
    assert answer["object"] == "response"


def test_version_and_health_are_told(api: Client) -> None:
    assert api.http.get("/version").json()["version"].startswith("0.32")
    assert api.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up", "/is_sleeping", "/pause",
     "/resume", "/reset_prefix_cache", "/reset_mm_cache", "/collective_rpc", "/server_info", "/start_profile",
     "/stop_profile", "/inference/v1/generate", "/inference/v1/abort_requests", "/update_weights", "/scale_elastic_ep",
     "/docs", "/redoc", "/openapi.json", "//sleep", "/v1/../sleep", "/%73leep",
     "/tokenizer_info"],
)  # fmt: skip
def test_routes_that_manage_the_engine_are_not_reachable(api: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = api.http.request(method, path, headers={"Content-Type": "application/json"})
        refusal(response, 404, 405)

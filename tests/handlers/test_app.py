"""The application around an engine: routes, admission, deadlines, endings, errors. The engine is the test's own."""

import asyncio
import json
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from handlers.formatters import scripts
from tests.handlers.asgi import FakeEngine, Request, answers, application, call, in_progress, never_answers, streams
from tests.handlers.scripted import loaded
from tests.timing import LONG_SECONDS

scripts.provide_djl_python()

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
CHUNK = json.dumps({"choices": [{"text": "a"}]})
DEADLINE_SECONDS = 0.5
"""Many times longer than a request takes until it waits for the engine."""


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_ping_is_200_and_empty(method: str) -> None:
    response = call(application(answers({})), path="/ping", method=method)
    assert (response.status, response.body) == (200, b"")


def test_a_dead_engine_fails_ping_and_refuses_requests() -> None:
    engine = answers({})
    engine.died = True
    assert call(application(engine), path="/ping", method="GET").status == 503
    assert call(application(engine), CHAT).status == 503
    assert engine.calls == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nope", "POST", 404), ("/invocations", "GET", 405), ("/adapters", "POST", 400), ("/pause", "POST", 404),
     ("/v1/load_lora_adapter", "POST", 404), ("/predictions/other", "POST", 404)],
)  # fmt: skip
def test_what_is_not_offered_is_refused_and_never_reaches_the_engine(path: str, method: str, status: int) -> None:
    engine = answers({})
    response = call(application(engine), CHAT, path=path, method=method)
    assert (response.status, response.json()["error"]["code"], engine.calls) == (status, status, [])


@pytest.mark.parametrize(
    ("body", "path"),
    [(CHAT, "/v1/chat/completions"), ({"prompt": "Hi"}, "/v1/completions"), ({"inputs": "Hi"}, "/v1/completions"),
     ({"input": "Hi"}, "/v1/responses"), ({"query": "a", "documents": ["b"]}, "/rerank")],
)  # fmt: skip
@pytest.mark.parametrize("alias", ["/invocations", "/predictions/lmi", "/models/tiny/invoke"])
def test_the_body_decides_which_route_of_the_engine_answers(body: object, path: str, alias: str) -> None:
    choice = {"index": 0, "text": "a", "finish_reason": "length", "token_ids": [], "logprobs": None}
    engine = answers({"choices": [choice]})
    assert call(application(engine), body, path=alias).status == 200
    assert engine.calls[0][0] == path


def test_openai_bodies_reach_the_engine_untouched() -> None:
    engine = answers({})
    body = b'{ "messages" : [ {"role":"user","content":"\\u00e9"} ] }'
    call(application(engine), body)
    assert engine.calls == [("/v1/chat/completions", body)]


@pytest.mark.parametrize(
    "content_type", ["", "application/json; charset=utf-8", "text/plain", "application/octet-stream"]
)
def test_json_is_taken_under_every_content_type_sagemaker_clients_send(content_type: str) -> None:
    assert call(application(answers({})), CHAT, content_type=content_type).status == 200


def test_other_content_types_are_415() -> None:
    assert call(application(answers({})), CHAT, content_type="image/png").status == 415


def test_a_body_in_another_charset_is_decoded() -> None:
    engine = answers({})
    call(application(engine), '{"prompt":"é"}'.encode("latin-1"), content_type="application/json; charset=iso-8859-1")
    assert json.loads(engine.calls[0][1]) == {"prompt": "é"}


def test_a_body_above_the_limit_is_413() -> None:
    response = call(application(answers({}), max_request_bytes=100), b"x" * 101)
    assert (response.status, response.json()["error"]["type"]) == (413, "RequestTooLargeError")


def test_an_announced_body_above_the_limit_is_413_before_it_is_read() -> None:
    assert call(application(answers({}), max_request_bytes=100), b"", content_length="101").status == 413


def test_a_body_that_never_arrives_is_408_and_gives_its_place_back() -> None:
    async def run() -> None:
        app = application(answers({}), predict_timeout_seconds=DEADLINE_SECONDS, max_concurrent_requests=1)
        async with in_progress(app, b'{"prompt":', complete=False) as slow:
            pass
        assert slow.response.status == 408
        async with in_progress(app, CHAT) as next_one:
            pass
        assert next_one.response.status == 200

    asyncio.run(run())


def test_row_15_a_reply_of_25_mb_arrives_whole() -> None:
    response = call(application(answers({"choices": [{"text": "x" * 25_000_000}]})), {"prompt": "Hi"})
    assert (response.status, len(response.json()["choices"][0]["text"])) == (200, 25_000_000)


def test_row_24_a_reply_has_no_header_but_the_engines() -> None:
    given = {"x_amzn_sagemaker_inference_id": "7", "request_tracking_id": "8", "requestid": "9"}
    assert set(call(application(answers({})), CHAT, **given).headers) == {"content-type", "content-length"}


def test_a_request_for_an_adapter_never_gets_the_base_models_answer() -> None:
    engine = answers({})
    by_header = call(application(engine), CHAT, x_amzn_sagemaker_adapter_identifier="a")
    by_body = call(application(engine), CHAT | {"adapters": ["a"]})
    assert (by_header.status, by_body.status, engine.calls) == (404, 404, [])


def test_one_request_too_many_is_429_with_retry_after_and_ping_still_answers() -> None:
    async def run() -> None:
        app = application(never_answers(), max_concurrent_requests=1)
        async with in_progress(app, CHAT) as first:
            async with in_progress(app, CHAT) as second:
                pass
            async with in_progress(app, b"", path="/ping", method="GET") as ping:
                pass
            first.leave()
        assert (second.response.status, second.response.headers["retry-after"]) == (429, "1")
        assert ping.response.status == 200
        async with in_progress(app, CHAT) as third:
            third.leave()
        assert third.response.status == 0

    asyncio.run(run())


def test_a_request_past_its_deadline_is_504() -> None:
    response = call(application(never_answers(), predict_timeout_seconds=DEADLINE_SECONDS), CHAT)
    assert response.status == 504
    assert response.message == "The request did not finish within 1 s (option.predict_timeout)."


def test_a_stream_past_its_deadline_ends_with_an_error_record_and_no_done() -> None:
    engine = streams(CHUNK, pause=True)
    response = call(application(engine, predict_timeout_seconds=DEADLINE_SECONDS), {"prompt": "a", "stream": True})
    *_, last = response.body.decode().strip().split("\n\n")
    assert response.status == 200
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == 504
    assert "[DONE]" not in response.body.decode()


def test_json_lines_past_their_deadline_end_with_an_error_on_a_line() -> None:
    app = application(streams(CHUNK, pause=True), predict_timeout_seconds=DEADLINE_SECONDS)
    response = call(app, {"prompt": "a", "stream": True}, accept="application/jsonlines")
    first, last = response.body.decode().splitlines()
    assert (first, json.loads(last)["error"]["code"]) == (CHUNK, 504)


@pytest.mark.parametrize("who", ["the engine", "a handler"])
def test_a_caller_who_stops_reading_keeps_no_place_after_the_deadline(tmp_path: Path, who: str) -> None:
    async def answer(_scope: Scope, receive: Receive, send: Send, _body: bytes) -> None:
        """Stream as vLLM's application does: whatever it waits for, it ends when it is told that the caller has."""
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.ensure_future(send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}))
        await receive()
        sending.cancel()

    async def stalled(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def run() -> None:
        script = streaming if who == "a handler" else None
        app = application(FakeEngine(answer), script=script, predict_timeout_seconds=DEADLINE_SECONDS)
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers}
        request = Request(json.dumps({"prompt": "a", "stream": True}).encode(), complete=True)
        await asyncio.wait_for(app(scope, request.receive, stalled), LONG_SECONDS)

    streaming = loaded(tmp_path, "from djl_python import Output\ndef handle(i):\n"
                       "    return Output().add_stream_content(iter('ab'))\n")  # fmt: skip
    asyncio.run(run())


def test_draining_refuses_new_requests_and_ends_those_in_flight_when_told() -> None:
    async def run() -> None:
        app = application(never_answers())
        async with in_progress(app, CHAT) as first:
            app.drain()
            async with in_progress(app, CHAT) as second:
                pass
            app.end_all()
        assert (first.response.status, second.response.status) == (503, 503)
        assert first.response.message == "The server is shutting down; retry the request."

    asyncio.run(run())


def test_an_error_inside_a_stream_is_told_once_and_not_followed_by_done() -> None:
    error = json.dumps({"error": {"message": "boom", "type": "InternalServerError", "code": 422}})
    response = call(application(streams(CHUNK, error, "[DONE]")), {"prompt": "a", "stream": True})
    records = response.body.decode().strip().split("\n\n")
    assert [json.loads(line.removeprefix("data: ")).keys() for line in records] == [{"choices"}, {"error"}]


@pytest.mark.parametrize("rest", [(), ("[DONE]",)])
def test_an_error_before_the_first_event_is_an_ordinary_error_reply(rest: tuple[str, ...]) -> None:
    error = json.dumps({"error": {"message": "bad schema", "type": "BadRequestError", "code": 400}})
    response = call(application(streams(error, *rest)), {"prompt": "a", "stream": True})
    assert (response.status, response.headers["content-type"]) == (400, "application/json")
    assert response.message == "bad schema"


def test_json_lines_by_accept_and_by_option_hold_one_object_a_line_and_no_done() -> None:
    body = {"prompt": "a", "stream": True}
    by_accept = call(application(streams(CHUNK, CHUNK, "[DONE]")), body, accept="application/jsonlines")
    by_option = call(application(streams(CHUNK, CHUNK, "[DONE]"), output_formatter="jsonlines"), body)
    assert by_accept.body == by_option.body == f"{CHUNK}\n{CHUNK}\n".encode()
    assert by_accept.headers["content-type"] == by_option.headers["content-type"] == "application/jsonlines"


def test_openai_routes_stream_events_whatever_the_option_says() -> None:
    app = application(streams(CHUNK, "[DONE]"), output_formatter="jsonlines")
    response = call(app, {"prompt": "a", "stream": True}, path="/v1/completions")
    assert response.body == f"data: {CHUNK}\n\ndata: [DONE]\n\n".encode()


def test_an_engine_error_becomes_one_short_error_object_without_paths() -> None:
    error = {
        "error": {"message": 'no\n  File "/usr/x.py", line 3, in f\n at /opt/ml/model/a.bin', "type": "X", "code": 400}
    }
    response = call(application(answers(error, status=400)), CHAT)
    assert response.json() == {
        "error": {"message": "no at <path>", "type": "BadRequestError", "param": None, "code": 400},
    }


def test_a_grammar_the_engine_cannot_follow_is_the_requests_fault() -> None:
    failed = {"error": {"message": "Internal server error", "type": "InternalServerError", "code": 500}}
    constrained = CHAT | {"response_format": {"type": "json_object"}}
    assert call(application(answers(failed, status=500)), constrained).status == 400
    assert call(application(answers(failed, status=500)), CHAT).status == 500


def test_a_failure_of_our_own_is_a_500_without_its_text() -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("secret")

    response = call(application(FakeEngine(explode)), CHAT)
    assert (response.status, "secret" in response.message) == (500, False)


def test_the_engine_sees_no_header_that_would_steer_it() -> None:
    seen: dict[bytes, bytes] = {}

    async def answer(scope: Scope, receive: Receive, send: Send, _body: bytes) -> None:
        seen.update(scope["headers"])
        await answers({}).answer(scope, receive, send, b"")

    call(application(FakeEngine(answer)), CHAT, x_data_parallel_rank="7", traceparent="00-a", x_vllm_priority="-9")
    assert seen.keys() == {b"traceparent", b"content-type", b"content-length"}


def test_a_request_is_logged_in_one_line_with_its_name_and_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lmi.requests"):
        call(application(answers({})), CHAT, x_amzn_sagemaker_inference_id='a"b\x1b c')
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("POST /invocations 200 ")
    assert caplog.messages[0].endswith("id=a?b??c")

"""One request from its body to its reply: which weights answer it, what it waits for, and what stands in between."""

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest

from autoconfig.settings import SessionSettings
from handlers import routes
from handlers.adapters.loading import KEY_PREFIX
from handlers.formatters import scripts
from tests.handlers.adapted import HEADER, Server, serving, until
from tests.handlers.asgi import answers, application, call
from tests.handlers.scripted import loaded, written
from tests.timing import LONG_SECONDS

scripts.provide_djl_python()
DEADLINE_SECONDS = 0.5
JSON_ROUTES = sorted(path for path, route in routes._FIXED.items() if route.kind == "json")


@pytest.mark.parametrize(
    ("body", "path", "headers"),
    [({"prompt": "x"}, "/invocations", {HEADER: "a"}), ({"prompt": "x", "adapters": "a"}, "/invocations", {}),
     ({"prompt": "x", "adapters": ["a"], "model": "b"}, "/invocations", {}),
     ({"prompt": "x", "model": "a"}, "/v1/completions", {}), ({"prompt": "x"}, "/v1/completions?adapter=a", {}),
     ({"prompt": "x", "model": "b", "adapters": "b"}, "/predictions/lmi?adapter=b", {HEADER: "a"}),
     (b'{"model":"b","prompt":"x","mod\\u0065l":"a"}', "/v1/completions", {})],
)  # fmt: skip
def test_an_adapter_answers_however_it_is_named(tmp_path: Path, body: Any, path: str, headers: dict[str, str]) -> None:
    async def test(server: Server) -> None:
        response = await server.ask(body, path, **headers)
        assert (response.status, response.json()["model"]) == (200, "a")
        assert response.json()["choices"][0]["text"] == "x by a"
        assert server.engine.lora.keys == {server.asked[0]["model"]}

    serving(test, tmp_path)


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_every_route_takes_an_adapter_and_refuses_one_that_is_not_there(tmp_path: Path, path: str) -> None:
    async def test(server: Server) -> None:
        body = {"model": "tiny", "messages": [], "input": "x"}
        await server.ask(body, path, **{HEADER: "a"})
        assert server.asked == [{**body, "model": next(iter(server.engine.lora.keys))}]
        for named, what in (({HEADER: "c"}, "adapter"), ({}, "model or adapter")):
            response = await server.ask({**body, "model": "tiny" if named else "c"}, path, **named)
            assert (response.status, f"The {what} `c` does not exist" in response.message) == (404, True)
        assert len(server.asked) == 1

    serving(test, tmp_path)


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"model": "a"}, {HEADER: "tiny"}), ({"model": "a", "adapters": "lmi"}, {}),
     ({"model": "a", "adapters": ["tiny"]}, {}), ({"model": "a", "adapters": ["tiny", ""], "inputs": ["x", "y"]}, {})],
)  # fmt: skip
def test_who_names_the_base_model_first_gets_it(tmp_path: Path, body: Any, headers: dict[str, str]) -> None:
    """And under a name: vLLM's /v1/messages refuses an empty one."""

    async def test(server: Server) -> None:
        assert (await server.ask({"prompt": "x", **body}, **headers)).status == 200
        assert (server.asked[0]["model"], server.engine.lora.calls) == ("tiny", [])

    serving(test, tmp_path)


def test_the_engines_name_of_an_adapter_is_nothing_a_caller_can_use(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.ask({"prompt": "x"}, **{HEADER: "a"})
        key = server.asked[0]["model"]
        for body, headers in (({"model": key}, {}), ({"adapters": key}, {}), ({}, {HEADER: key})):
            assert (await server.ask({"prompt": "x", **body}, **headers)).status == 404
        assert len(server.asked) == 1

    serving(test, tmp_path)


def test_a_name_or_alias_beyond_ascii_is_read_as_utf8(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        (tmp_path / "a").rename(tmp_path / "ü😀")
        told = await server.register("ü😀", x_amzn_sagemaker_adapter_alias="größer")
        assert told.json()["adapter"]["name"] == "ü😀"
        for path, headers in (("/invocations", {HEADER: "ü😀"}), ("/invocations?adapter=ü😀", {})):
            response = await server.ask({"prompt": "x"}, path, **headers)
            assert (response.status, response.json()["model"]) == (200, "größer")
        assert (await server.ask(b"", "/adapters/ü😀", "DELETE")).status == 200

    serving(test, tmp_path)


def test_replies_streams_and_errors_call_an_adapter_by_the_name_its_users_know(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.register("a", x_amzn_sagemaker_adapter_alias='my "alias"')
        told = [
            await server.ask({"prompt": prompt, "model": "a", "stream": stream}, "/v1/completions")
            for prompt, stream in (("x", False), ("x", True), ("refuse", False))
        ]
        assert all(KEY_PREFIX.encode() not in response.body for response in told)
        assert told[0].json()["model"] == 'my "alias"'
        assert json.loads(told[1].chunks[1].removeprefix(b"data: "))["model"] == 'my "alias"'
        assert told[2].message == 'The model `my "alias"` refuses.'

    serving(test, tmp_path)


def test_the_log_tells_which_adapter_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: Server) -> None:
        await server.register("a", x_amzn_sagemaker_adapter_alias="my a")
        with caplog.at_level("INFO", "lmi.requests"):
            await server.ask({"prompt": "x"}, **{HEADER: "a"})
            await server.ask({"prompt": "x"})
        assert [message.partition(" id=- ")[2] for message in caplog.messages] == ["adapter=my?a", ""]

    serving(test, tmp_path)


def test_an_upload_is_answered_by_the_base_model_only(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        for path, headers in (("/v1/audio/translations", {HEADER: "a"}), ("/v1/audio/translations?adapter=a", {})):
            response = await server.ask(b"{}", path, content_type="multipart/form-data; boundary=x", **headers)
            assert (response.status, "base model only" in response.message) == (400, True)
        assert server.engine.calls == []

    serving(test, tmp_path)


def test_a_form_cannot_name_an_adapter_as_the_engine_does(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.ask({"prompt": "x", "adapters": "a"})
        (key,) = server.engine.lora.keys
        form = f'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n{key}\r\n--x--\r\n'.encode()
        asked = await server.ask(form, "/v1/audio/translations", content_type="multipart/form-data; boundary=x")
        assert (asked.status, key in asked.message, len(server.engine.calls)) == (404, False, 1)

    serving(test, tmp_path)


@pytest.mark.parametrize("name", ["tiny", "lmi", ""])
def test_without_adapters_the_base_models_names_are_all_there_is(name: str) -> None:
    engine = answers({})
    assert call(application(engine), {"prompt": "x", "adapters": name, "model": "tiny"}).status == 200
    response = call(application(engine), {"prompt": "x", "adapters": "c", "model": "tiny"})
    assert (response.status, len(engine.calls)) == (404, 1)


def test_others_are_answered_while_an_adapter_is_loaded(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        server.engine.lora.by_hand = True
        async with server.asking({"prompt": "x", "model": "a"}, "/v1/completions") as slow:
            assert (await server.ask({"prompt": "y"})).json()["choices"][0]["text"] == "y by tiny"
            assert slow.response.status == 0
            await server.step()
        assert slow.response.json()["model"] == "a"
        server.engine.lora.by_hand = False

    serving(test, tmp_path)


@pytest.mark.parametrize(("how", "status"), [("deadline", 504), ("shutdown", 503), ("leave", 0)])
def test_who_waits_for_an_adapter_is_told_when_it_has_to_end_and_the_load_goes_on(
    tmp_path: Path, how: str, status: int
) -> None:
    async def test(server: Server) -> None:
        server.engine.lora.by_hand = True
        async with server.asking({"prompt": "x", "model": "a"}) as request:
            if how == "leave":
                request.leave()
            if how == "shutdown":
                server.app.end_all()
        assert request.response.status == status
        await server.step()
        server.engine.lora.by_hand = False
        assert (server.engine.lora.count("load"), server.asked) == (1, [])

    serving(test, tmp_path, predict_timeout_seconds=DEADLINE_SECONDS if how == "deadline" else LONG_SECONDS)


@pytest.mark.parametrize("how", ["leave", "shutdown", "delete"])
def test_an_adapter_is_kept_until_its_stream_ends_however_it_does(tmp_path: Path, how: str) -> None:
    async def test(server: Server) -> None:
        async with server.asking({"prompt": "wait", "model": "a"}) as request:
            await until(lambda: server.asked)
            removal = asyncio.create_task(server.ask(b"", "/adapters/a", "DELETE"))
            await asyncio.sleep(0.05)
            assert not removal.done()
            assert (await server.ask({"prompt": "x", "model": "a"})).status == 404
            request.leave() if how == "leave" else server.app.end_all()
        assert (await removal).status == 200

    serving(test, tmp_path)


def test_a_removal_may_take_longer_than_a_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: Server) -> None:
        server.engine.lora.by_hand = True
        async with server.asking({"prompt": "x", "model": "a"}):
            await server.step()
        async with server.asking(b"", "/adapters/a", "DELETE") as removal:
            await asyncio.sleep(2 * DEADLINE_SECONDS)
            await server.step()
        assert removal.response.status == 200
        server.engine.lora.by_hand = False

    with caplog.at_level("INFO", "lmi.requests"):
        serving(test, tmp_path, predict_timeout_seconds=DEADLINE_SECONDS)
    assert "ended=" not in caplog.text


SEES_ALL = """
    from djl_python.input_parser import input_formatter
    from djl_python.output_formatter import output_formatter

    @input_formatter
    def into(body, request):
        return {"prompt": f"{body['ask']} {request.adapter} {request.session} {request.request_id}"}

    @output_formatter
    def out_of(reply):
        return {"said": reply["choices"][0]["text"], "by": "{place}"}
"""


def script(place: str) -> str:
    return SEES_ALL.replace("{place}", place)


def test_session_adapter_and_formatters_meet_in_one_request(tmp_path: Path) -> None:
    written(tmp_path / "a", script("a"))

    async def test(server: Server) -> None:
        opened = await server.ask({"requestType": "NEW_SESSION"})
        session = opened.headers["x-amzn-sagemaker-new-session-id"].partition(";")[0]
        headers = {"x_amzn_sagemaker_session_id": session, "x_amzn_sagemaker_inference_id": "i"}
        response = await server.ask({"ask": "x"}, **{HEADER: "a"}, **headers)
        assert response.json() == {"said": f"x a {session} i by a", "by": "a"}
        for name in ("b", ""):
            response = await server.ask({"ask": "x"}, **({HEADER: name} if name else {}), **headers)
            assert response.json() == {"said": f"x {name} {session} i by {name or 'tiny'}", "by": "base"}
        assert (await server.ask({"requestType": "CLOSE"}, **headers)).status == 200
        response = await server.ask({"ask": "x"}, **{HEADER: "a"}, **headers)
        assert (response.status, len(server.asked)) == (400, 3)

    base = loaded(tmp_path / "base", script("base"))
    serving(test, tmp_path, script=base, sessions=SessionSettings(str(tmp_path / "sessions")))


def test_an_input_formatter_may_change_what_is_asked_for_but_not_who_answers(tmp_path: Path) -> None:
    written(
        tmp_path / "a",
        """
        from djl_python.input_parser import input_formatter

        @input_formatter
        def into(body):
            return {"inputs": [body["one"], "y"], "model": "b", "adapters": "b", "parameters": {"max_new_tokens": 3}}
        """,
    )

    async def test(server: Server) -> None:
        response = await server.ask({"one": "x", "stream": True}, **{HEADER: "a"})
        assert [told["generated_text"] for told in response.json()] == ["x by a", "y by a"]
        assert server.asked[0]["max_tokens"] == 3

    serving(test, tmp_path)


def test_what_an_input_formatter_returns_is_screened_like_any_body(tmp_path: Path) -> None:
    base = loaded(
        tmp_path / "base",
        """
        from djl_python.input_parser import input_formatter

        @input_formatter
        def into(body):
            return {"prompt": "x", "kv_transfer_params": {}}
        """,
    )
    engine = answers({})
    assert call(application(engine, script=base), {"ask": "x"}).status == 400
    assert engine.calls == []


def test_a_formatter_that_fails_when_it_is_stopped_is_nobodys_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = loaded(
        tmp_path / "base",
        """
        import asyncio
        from djl_python.input_parser import input_formatter

        @input_formatter
        async def into(body):
            try:
                await asyncio.sleep(3600)
            finally:
                raise ValueError("stopped")
        """,
    )
    response = call(application(answers({}), script=base, predict_timeout_seconds=DEADLINE_SECONDS), {"prompt": "x"})
    gc.collect()
    assert (response.status, "never retrieved" in caplog.text) == (504, False)


def test_a_body_that_is_no_json_goes_to_the_function_that_reads_bodies(tmp_path: Path) -> None:
    reads = "def input_fn(body, content_type):\n    return {'prompt': body.decode() + content_type}\n"
    engine = answers({})
    response = call(application(engine, script=loaded(tmp_path / "base", reads)), b"x,y", content_type="text/csv")
    assert (response.status, json.loads(engine.calls[0][1])) == (200, {"prompt": "x,ytext/csv"})
    response = call(application(engine, script=loaded(tmp_path / "other", script("base"))), b"x,y")
    assert (response.status, len(engine.calls)) == (400, 1)


@pytest.mark.parametrize("path", ["/tokenize", "/v1/chat/completions/render", "/v1/messages/count_tokens"])
def test_formatters_leave_routes_alone_that_do_not_answer_from_the_model(tmp_path: Path, path: str) -> None:
    engine = answers({"count": 3})
    response = call(application(engine, script=loaded(tmp_path / "base", script("base"))), {"ask": "x"}, path)
    assert (response.json(), json.loads(engine.calls[0][1])) == ({"count": 3}, {"ask": "x"})


def test_an_adapters_own_handler_answers_for_it_alone(tmp_path: Path) -> None:
    written(
        tmp_path / "a",
        """
        from djl_python import Output

        def handle(inputs):
            if inputs.is_empty():
                return None
            return Output().add_as_json({"body": inputs.get_as_string()})
        """,
    )

    async def test(server: Server) -> None:
        assert (await server.ask(b"x,y", content_type="text/csv", **{HEADER: "a"})).json() == {"body": "x,y"}
        assert (await server.ask({"prompt": "x"}, **{HEADER: "b"})).json()["model"] == "b"
        assert len(server.asked) == 1

    serving(test, tmp_path)


def test_the_list_of_models_holds_every_adapter_and_none_of_the_engines_names(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.ask({"prompt": "x"}, **{HEADER: "a"})
        key = next(iter(server.engine.lora.keys))
        cards = [{"id": "tiny", "root": "org/tiny", "parent": None}, {"id": key, "root": "/a", "parent": "tiny"}]
        server.engine.answer = answers({"object": "list", "data": cards}).answer
        told = (await server.ask(b"", "/v1/models", "GET")).json()
        assert [(card["id"], card["root"], card["parent"]) for card in told["data"]] == [
            ("tiny", "org/tiny", None), ("a", "a", "tiny"), ("b", "b", "tiny"),
        ]  # fmt: skip

    serving(test, tmp_path)

"""What callers are told who ask for a model or an adapter that does not answer: who may know what, in words."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from handlers.errors import AdapterRefusedError, public
from handlers.formatters import scripts
from tests.handlers.adapted import HEADER, Server, serving
from tests.handlers.asgi import Response, answers, application, call
from tests.handlers.scripted import loaded

scripts.provide_djl_python()
READS_ADAPTER = """
    from djl_python.input_parser import input_formatter

    @input_formatter
    def into(body, request):
        return {"prompt": body["adapter"] + request.headers["x-team"]}
"""


def refused(response: Response) -> tuple[int, str]:
    return response.status, response.message


@pytest.mark.parametrize("path", ["/invocations", "/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("adapter", ["a", ["a"], "nobodys"])
def test_a_body_that_says_adapter_for_adapters_does_not_get_the_base_model(
    tmp_path: Path, path: str, adapter: Any
) -> None:
    async def test(server: Server) -> None:
        response = await server.ask({"prompt": "x", "messages": [], "adapter": adapter}, path)
        assert refused(response) == (400, "A body names its adapter in `adapters`; `adapter` means nothing there.")
        assert server.asked == []

    serving(test, tmp_path)


def test_a_field_adapter_that_can_mean_no_lora_is_left_to_whom_it_is_for(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        for body, headers in (
            ({"adapter": None}, {}),
            ({"adapter": {"usb": 3}}, {}),
            ({"adapter": "b"}, {HEADER: "a"}),
        ):
            assert (await server.ask({"prompt": "x", **body}, **headers)).status == 200

    serving(test, tmp_path)
    assert call(application(answers({})), {"prompt": "x", "adapter": "a"}).status == 200


def test_a_script_may_have_a_field_adapter_and_reads_headers_as_utf8(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        response = await server.ask({"adapter": "usb "}, x_team="Zürich")
        assert response.json()["choices"][0]["text"] == "usb Zürich by tiny"

    serving(test, tmp_path, script=loaded(tmp_path / "base", READS_ADAPTER))


@pytest.mark.parametrize(
    ("model", "hint"), [("nope", ""), ("tinny", " Did you mean tiny?"), ("ab", ""), ("org/tinies/x", "")]
)
def test_a_model_that_is_not_there_may_have_been_meant_as_either(tmp_path: Path, model: str, hint: str) -> None:
    told = f"`{model}` does not exist; GET /v1/models lists what there is.{hint}"

    async def test(server: Server) -> None:
        response = await server.ask({"prompt": "x", "model": model})
        assert refused(response) == (404, f"The model or adapter {told}")

    serving(test, tmp_path)
    engine = answers({})
    for path in ("/invocations", "/v1/completions"):
        assert refused(call(application(engine), {"prompt": "x", "model": model}, path)) == (404, f"The model {told}")
    assert engine.calls == []


def test_where_lora_is_off_naming_an_adapter_says_so() -> None:
    told = "The adapter `a` does not exist: LoRA is not enabled; set option.enable_lora=true."
    app = application(answers({}))
    assert refused(call(app, {"prompt": "x", "adapters": "a"})) == (404, told)
    assert refused(call(app, {"prompt": "x"}, "/invocations?adapter=a")) == (404, told)
    assert refused(call(app, {"prompt": "x"}, **{HEADER: "a"})) == (404, told)


def test_why_an_adapter_failed_is_told_in_full_to_the_operator_and_without_paths_to_callers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(server: Server) -> None:
        server.engine.lora.refuse = lambda directory: AdapterRefusedError(f"{directory} not in /srv/engine/slots")
        src = server.root / "a"
        response = await server.ask({"prompt": "x"}, **{HEADER: "a"})
        assert refused(response) == (400, "The adapter `a` cannot be loaded: <path> not in <path>.")
        assert (await server.ask(b"", "/adapters/a", "GET")).json()["reason"] == f"{src} not in <path>"
        assert f"adapter a cannot be loaded: {src} not in /srv/engine/slots" in caplog.messages
        shutil.rmtree(src)
        response = await server.ask({"prompt": "x"}, **{HEADER: "a"})
        assert refused(response) == (400, "The adapter `a` cannot be loaded: src `<path>` does not exist.")
        assert (await server.ask(b"", "/adapters/a", "GET")).json()["reason"] == f"src `{src}` does not exist"

    serving(test, tmp_path)


def test_adapters_that_failed_are_not_listed_as_models_and_come_back_with_their_files(tmp_path: Path) -> None:
    async def listed(server: Server) -> list[str]:
        answer, server.engine.answer = server.engine.answer, answers({"data": [{"id": "tiny"}]}).answer
        found = (await server.ask(b"", "/v1/models", "GET")).json()["data"]
        server.engine.answer = answer
        return [card["id"] for card in found]

    async def test(server: Server) -> None:
        (server.root / "a").rename(server.root / "away")
        await server.ask({"prompt": "x"}, **{HEADER: "a"})
        assert await listed(server) == ["tiny", "b"]
        states = {one["name"]: one["state"] for one in (await server.ask(b"", "/adapters", "GET")).json()["adapters"]}
        assert states == {"a": "failed", "b": "registered"}
        (server.root / "away").rename(server.root / "a")
        assert (await server.ask({"prompt": "x"}, **{HEADER: "a"})).status == 200
        assert await listed(server) == ["tiny", "a", "b"]

    serving(test, tmp_path)


@pytest.mark.parametrize("kind", ["FOO", "new_session", 3])
def test_an_unknown_request_type_is_told_the_two_there_are(kind: Any) -> None:
    response = call(application(answers({})), {"requestType": kind})
    assert refused(response) == (400, "requestType must be NEW_SESSION or CLOSE.")
    assert response.json()["error"]["param"] == "requestType"


def test_a_path_that_is_not_there_is_named() -> None:
    response = call(application(answers({})), {}, "/v1/nothing/here")
    assert refused(response) == (404, "/v1/nothing/here is not a path of this server.")


def test_of_the_paths_in_a_message_only_those_that_may_be_are_told() -> None:
    told = public("at /a b/c and /opt/ml/x or /opt/ml/model/y, not /opt/other/y", ["/opt/ml/model", "/opt/ml/x y/z"])
    assert told == "at /a b/c and /opt/ml/x or /opt/ml/model/y, not <path>"

"""A call of DJL's into the request that asks the same of the application."""

from urllib.parse import parse_qsl

from handlers import djl_request
from handlers.djl_engine.wire import Call


def call(content: list[tuple[str | None, bytes]], **properties: str) -> Call:
    return Call({name.replace("_", "-"): value for name, value in properties.items()}, content)


def test_inference_is_a_post_to_invocations_with_the_headers_and_the_body_as_they_came() -> None:
    scope, body = djl_request.inference(call([("data", b"{}")], Content_Type="application/json", X_Name="Grüße"))
    assert (scope["method"], scope["path"], body) == ("POST", "/invocations", b"{}")
    assert scope["headers"] == [
        (b"content-type", b"application/json"),
        (b"x-name", "Grüße".encode()),
        (b"content-length", b"2"),
    ]


def test_what_is_djls_own_does_not_reach_the_application() -> None:
    named = {
        "request_tracking_id": "t",
        "requestId": "r",
        "handler": "handle",
        "model_dir": "/m",
        "Content-Length": "9",
    }
    scope, _ = djl_request.inference(Call({**named, "batch_size": "2"}, [("data", b"")]))
    assert scope["headers"] == [(b"content-length", b"0")]


def test_query_parameters_come_before_the_body_even_one_that_is_called_data() -> None:
    scope, body = djl_request.inference(call([("adapter", b"a b"), ("data", b"query"), ("data", b"body")]))
    assert parse_qsl(scope["query_string"].decode()) == [("adapter", "a b")]
    assert body == b"body"


def test_a_registration_has_the_callers_parameters_and_its_alias() -> None:
    given: list[tuple[str | None, bytes]] = [("name", b"n/1"), ("src", b"/a"), ("pin", b"true")]
    scope, _ = djl_request.registration(call(given, name="n/1", src="/a", alias="known as"))
    assert (scope["method"], scope["path"]) == ("POST", "/adapters")
    assert dict(parse_qsl(scope["query_string"].decode())) == {"name": "n/1", "src": "/a", "pin": "true"}
    assert scope["headers"] == [(b"x-amzn-sagemaker-adapter-alias", b"known as")]


def test_an_adapters_name_may_hold_anything() -> None:
    scope, _ = djl_request.update(call([("src", b"/b")], name="n/1 é", src="/b"))
    assert scope["raw_path"] == b"/adapters/n%2F1%20%C3%A9/update"
    assert scope["path"] == "/adapters/n/1 é/update"
    assert dict(parse_qsl(scope["query_string"].decode())) == {"src": "/b"}
    scope, _ = djl_request.removal(call([], name="n/1 é"))
    assert (scope["method"], scope["raw_path"]) == ("DELETE", b"/adapters/n%2F1%20%C3%A9")

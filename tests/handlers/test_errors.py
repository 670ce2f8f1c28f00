import json

import pytest

from handlers.errors import RequestError, error_body, findings, from_engine, public


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\nb\t c", "a b c"),
        ("cannot read /opt/ml/model/x.bin now", "cannot read <path> now"),
        ("use /v1 or a/b or https://x.org/a/b", "use /v1 or a/b or https://x.org/a/b"),
        ("bad. For further information visit https://errors.pydantic.dev/2/v/int", "bad."),
        ("x" * 2000, "x" * 499 + "…"),
    ],
)
def test_messages_for_callers_are_one_short_line_without_paths(text: str, told: str) -> None:
    assert public(text) == told


def test_vllms_list_of_findings_becomes_a_sentence() -> None:
    text = """2 validation errors: {'type': 'list_type', 'loc': 'body.messages', 'msg': 'Input should be a valid list'}
    {'type': 'x', 'loc': 'body.temperature', 'msg': "can't be"}"""
    assert findings(text) == "messages: Input should be a valid list; temperature: can't be."


@pytest.mark.parametrize("body", [b"", b"Internal Server Error", b"[]", b'{"detail": 3}', b'{"error": "x"}'])
def test_an_engine_error_of_any_shape_becomes_ours(body: bytes) -> None:
    assert json.loads(from_engine(500, body)) == {
        "error": {"message": "Internal Server Error", "type": "InternalServerError", "param": None, "code": 500}
    }


def test_a_fastapi_detail_is_kept() -> None:
    assert json.loads(from_engine(405, b'{"detail": "Method Not Allowed"}'))["error"]["message"] == "Method Not Allowed"


def test_a_request_error_names_its_field() -> None:
    assert RequestError(400, "no", "inputs").body() == error_body(400, "no", "inputs")

"""Which adapter a request asks for, by the order of the contract."""

from typing import Any

import pytest
from starlette.types import Message

from handlers import selection
from handlers.errors import RequestError
from handlers.exchange import Exchange

HEADER = b"x-amzn-sagemaker-adapter-identifier"
BASE_NAMES = frozenset(("", "tiny", "lmi"))


def chosen(payload: dict[str, Any], header: str = "", query: str = "") -> str | tuple[str, ...]:
    async def nothing(*_: Message) -> Any:
        raise AssertionError

    scope = {
        "type": "http", "method": "POST", "path": "/invocations", "query_string": query.encode(),
        "headers": [(HEADER, header.encode())] if header else [],
    }  # fmt: skip
    return selection.chosen(Exchange(scope, nothing, nothing, lambda: 0.0), payload, BASE_NAMES)


def test_the_header_beats_the_body_which_beats_its_model_which_beats_the_query() -> None:
    body = {"adapters": "b", "model": "m"}
    assert chosen(body, "h", "adapter=q") == "h"
    assert chosen(body, "", "adapter=q") == "b"
    assert chosen({"model": "m"}, "", "adapter=q") == "m"
    assert chosen({}, "", "adapter=q") == "q"
    assert chosen({}) == ""


@pytest.mark.parametrize(
    "payload",
    [{"model": "tiny"}, {"model": ""}, {"model": 3}, {"model": []}, {"adapters": "lmi"}, {"adapters": None},
     {"adapters": []}, {"adapters": [None]}, {"adapters": ""}],
)  # fmt: skip
def test_the_base_models_names_and_no_name_mean_the_base_model(payload: dict[str, Any]) -> None:
    assert chosen(payload) == selection.BASE
    assert chosen({"model": "m"}, "tiny") == selection.BASE


def test_a_name_in_the_query_is_decoded() -> None:
    assert chosen({}, query="limit=1&adapter=a%2Fb%20c") == "a/b c"


def test_each_input_of_a_batch_may_have_an_adapter_of_its_own() -> None:
    assert chosen({"inputs": ["x", "y", "z"], "adapters": ["a", "", "tiny"]}) == ("a", "", "")
    assert chosen({"inputs": ["x", "y"], "adapters": ["a", "a"]}) == "a"
    assert chosen({"inputs": ["x", "y"], "adapters": "a"}) == "a"
    assert chosen({"inputs": "x", "adapters": ["a"]}) == "a"
    assert chosen({"inputs": ["x", "y"], "adapters": ["a", "b"]}, "h") == "h"


@pytest.mark.parametrize(
    ("payload", "told"),
    [({"adapters": 3}, "must be a name"), ({"adapters": {"a": 1}}, "must be a name"),
     ({"adapters": [3]}, "must be a name"), ({"inputs": ["x"], "adapters": ["a", "b"]}, "names 2 for 1 inputs"),
     ({"messages": [], "adapters": ["a", "b"]}, "names 2 for one input")],
)  # fmt: skip
def test_adapters_that_fit_no_input_are_400(payload: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        chosen(payload)
    assert caught.value.status == 400

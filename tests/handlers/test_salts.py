"""A caller's cache_salt: any text is taken, the engine sees a digest, and a body without one is not touched."""

import itertools
import json
import subprocess
import sys
from typing import Any

import pytest

from handlers import salts
from handlers.errors import RequestError
from tests.handlers.asgi import answers, application, call

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
COMPLETION = {"prompt": "hi"}
TEXTS = ["tenant-1", "", "a/b@c\\d\0", "ü" * 1024]


def sent(body: Any, path: str = "/invocations") -> dict[str, Any]:
    """Return what reaches the engine."""
    engine = answers({"choices": [{"text": ""}]})
    call(application(engine), body, path)
    reached: dict[str, Any] = json.loads(engine.calls[0][1])
    return reached


@pytest.mark.parametrize("salt", TEXTS)
@pytest.mark.parametrize("body", [CHAT, COMPLETION, {"input": "hi"}], ids=["chat", "completions", "responses"])
def test_any_text_reaches_the_engine_as_a_digest_and_the_rest_as_it_was(body: dict[str, Any], salt: str) -> None:
    reached = sent(body | {"cache_salt": salt, "seed": 2**63 - 1})
    assert reached == body | {"cache_salt": salts.hashed(salt), "seed": 2**63 - 1}
    assert len(reached["cache_salt"]) == 32
    assert set(reached["cache_salt"]) <= set("0123456789abcdef")


def test_salts_that_differ_stay_apart_and_equal_ones_together() -> None:
    assert len({salts.hashed(text) for text in TEXTS}) == len(TEXTS)
    assert sent(CHAT | {"cache_salt": "a"})["cache_salt"] == sent(COMPLETION | {"cache_salt": "a"})["cache_salt"]


@pytest.mark.parametrize("body", [b'{"messages" :  []}', b' {"messages":[], "cache_salt": null}\n'])
def test_a_body_without_a_salt_is_passed_on_as_it_came(body: bytes) -> None:
    engine = answers({})
    call(application(engine), body, "/v1/chat/completions")
    assert engine.calls == [("/v1/chat/completions", body)]


@pytest.mark.parametrize("salt", [1, True, ["a"], {}, "x" * 1025])
@pytest.mark.parametrize("path", ["/invocations", "/v1/chat/completions", "/v1/messages"])
def test_what_is_no_text_of_bounded_length_is_400(path: str, salt: Any) -> None:
    response = call(application(answers({})), CHAT | {"cache_salt": salt}, path)
    assert (response.status, response.json()["error"]["param"]) == (400, "cache_salt")
    assert response.message == "cache_salt must be a string of at most 1024 characters."


def test_an_lmi_body_has_its_salt_beside_inputs_or_among_the_parameters() -> None:
    beside = sent({"inputs": "hi", "cache_salt": "a/b"})
    among = sent({"inputs": "hi", "parameters": {"cache_salt": "a/b"}})
    assert beside["cache_salt"] == among["cache_salt"] == salts.hashed("a/b")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"cache_salt": "a", "parameters": {"cache_salt": "a"}}, "cache_salt is given twice"),
        ({"parameters": {"cache_salt": 1}}, "parameters.cache_salt: Input should be a valid string"),
        ({"parameters": {"cache_salt": "x" * 1025}}, "parameters.cache_salt must be a string of at most 1024"),
    ],
)
def test_a_salt_that_an_lmi_body_gives_wrongly_is_400(body: dict[str, Any], message: str) -> None:
    response = call(application(answers({})), {"inputs": "hi"} | body)
    assert (response.status, message in response.message) == (400, True)


def test_tiers_adapters_and_callers_each_keep_their_entries_apart() -> None:
    parts = itertools.product(("", "tier", "other"), ("", "adapter", "tier"), (None, salts.hashed("a"), "adapter"))
    seen = [salts.combined(*part) for part in parts]
    assert len(set(seen)) == len(seen) == 27


def test_a_request_of_the_base_model_keeps_its_own_salt_where_the_tiers_have_none() -> None:
    assert (salts.combined("", "", None), salts.combined("", "", "abc")) == (None, "abc")


def test_a_refusal_names_where_the_salt_stood() -> None:
    with pytest.raises(RequestError, match=r"parameters\.cache_salt"):
        salts.hashed(3, "parameters.cache_salt")


SEND_SALTED = """
import asyncio, inspect
from types import SimpleNamespace
from vllm.v1.engine.async_llm import AsyncLLM
from handlers.engine import salt_requests
sent = []
async def add_request_async(request):
    sent.append(request.cache_salt)
client = SimpleNamespace(engine_core=SimpleNamespace(add_request_async=add_request_async))
salt_requests(client, "tier")
for salt, lora in ((None, None), ("a", None), ("a", SimpleNamespace(lora_name="adapter"))):
    asyncio.run(client.engine_core.add_request_async(SimpleNamespace(cache_salt=salt, lora_request=lora)))
lines = inspect.getsource(AsyncLLM).splitlines()
gates = {line.split("(")[0].strip() for line in lines if "engine_core.add_request" in line}
print("SENT", *sent, *gates, sep="|")
"""


@pytest.mark.engine
def test_requests_pass_one_gate_before_the_engine_and_are_salted_there() -> None:
    done = subprocess.run([sys.executable, "-c", SEND_SALTED], capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("SENT")]
    assert told, done.stderr[-2000:]
    salted = [salts.combined("tier", "", None), salts.combined("tier", "", "a"), salts.combined("tier", "adapter", "a")]
    assert told[0].split("|")[1:] == [*salted, "await self.engine_core.add_request_async"]

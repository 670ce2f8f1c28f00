import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers.errors import ScriptError
from handlers.exchange import EndedEarlyError
from handlers.formatters import scripts
from handlers.formatters.custom_handle import CustomHandle
from handlers.formatters.formatting import RequestContext
from handlers.formatters.scripts import Scripts
from tests.handlers.scripted import Caller, loaded

scripts.provide_djl_python()
HEAD = """
import asyncio, sys, time
from djl_python import Input, Output

"""
OPTIONS = {"model_id": "tiny", "model_dir": "/opt/ml/model"}


def handled(script: Scripts, body: bytes = b'{"inputs": "Hi"}', query: bytes = b"",
            headers: Mapping[str, str] | None = None) -> tuple[bool, Caller]:  # fmt: skip
    """Ask a handler; return whether it answered, and what its caller saw."""
    caller = Caller(query=query, headers=dict(headers or {"content-type": "application/json"}))

    async def ask() -> bool:
        exchange = caller.exchange()
        assert script.handle is not None
        try:
            handle = CustomHandle(script.handle, OPTIONS)
            return await handle.answer(exchange, body, RequestContext(caller.headers, request_id="r-1"))
        finally:
            exchange.close()

    return asyncio.run(ask()), caller


def answer(directory: Path, text: str, **request: Any) -> Caller:
    answered, caller = handled(loaded(directory, HEAD + text), **request)
    assert (answered, caller.ended) == (True, True)
    return caller


def start(script: Scripts) -> None:
    assert script.handle is not None
    asyncio.run(CustomHandle(script.handle, OPTIONS).start())


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_answers_by_itself(tmp_path: Path, kind: str) -> None:
    body = "return Output().add_as_json({'said': inputs.get_as_json()['inputs']}).add_property('X-Mine', 'yes')"
    caller = answer(tmp_path, f"{kind} handle(inputs: Input):\n    {body}\n")
    assert (caller.status, caller.json()) == (200, {"said": "Hi"})
    assert (caller.reply_headers["x-mine"], caller.reply_headers["content-type"]) == ("yes", "application/json")


def test_a_handler_that_returns_none_leaves_the_request_to_its_ordinary_way(tmp_path: Path) -> None:
    answered, caller = handled(loaded(tmp_path, "def handle(inputs):\n    return None\n"))
    assert (answered, caller.status) == (False, 0)


def test_headers_options_attributes_query_and_body_are_in_the_input(tmp_path: Path) -> None:
    body = """
    p = inputs.get_properties()
    return Output().add_as_json([
        p["Content-Type"], inputs.get_property("X-ONE"), "X-Amzn-SageMaker-Adapter-Identifier" in p, p.get("no", 3),
        p["model_id"], p["requestId"], p["tenant"], inputs.get_as_string("q"), inputs.get_as_bytes().decode(),
        inputs.is_empty(), len(inputs.get_batches()), inputs.get_function_name(), inputs.contains_key("data"),
    ])
"""
    headers = {"content-type": "text/plain", "x-one": "1", "x-amzn-sagemaker-adapter-identifier": "poet",
               "x-amzn-sagemaker-custom-attributes": "tenant=a;b", "model_id": "spoofed"}  # fmt: skip
    caller = answer(tmp_path, f"def handle(inputs):{body}", body=b"plain", query=b"q=x+y", headers=headers)
    told = ["text/plain", "1", True, 3, "tiny", "r-1", "a", "x y", "plain", False, 1, "handle", True]
    assert caller.json() == told


@pytest.mark.parametrize(
    ("made", "status", "told"),
    [
        ("Output(code=418, message='teapot')", 418, b'"message":"teapot"'),
        ("Output().error('no cats')", 424, b'"error": "no cats"'),
        ("Output().add('first').add('second')", 200, b"first"),
        ("Output().add('first').add(b'\\xff', key='data')", 200, b"\xff"),
        ("Output()", 200, b""),
        ("Output(code=204).add('nothing may follow')", 204, b""),
    ],
)
def test_an_output_becomes_status_and_body(tmp_path: Path, made: str, status: int, told: bytes) -> None:
    caller = answer(tmp_path, f"def handle(inputs):\n    return {made}\n")
    assert caller.status == status
    assert told in caller.body
    assert told or not caller.body


@pytest.mark.parametrize(
    ("made", "told"),
    [("Output(code=700)", "the status 700"), ("Output(code='200')", "the status '200'"), ("Output(code=100)", "100"),
     ("Output().add_property('my header', 'x')", "a property 'my header'"),
     ("Output().add_property('a\\r\\nb', 'x')", "a property 'a"),
     ("Output(code=None).add_stream_content(iter('ab'))", "the status None")],
)  # fmt: skip
def test_an_output_that_no_http_reply_can_be_made_of_is_a_500_in_a_line(tmp_path: Path, made: str, told: str) -> None:
    caller = answer(tmp_path, f"def handle(inputs):\n    return {made}\n")
    message = caller.json()["error"]["message"]
    assert (caller.status, message.startswith("The custom handler failed: its Output has"), told in message) == (
        500, True, True,
    )  # fmt: skip


def test_properties_of_the_server_and_line_breaks_do_not_reach_the_headers(tmp_path: Path) -> None:
    properties = "{'Content-Length': 3, 'request_tracking_id': 'x', 'a': 'b\\r\\nc: d\\0'}.items()"
    body = f"output = Output()\n    for item in {properties}:\n        output.add_property(*item)\n    return output"
    headers = answer(tmp_path, f"def handle(inputs):\n    {body}\n").reply_headers
    assert headers == {"content-type": "application/json", "a": "b c: d"}


@pytest.mark.parametrize("stream", ["iter('abc')", "letters()", "['a', 'b', 'c']"])
def test_a_stream_is_sent_as_it_comes(tmp_path: Path, stream: str) -> None:
    text = "async def letters():\n    for letter in 'abc':\n        await asyncio.sleep(0)\n        yield letter\n"
    text += f"def handle(inputs):\n    return Output().add_stream_content({stream}).finalize(print, 'done')\n"
    caller = answer(tmp_path, text)
    assert caller.chunks == [b'{"outputs": "a"}\n', b'{"outputs": "b"}\n', b'{"outputs": "c"}\n']
    assert caller.reply_headers["content-type"] == "application/jsonlines"


def test_a_stream_may_have_a_format_of_its_own(tmp_path: Path) -> None:
    output = "Output().add_property('Content-Type', 'text/event-stream').add_stream_content(iter('ab'), shown)"
    text = f"def shown(part):\n    return f'data: {{part}}\\n\\n'\n\ndef handle(inputs):\n    return {output}\n"
    caller = answer(tmp_path, text)
    assert (caller.body, caller.reply_headers["content-type"]) == (b"data: a\n\ndata: b\n\n", "text/event-stream")


def test_a_generator_of_outputs_is_a_stream(tmp_path: Path) -> None:
    text = """
from djl_python.async_utils import handle_streaming_response

async def numbers():
    for number in range(3):
        yield number

def shown(number):
    return {"n": number}, number == 2

async def handle(inputs):
    return handle_streaming_response(numbers(), shown)
"""
    caller = answer(tmp_path, text)
    assert (caller.lines(), len(caller.chunks)) == ([{"n": 0}, {"n": 1}, {"n": 2}], 3)


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "raise RuntimeError('Custom handler intentional failure')",
            "RuntimeError: Custom handler intentional failure",
        ),
        ("sys.exit(1)", "SystemExit: 1"),
        ("return {'a': 1}", "it returned dict; it must return an Output or None"),
    ],
)
def test_a_failing_handler_is_a_500_in_a_line(tmp_path: Path, kind: str, body: str, message: str) -> None:
    caller = answer(tmp_path, f"{kind} handle(inputs):\n    {body}\n")
    assert (caller.status, caller.json()["error"]["message"]) == (500, f"The custom handler failed: {message}")


def test_a_stream_that_fails_ends_with_an_error_record(tmp_path: Path) -> None:
    text = "def parts():\n    yield 1\n    raise RuntimeError('no')\n\ndef handle(inputs):\n"
    first, error = answer(tmp_path, f"{text}    return Output().add_stream_content(parts())\n").lines()
    assert first == {"outputs": 1}
    assert error["error"]["message"] == "The custom handler failed: RuntimeError: no"


def test_a_slow_handler_does_not_stall_the_event_loop_and_a_caller_may_leave_it(tmp_path: Path) -> None:
    script = loaded(tmp_path, HEAD + "def handle(inputs):\n    time.sleep(0.5)\n")

    async def left() -> float:
        caller = Caller()
        assert script.handle is not None
        started = time.monotonic()
        asking = asyncio.create_task(
            CustomHandle(script.handle, {}).answer(caller.exchange(), b"{}", RequestContext({}))
        )
        await asyncio.sleep(0.01)
        caller.left.set()
        with pytest.raises(EndedEarlyError):
            await asking
        return time.monotonic() - started

    assert asyncio.run(left()) < 0.4


def test_the_start_is_one_call_with_an_empty_input(tmp_path: Path) -> None:
    text = "calls = []\n\ndef handle(inputs):\n    calls.append(inputs.get_properties()['model_dir'])\n"
    text += "    return None if inputs.is_empty() else Output().add_as_json(calls)\n"
    script = loaded(tmp_path, HEAD + text)
    start(script)
    assert handled(script)[1].json() == ["/opt/ml/model"] * 2


def test_a_handler_that_fails_while_the_model_loads_refuses_the_start(tmp_path: Path) -> None:
    text = "def handle(inputs):\n    if inputs.is_empty():\n        raise OSError('no index here')\n"
    with pytest.raises(ScriptError, match=r"^model.py: handle failed while the model loads: OSError: no index here$"):
        start(loaded(tmp_path, text))


def test_a_handler_that_does_not_ask_for_the_empty_input_may_fail_on_it(tmp_path: Path) -> None:
    start(loaded(tmp_path, "def handle(inputs):\n    return inputs.get_as_json()['inputs']\n"))


def test_what_a_handler_returned_that_is_no_output_is_in_the_log_with_its_script(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer(tmp_path, "def handle(inputs):\n    return {'a': 1}\n")
    (entry,) = caplog.records
    told = f"{tmp_path}/model.py:5: handle: it returned dict; it must return an Output or None (told once;"
    assert entry.getMessage().startswith(told)

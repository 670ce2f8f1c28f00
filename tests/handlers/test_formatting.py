import asyncio
import copy
import json
import logging
import pickle
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.errors import RequestError
from handlers.formatters import scripts
from handlers.formatters.records import Record
from handlers.formatters.scripts import Scripts
from handlers.streams import EmbeddingLists, JsonLines
from tests.handlers.scripted import Caller, formatters, loaded, replied, streamed
from tests.handlers.test_tgi import choice, parsed, reply

scripts.provide_djl_python()
HEAD = """
import asyncio, sys, time
from djl_python.input_parser import input_formatter
from djl_python.output_formatter import output_formatter

"""
OUT = HEAD + "@output_formatter\n"
IN = HEAD + "@input_formatter\n"
CHAT = {"id": "c", "object": "chat.completion", "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a cat", "tool_calls": []}}]}  # fmt: skip


def delta(text: str) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}


DELTAS = [delta(text) for text in ("a", " cat", " sat")]


def formatted(script: Scripts, payload: Any, **context: Any) -> Any:
    return asyncio.run(formatters(script, "TOKENIZER", **context).input(payload))


def whole(script: Scripts, body: Any = CHAT, **context: Any) -> Caller:
    return asyncio.run(replied(body, formatters(script, **context)))


def stream(script: Scripts, events: Any = DELTAS, rewrite: Any = None, **context: Any) -> Caller:
    return asyncio.run(streamed(events, formatters(script, **context), rewrite))


def texts(caller: Caller) -> list[str]:
    return [line["choices"][0]["delta"]["content"] for line in caller.lines() if line != "[DONE]"]


def test_an_input_formatter_gets_what_it_names_of_tokenizer_and_request(tmp_path: Path) -> None:
    bodies = {
        "data": "data | {'got': []}",
        "data, tokenizer": "{'got': [tokenizer]}",
        "data, *, request": "{'got': [request.adapter, request.session, request.request_id, request.headers['a']]}",
        "request": "request | {'got': 'payload'}",
        "data, **kwargs": "{'got': sorted(kwargs)}",
    }
    told = {}
    for number, (parameters, result) in enumerate(bodies.items()):
        script = loaded(tmp_path / str(number), f"{IN}def f({parameters}):\n    return {result}\n")
        context = {"headers": {"a": "b"}, "adapter": "poet", "session": "s", "request_id": "r"}
        told[parameters] = formatted(script, {"inputs": "Hi"}, **context)["got"]
    assert list(told.values()) == [[], ["TOKENIZER"], ["poet", "s", "r", "b"], "payload", ["request", "tokenizer"]]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_input_formatter_may_be_a_coroutine_function(tmp_path: Path, kind: str) -> None:
    script = loaded(tmp_path, f"{IN}{kind} f(data):\n    return {{'prompt': data.pop('question')}}\n")
    assert formatted(script, {"question": "Hi"}) == {"prompt": "Hi"}


def test_a_coroutine_function_under_a_decorator_that_hides_it_is_awaited(tmp_path: Path) -> None:
    hidden = "async def inner(data):\n    await asyncio.sleep(0)\n    return {'a': 1}\n"
    script = loaded(tmp_path, f"{HEAD}{hidden}\n@input_formatter\ndef f(data):\n    return inner(data)\n")
    assert formatted(script, {}) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("raise ValueError('a question is missing')", 400, "The input formatter refused the request: ValueError: a q"),
        ("return data['question']", 400, "The input formatter refused the request: KeyError: 'question'"),
        ("sys.exit(1)", 400, "The input formatter refused the request: SystemExit: 1"),
        ("data.clear()", 500, "The input formatter returned NoneType; it must return a dict."),
        ("return [data]", 500, "The input formatter returned list; it must return a dict."),
        (
            "return {'a': {1, 2}}",
            500,
            "The input formatter returned what is not JSON: Type is not JSON serializable: set.",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_is_wrong_in_an_input_formatter_is_told_in_a_line(
    tmp_path: Path, kind: str, body: str, status: int, message: str
) -> None:
    with pytest.raises(RequestError) as refused:
        formatted(loaded(tmp_path, f"{IN}{kind} f(data):\n    {body}\n"), {"a": 1})
    assert (refused.value.status, refused.value.message[: len(message)]) == (status, message)


def test_a_failure_is_logged_with_its_line_and_traceback_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = loaded(tmp_path, f"{IN}def f(data):\n    return data['question']\n")
    for _ in range(3):
        with pytest.raises(RequestError):
            formatted(script, {})
    (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert entry.getMessage().startswith(f"{tmp_path}/model.py:8: f: KeyError: 'question' (told once; ")
    assert entry.exc_info


def test_sagemakers_input_fn_gets_the_raw_body_and_its_type(tmp_path: Path) -> None:
    text = """
        import json

        def input_fn(request_body, content_type):
            return json.dumps({"prompt": request_body.decode(), "type": content_type})
    """
    used = formatters(loaded(tmp_path, text), headers={"content-type": "text/csv"}, body=b"a,b")
    assert asyncio.run(used.input({})) == {"prompt": "a,b", "type": "text/csv"}


def test_sagemakers_output_fn_says_what_it_made(tmp_path: Path) -> None:
    text = "def output_fn(prediction, accept):\n    return prediction['choices'][0]['message']['content'], 'text/csv'"
    told = whole(loaded(tmp_path, text))
    assert (told.body, told.reply_headers["content-type"]) == (b"a cat", "text/csv")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("text/csv", "text/csv"), ("*/*", "application/json"), ("", "application/json"),
     ("text/html, text/csv", "application/json")],
)  # fmt: skip
def test_sagemakers_output_fn_is_told_what_is_accepted(tmp_path: Path, accept: str, expected: str) -> None:
    script = loaded(tmp_path, "def output_fn(prediction, accept):\n    return '\"' + accept + '\"'")
    told = whole(script, headers={"accept": accept})
    assert (told.json(), told.reply_headers["content-type"]) == (expected, expected)


@pytest.mark.parametrize(
    ("body", "told", "content_type"),
    [
        ("return {'text': data['choices'][0]['message']['content']}", b'{"text":"a cat"}', "application/json"),
        ("return '{\"a\": 1}'", b'{"a": 1}', "application/json"),
        ("return 'a cat!'", b"a cat!", "text/plain; charset=utf-8"),
        ("return b'\\xff'", b"\xff", "text/plain; charset=utf-8"),
        ("return [1, 2]", b"[1,2]", "application/json"),
    ],
)
def test_an_output_formatter_has_the_last_word(tmp_path: Path, body: str, told: bytes, content_type: str) -> None:
    caller = whole(loaded(tmp_path, f"{OUT}def f(data):\n    {body}\n"))
    assert (caller.status, caller.body, caller.reply_headers["content-type"]) == (200, told, content_type)
    assert caller.reply_headers["content-length"] == str(len(told))


def test_a_reply_is_a_plain_dict_with_vllms_attributes(tmp_path: Path) -> None:
    body = """
    assert isinstance(data, dict) and data.choices[0].message is data["choices"][0]["message"]
    assert data.model_dump() == data and not hasattr(data, "generated_text")
    data.choices[0].message.content += "!"
    data.seen = time.time() > 0
    del data.object
    return data
"""
    told = whole(loaded(tmp_path, f"{OUT}def f(data):{body}")).json()
    assert (told["choices"][0]["message"]["content"], told["seen"], "object" in told) == ("a cat!", True, False)


def test_a_record_survives_copies_and_pickling() -> None:
    record = Record(CHAT)
    for same in (copy.deepcopy(record), copy.copy(record), pickle.loads(pickle.dumps(record))):
        assert same == record
        assert same.choices[0].message.content == "a cat"
    assert json.loads(record.model_dump_json()) == record.dict() == CHAT


def test_a_tgi_reply_holds_vllms_object_behind_it(tmp_path: Path) -> None:
    body = """
    assert data == {"generated_text": "cat"}
    data.tokens = len(data.choices[0].token_ids)
    return data
"""
    used = formatters(loaded(tmp_path, f"{OUT}def f(data):{body}"))
    told = asyncio.run(replied({"choices": [choice("cat")]}, used, reply(parsed()))).json()
    assert told == {"generated_text": "cat", "tokens": len(choice("cat")["token_ids"])}


def test_each_of_several_replies_to_several_inputs_is_formatted(tmp_path: Path) -> None:
    used = formatters(loaded(tmp_path, f"{OUT}def f(data):\n    return data['generated_text'].upper()\n"))
    body = {"choices": [choice("a"), choice("b", index=1)]}
    assert asyncio.run(replied(body, used, reply(parsed(inputs=["x", "y"])))).json() == ["A", "B"]


def test_vectors_are_formatted_as_the_list_they_are(tmp_path: Path) -> None:
    used = formatters(loaded(tmp_path, f"{OUT}def f(data):\n    return {{'vectors': data}}\n"))
    caller = asyncio.run(replied({"data": [{"embedding": [0.5]}]}, used, EmbeddingLists()))
    assert caller.json() == {"vectors": [[0.5]]}


def test_an_error_of_vllms_is_not_formatted(tmp_path: Path) -> None:
    script = loaded(tmp_path, f"{OUT}def f(data):\n    return {{'formatted': True}}\n")

    async def refused() -> Caller:
        caller = Caller()
        send = scripts_reply(caller, script)
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b'{"error": {"message": "no", "code": 400}}'})
        return caller

    caller = asyncio.run(refused())
    assert (caller.status, caller.json()["error"]["message"]) == (400, "no")


def scripts_reply(caller: Caller, script: Scripts) -> Callable[[Any], Awaitable[None]]:
    from handlers.reply import Reply

    return Reply(caller.exchange(), None, formatters=formatters(script))


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_each_chunk_of_a_stream_is_formatted_in_order(tmp_path: Path, kind: str) -> None:
    body = "data.choices[0].delta.content = data.choices[0].delta.content.upper()\n    data['at'] = 1\n    return data"
    caller = stream(loaded(tmp_path, f"{OUT}{kind} f(data):\n    {body}\n"))
    assert (texts(caller), caller.lines()[-1], caller.ended) == (["A", " CAT", " SAT"], "[DONE]", True)


def test_a_chunk_may_be_dropped_and_text_of_its_own_emitted(tmp_path: Path) -> None:
    body = """
    text = data.choices[0].delta.content
    return {"a": None, " cat": "plain\\ntext", " sat": 'data: {"own": 1}'}[text]
"""
    caller = stream(loaded(tmp_path, f"{OUT}def f(data):{body}"))
    assert caller.body == b'data: plain\ndata: text\n\ndata: {"own": 1}\n\ndata: [DONE]\n\n'


def test_text_in_json_lines_is_json_still(tmp_path: Path) -> None:
    texts = ['{"own":\\n1}\\n', "plain", 'data: {"own": 2}\\n\\n', ""]
    script = loaded(tmp_path, f"{OUT}def f(data):\n    return {texts!r}[data['n']].replace('\\\\n', chr(10))\n")
    caller = stream(script, [{"n": n} for n in range(4)], JsonLines())
    assert caller.lines() == [{"own": 1}, "plain", {"own": 2}]


def test_the_name_of_an_event_stays_with_it(tmp_path: Path) -> None:
    script = loaded(tmp_path, f"{OUT}def f(data):\n    return None if data['n'] == 1 else data\n")
    caller = stream(script, [f'event: e{n}\ndata: {{"n": {n}}}\n\n' for n in range(3)])
    assert caller.body == b'event: e0\ndata: {"n":0}\n\nevent: e2\ndata: {"n":2}\n\ndata: [DONE]\n\n'


def test_only_the_last_line_of_a_tgi_stream_has_generated_text(tmp_path: Path) -> None:
    body = "data['last'] = 'generated_text' in data\n    return data"
    used = formatters(loaded(tmp_path, f"{OUT}def f(data):\n    {body}\n"))
    events = [{"choices": [choice("the", finish=None)]}, {"choices": [choice(" cat")]}]
    lines = asyncio.run(streamed(events, used, reply(parsed(stream=True)))).lines()
    assert [line["last"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert [line["generated_text"] for line in lines] == [None] * (len(lines) - 1) + ["the cat"]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("body", ["raise RuntimeError('no')", "sys.exit()", "return {1, 2}", "raise StopIteration"])
def test_a_failing_output_formatter_is_a_500_in_a_line(tmp_path: Path, kind: str, body: str) -> None:
    script = loaded(tmp_path, f"{OUT}{kind} f(data):\n    {body}\n")
    caller = whole(script)
    assert (caller.status, caller.ended) == (500, True)
    assert caller.json()["error"]["message"].startswith("The output formatter failed: ")
    first = stream(script)
    assert (first.status, first.stopped, first.ended) == (500, True, True)


def test_a_formatter_that_fails_midway_ends_the_stream_with_an_error_and_stops_the_engine(tmp_path: Path) -> None:
    """Row 3 of what is wrong upstream: there the caller waits for two minutes, and is then cut off."""
    body = "if data.choices[0].delta.content == ' cat':\n        raise RuntimeError('no cats')\n    return data"
    started = time.monotonic()
    caller = stream(loaded(tmp_path, f"{OUT}def f(data):\n    {body}\n"))
    assert time.monotonic() - started < 1
    first, error = caller.lines()
    assert (caller.status, first["choices"][0]["delta"]["content"]) == (200, "a")
    assert error["error"]["message"] == "The output formatter failed: RuntimeError: no cats"
    assert (caller.stopped, caller.ended) == (True, True)


def test_a_slow_formatter_stalls_neither_the_event_loop_nor_other_streams(tmp_path: Path) -> None:
    slow = loaded(tmp_path / "slow", f"{OUT}def f(data):\n    time.sleep(0.1)\n    return data\n")
    quick = loaded(tmp_path / "quick", f"{OUT}def f(data):\n    return data\n")

    async def longest_gap() -> float:
        """Return the longest wait between chunks of a stream beside forty slow ones: more than the script's threads."""
        busy = [asyncio.create_task(streamed(DELTAS, formatters(slow))) for _ in range(40)]
        await asyncio.sleep(0.02)
        other = await streamed(DELTAS * 10, formatters(quick))
        assert not any(task.done() for task in busy)
        await asyncio.gather(*busy)
        return max(later - earlier for earlier, later in zip(other.arrived, other.arrived[1:], strict=False))

    assert min(asyncio.run(longest_gap()) for _ in range(3)) < 0.05


def test_a_caller_who_leaves_does_not_wait_for_a_slow_formatter(tmp_path: Path) -> None:
    script = loaded(tmp_path, f"{OUT}def f(data):\n    time.sleep(0.5)\n    return data\n")

    async def left() -> tuple[float, Caller]:
        caller = Caller()
        send = scripts_reply(caller, script)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        caller.left.set()
        started = time.monotonic()
        await send({"type": "http.response.body", "body": json.dumps(CHAT).encode()})
        return time.monotonic() - started, caller

    seconds, caller = asyncio.run(left())
    assert (seconds < 0.4, caller.status) == (True, 0)


def test_without_an_output_formatter_a_stream_is_passed_on_as_it_is(tmp_path: Path) -> None:
    script = loaded(tmp_path, f"{IN}def f(data):\n    return data\n")
    assert stream(script).body == asyncio.run(streamed(DELTAS, None)).body
    assert len(stream(script).chunks) == len(DELTAS) + 1


@pytest.mark.parametrize("script", ["", f"{OUT}def f(data):\n    return data\n"])
def test_an_adapter_is_told_by_its_own_name(tmp_path: Path, script: str) -> None:
    used = formatters(loaded(tmp_path, script))
    body, shown = {**CHAT, "model": "lmi-adapter-0f"}, 'the "poet"'
    renamed = ("lmi-adapter-0f", shown)
    assert asyncio.run(replied(body, used, renamed=renamed)).json()["model"] == shown
    told = asyncio.run(streamed([delta("a") | {"model": "lmi-adapter-0f"}], used, renamed=renamed)).lines()
    assert told[0]["model"] == shown


WRONG_TYPE = "returned what is not JSON: Type is not JSON serializable: set"


@pytest.mark.parametrize(
    ("text", "line", "logged", "told"),
    [(IN + "def f(data):\n    return data['question']\n", 8, "f: KeyError: 'question'", "KeyError: 'question'"),
     (IN + "def f(data):\n    return [data]\n", 6, "f: returned list; it must return a dict", " must return a dict."),
     (OUT + "def f(data):\n    return data['question']\n", 8, "f: KeyError: 'question'", "KeyError: 'question'"),
     (OUT + "def f(data):\n    return {1}\n", 6, f"f: {WRONG_TYPE}", WRONG_TYPE)],
)  # fmt: skip
def test_the_log_names_script_line_and_remedy_and_the_caller_is_told_without_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, line: int, logged: str, told: str
) -> None:
    script = loaded(tmp_path, text)
    if script.input_formatter:
        with pytest.raises(RequestError) as refused:
            formatted(script, {})
        messages = [refused.value.message]
    else:
        messages = [whole(script).json()["error"]["message"], stream(script).json()["error"]["message"]]
    assert all(message.endswith(told) for message in messages)
    assert not any(str(tmp_path) in message or "model.py" in message for message in messages)
    (entry,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert entry.startswith(f"{tmp_path}/model.py:{line}: {logged} (told once; a mended script runs after a restart,")

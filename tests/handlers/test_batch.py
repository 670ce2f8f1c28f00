"""A batch whose inputs name different adapters: who answers what, and what fails it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from handlers import batch
from handlers.formatters import scripts
from tests.handlers.adapted import Server, serving, until
from tests.handlers.scripted import loaded, written
from tests.timing import LONG_SECONDS

scripts.provide_djl_python()
DEADLINE_SECONDS = 0.5


def texts(told: Any) -> list[str]:
    return [item["generated_text"] for item in told]


def test_each_input_is_answered_by_its_adapter_and_in_its_place(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        body = {"inputs": ["v", "w", "x", "y", "z"], "adapters": ["a", "", "b", None, "a"], "cache_salt": "s"}
        response = await server.ask(body)
        assert texts(response.json()) == ["v by a", "w by tiny", "x by b", "y by tiny", "z by a"]
        assert len({asked["cache_salt"] for asked in server.asked}) == 1
        assert sorted(len(asked["prompt"]) for asked in server.asked) == [1, 2, 2]

    serving(test, tmp_path)


@pytest.mark.parametrize("slots", [2, 12])
def test_a_batch_takes_more_adapters_than_there_are_places_and_not_all_at_once(tmp_path: Path, slots: int) -> None:
    names = "abcdefghijkl"

    async def test(server: Server) -> None:
        for _ in range(2):  # the second time, with a place for each, nothing has to be waited for
            response = await server.ask({"inputs": list(names), "adapters": list(names)})
            assert texts(response.json()) == [f"{name} by {name}" for name in names]
        assert server.engine.lora.most_held == slots
        assert server.engine.most_at_once <= batch._AT_ONCE

    serving(test, tmp_path, names=names, slots=slots)


@pytest.mark.parametrize(
    ("body", "path", "status", "told"),
    [({"inputs": ["x", "y"], "adapters": ["a", "c"]}, "/invocations", 404, "`c` does not exist"),
     ({"inputs": ["x", "refuse"], "adapters": ["a", "b"]}, "/invocations", 400, "`b` refuses"),
     ({"inputs": ["x", 3], "adapters": ["a", "b"]}, "/invocations", 400, "inputs must be"),
     ({"inputs": ["x", "y"], "adapters": ["a", "b"], "stream": True}, "/invocations", 400, "cannot be streamed"),
     ({"inputs": ["x", "y"], "adapters": ["a", "b"], "messages": []}, "/v1/chat/completions", 400, "takes one adapter"),
     ({"inputs": ["x", "y"], "adapters": ["a", "b"], "input": "x"}, "/tokenize", 400, "takes one adapter")],
)  # fmt: skip
def test_one_error_is_the_whole_batchs(tmp_path: Path, body: Any, path: str, status: int, told: str) -> None:
    async def test(server: Server) -> None:
        response = await server.ask(body, path)
        assert (response.status, told in response.message) == (status, True)

    serving(test, tmp_path)


@pytest.mark.parametrize(("how", "status"), [("deadline", 504), ("shutdown", 503), ("leave", 0)])
def test_a_batch_that_has_to_end_ends_all_its_parts(tmp_path: Path, how: str, status: int) -> None:
    async def test(server: Server) -> None:
        async with server.asking({"inputs": ["x", "wait", "wait"], "adapters": ["a", "b", ""]}) as request:
            await until(lambda: len(server.asked) == 3)
            if how == "leave":
                request.leave()
            if how == "shutdown":
                server.app.end_all()
        assert request.response.status == status
        await until(lambda: len(asyncio.all_tasks()) == 1)

    serving(test, tmp_path, predict_timeout_seconds=DEADLINE_SECONDS if how == "deadline" else LONG_SECONDS)


HANDLE = """
    import json
    from djl_python import Output

    def handle(inputs):
        if inputs.is_empty():
            return None
        return Output().add_as_json([f"{each} by handle" for each in json.loads(inputs.get_as_string())["inputs"]])
"""
READS_BODY = """
    import json

    def input_fn(body, content_type):
        asked = json.loads(body)
        return {**asked, "inputs": [f"read {each}" for each in asked["inputs"]]}
"""
ANSWERS = """
    from djl_python.output_formatter import output_formatter

    @output_formatter
    def out_of(reply):
        return {"said": reply["generated_text"]}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [(HANDLE, ["x by handle", {"generated_text": "y by b"}, "z by handle"]),
     (READS_BODY, [{"generated_text": text} for text in ("read x by a", "y by b", "read z by a")]),
     (ANSWERS, [{"said": "x by a"}, {"generated_text": "y by b"}, {"said": "z by a"}])],
)  # fmt: skip
def test_an_adapters_script_sees_its_own_inputs_only(tmp_path: Path, text: str, told: list[Any]) -> None:
    written(tmp_path / "a", text)

    async def test(server: Server) -> None:
        response = await server.ask({"inputs": ["x", "y", "z"], "adapters": ["a", "b", "a"]})
        assert response.json() == told

    serving(test, tmp_path)


REPLIES = """
    from djl_python import Output

    def handle(inputs):
        return Output().add({result})
"""
STREAMS = """
    from djl_python.input_parser import input_formatter

    @input_formatter
    def change(given):
        return {result}
"""


@pytest.mark.parametrize(
    ("text", "result"),
    [(STREAMS, "{**given, 'stream': True}"), (REPLIES, "'no list'"), (REPLIES, "'[1]'"), (REPLIES, "''")],
)
def test_a_script_that_has_no_item_for_each_input_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, result: str
) -> None:
    base = loaded(tmp_path / "base", text.replace("{result}", result))
    told = "The script for the adapter `a` answered 2 inputs of a batch with something else than a list of 2"

    async def test(server: Server) -> None:
        response = await server.ask({"inputs": ["x", "y", "z", "z"], "adapters": ["a", "b", "a", "b"]})
        assert (response.status, response.message) == (500, f"{told}; it must return one.")
        response = await server.ask({"inputs": ["x", "y", "z"], "adapters": ["", "", "b"]})
        assert (response.status, response.message[:36]) == (500, "The script for the base model answer")

    serving(test, tmp_path, script=base)
    assert told in caplog.text

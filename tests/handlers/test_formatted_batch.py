"""A list of `inputs` and the scripts of a model and its adapters: each text is formatted, and answered, as if alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from handlers.formatters import scripts
from tests.handlers.adapted import HEADER, Server, serving
from tests.handlers.asgi import answers, application, call
from tests.handlers.scripted import EXAMPLES, loaded, written

scripts.provide_djl_python()
IN = """
    from djl_python.input_parser import input_formatter

    @input_formatter
    def into(body, request=None):
        text = body["inputs"]
        {rest}
"""


def into(rest: str) -> str:
    return IN.replace("{rest}", rest)


def texts(told: Any) -> list[str]:
    return [item["generated_text"] for item in told]


def ask_the_base(directory: Path, text: str, body: Any, **headers: str) -> tuple[int, Any, list[Any]]:
    """Return status and reply of a base model with a script, and what its engine was asked."""

    async def test(server: Server) -> None:
        response = await server.ask(body, **headers)
        found.extend((response.status, response.json(), server.asked))

    found: list[Any] = []
    serving(test, directory, names="", script=loaded(directory / "base", text))
    status, told, asked = found
    return status, told, asked


@pytest.mark.parametrize("adapters", ["a", ["a", "a"], ["a", ""], ["", "a"]])
def test_the_adapters_example_of_lmis_documentation_formats_each_text_of_a_batch(tmp_path: Path, adapters: Any) -> None:
    written(tmp_path / "a", (EXAMPLES / "input_adapter" / "model.py").read_text(encoding="utf-8"))

    async def test(server: Server) -> None:
        response = await server.ask({"inputs": ["x", "y"], "adapters": adapters})
        names = [adapters] * 2 if isinstance(adapters, str) else adapters
        wanted = [
            f"[ADAPTER_PREFIX] {text} by a" if name else f"{text} by tiny"
            for text, name in zip("xy", names, strict=True)
        ]
        assert (response.status, texts(response.json())) == (200, wanted)
        assert len(server.asked) == len(set(names))
        alone = await server.ask({"inputs": ["x"]}, **{HEADER: "a"})
        assert texts(alone.json()) == ["[ADAPTER_PREFIX] x by a"]

    serving(test, tmp_path)


def test_texts_asked_for_alike_are_one_call_and_others_their_own(tmp_path: Path) -> None:
    body = {"inputs": ["a", "bb", "c"], "parameters": {"max_new_tokens": 3}, "cache_salt": "s"}
    text = into("body['parameters']['max_new_tokens'] += len(text)\n        return body")
    status, told, asked = ask_the_base(tmp_path, text, body)
    assert (status, texts(told)) == (200, ["a by tiny", "bb by tiny", "c by tiny"])
    assert sorted((each["prompt"], each["max_tokens"]) for each in asked) == [(["a", "c"], 4), (["bb"], 5)]
    assert len({each["cache_salt"] for each in asked}) == 1


@pytest.mark.parametrize("inputs", [["x", "y"], ["x"]])
def test_a_batch_may_become_chats_and_stays_a_list(tmp_path: Path, inputs: list[str]) -> None:
    text = into("return {'messages': [{'role': 'user', 'content': text}]}")
    status, told, asked = ask_the_base(tmp_path, text, {"inputs": inputs})
    assert (status, len(told), len(asked)) == (200, len(inputs), len(inputs))
    assert [each["path"] for each in told] == ["/v1/chat/completions"] * len(inputs)
    assert [each["choices"][0]["text"].count(text) > 0 for each, text in zip(told, inputs, strict=True)]


def test_a_formatter_that_reads_lists_too_may_return_one_of_one(tmp_path: Path) -> None:
    text = into("return {'inputs': [each + '!' for each in (text if isinstance(text, list) else [text])]}")
    status, told, _ = ask_the_base(tmp_path, text, {"inputs": ["x", "yy"]})
    assert (status, texts(told)) == (200, ["x! by tiny", "yy! by tiny"])


@pytest.mark.parametrize(
    ("rest", "status", "told"),
    [("return {'inputs': [each for each in text]}", 500,
      "The input formatter returned a list of 2 as `inputs` for one of a batch; it is called once for each"),
     ("return [text]", 500, "The input formatter returned list; it must return a dict."),
     ("return {'inputs': int(text) if text.isdigit() else 1 / 0}", 400,
      "The input formatter refused inputs[0]: ZeroDivisionError: division by zero"),
     ("return {'inputs': text, 'stream': True, 'user': text}", 400,
      "The input formatter asks for each input otherwise; stream them one by one."),
     ("return {'inputs': text, 'kv_transfer_params': {}}", 400, "kv_transfer_params cannot be set by a request."),
     ("return {'inputs': 3}", 400, "inputs must be a string or a list of strings."),
     ("return {'prompt': 'refuse'} if text == 'yy' else body", 400, "The model `tiny` refuses.")],
)  # fmt: skip
def test_what_fails_one_text_fails_the_batch_in_a_line(tmp_path: Path, rest: str, status: int, told: str) -> None:
    found, reply, _ = ask_the_base(tmp_path, into(rest), {"inputs": ["xx", "yy"]})
    assert (found, reply["error"]["message"][: len(told)]) == (status, told)


def test_the_adapter_is_named_whose_formatter_returns_what_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path / "a", into("return {'inputs': [*text]}"))

    async def test(server: Server) -> None:
        response = await server.ask({"inputs": ["xx", "yy"], "adapters": ["a", ""]})
        assert response.message.startswith("The input formatter for the adapter `a` returned a list of 2 as `inputs`")

    serving(test, tmp_path)
    assert f"{file}:4: into: returned a list of 2 as `inputs` for one of a batch; it is called once" in caplog.text


def test_a_stream_of_a_batch_has_the_formatted_texts(tmp_path: Path) -> None:
    written(tmp_path / "a", into("return {**body, 'inputs': text.upper()}"))

    async def test(server: Server) -> None:
        async with server.asking({"inputs": ["x", "y"], "stream": True}, **{HEADER: "a"}):
            pass
        assert (server.asked[0]["prompt"], server.asked[0]["stream"]) == (["X", "Y"], True)

    serving(test, tmp_path)


def test_every_text_has_the_body_to_itself(tmp_path: Path) -> None:
    """What a formatter does to one text's body is not seen with the next."""
    text = into("assert body['parameters'].pop('left') and 'adapters' not in body; return {'inputs': text}")
    body = {"inputs": ["x", "y"], "parameters": {"left": 1}, "adapters": ["", ""]}
    status, told, _ = ask_the_base(tmp_path, text, body)
    assert (status, texts(told)) == (200, ["x by tiny", "y by tiny"])


@pytest.mark.parametrize("inputs", [[], [{"role": "user", "content": "x"}], [["x"]], [1], "x", {"a": 1}])
def test_inputs_of_ones_own_schema_are_formatted_as_they_are(tmp_path: Path, inputs: Any) -> None:
    text = into("return {'prompt': str(text)}")
    status, told, asked = ask_the_base(tmp_path, text, {"inputs": inputs})
    assert (status, told["choices"][0]["text"], len(asked)) == (200, f"{inputs} by tiny", 1)


def test_on_other_routes_a_body_is_formatted_as_it_is(tmp_path: Path) -> None:
    engine = answers({})
    script = loaded(tmp_path, into("return {'prompt': str(text)}"))
    call(application(engine, script=script), {"inputs": ["x", "y"]}, "/v1/completions")
    assert json.loads(engine.calls[0][1]) == {"prompt": "['x', 'y']"}


OUT = """
    from djl_python.output_formatter import output_formatter

    @output_formatter
    def out_of(reply):
        {rest}
"""


def test_an_output_formatter_sees_each_answer_and_vllms_behind_it(tmp_path: Path) -> None:
    rest = "return {'said': reply['generated_text'], 'vllm': [(c.index, c.text) for c in reply.choices]}"
    status, told, asked = ask_the_base(tmp_path, OUT.replace("{rest}", rest), {"inputs": ["x", "y"]})
    assert (status, len(asked)) == (200, 1)
    assert told == [{"said": f"{text} by tiny", "vllm": [[0, f"{text} by tiny"]]} for text in "xy"]


def test_an_output_formatter_that_changes_vllms_object_answers_with_it_in_a_batch_too(tmp_path: Path) -> None:
    rest = "reply.choices[0].text = reply.choices[0].text.upper(); return reply"
    _, told, _ = ask_the_base(tmp_path, OUT.replace("{rest}", rest), {"inputs": ["x", "y"]})
    assert [each["choices"][0]["text"] for each in told] == ["X BY TINY", "Y BY TINY"]


READS = """
    import json

    def input_fn(body, content_type):
        return {result}
"""


@pytest.mark.parametrize(
    ("result", "status", "told"),
    [("json.loads(body)", 200, ["x by tiny", "y by tiny"]),
     ("{'inputs': str(json.loads(body)['inputs'])}", 500, "returned one text as `inputs` for 2 of them; it must"),
     ("{'inputs': json.loads(body)['inputs'][:1]}", 500, "returned a list of 1 as `inputs` for 2 of them; it must")],
)  # fmt: skip
def test_input_fn_sees_the_whole_batch_and_returns_as_many(tmp_path: Path, result: str, status: int, told: Any) -> None:
    found, reply, _ = ask_the_base(tmp_path, READS.replace("{result}", result), {"inputs": ["x", "y"]})
    assert found == status
    if status == 200:
        assert texts(reply) == told
    else:
        assert told in reply["error"]["message"]


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"[]", "The request body must be a JSON object, not an array."), (b"null", "not null."), (b"3", "not a number."),
     (b"", "The request body is empty"), (b"{", "The request body is not valid JSON"), (b'"x"', "not a string.")],
)  # fmt: skip
@pytest.mark.parametrize("naive", ["json.loads(body)", "{'prompt': json.loads(body)['text']}"])
def test_a_body_that_input_fn_did_not_think_of_is_refused_like_any_other(
    tmp_path: Path, naive: str, body: bytes, told: str
) -> None:
    engine = answers({})
    script = loaded(tmp_path, READS.replace("{result}", naive))
    response = call(application(engine, script=script), body)
    assert (response.status, told in response.message, engine.calls) == (400, True, [])


def test_what_input_fn_says_of_a_body_itself_is_told(tmp_path: Path) -> None:
    script = loaded(tmp_path, "def input_fn(body, content_type):\n    raise ValueError('send rows')\n")
    response = call(application(answers({}), script=script), b"[]")
    assert (response.status, response.message) == (
        400,
        "The input formatter refused the request: ValueError: send rows",
    )
    engine = answers({})
    script = loaded(tmp_path, READS.replace("{result}", "{'prompt': json.loads(body)[0]}"))
    assert call(application(engine, script=script), b'["x"]').status == 200
    assert json.loads(engine.calls[0][1]) == {"prompt": "x"}


def test_embeddings_go_through_an_input_formatter_as_the_list_lmi_documents(tmp_path: Path) -> None:
    vectors = {"data": [{"embedding": [0.5]}, {"embedding": [0.25]}]}
    engine = answers(vectors)
    script = loaded(tmp_path, into("return {'inputs': ['query: ' + each for each in text]}"))
    app = application(engine, script=script, task="embed")
    assert call(app, {"inputs": ["x", "y"]}).json() == [[0.5], [0.25]]
    assert json.loads(engine.calls[0][1])["input"] == ["query: x", "query: y"]
    script = loaded(tmp_path, (EXAMPLES / "input_adapter" / "model.py").read_text(encoding="utf-8"))
    response = call(application(engine, script=script, task="embed"), {"inputs": ["x", "y"]})
    assert (response.status, "returned one text as `inputs` for 2 of them" in response.message) == (500, True)

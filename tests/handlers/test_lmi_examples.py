import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from handlers.errors import RequestError, ScriptError
from handlers.formatters import scripts
from handlers.streams import JsonLines
from tests.handlers.scripted import EXAMPLES, Caller, example, formatters, replied, streamed
from tests.handlers.test_tgi import choice, parsed, reply

ROOT = Path(__file__).parent.parent.parent
SHOWN = ("input_base", "input_adapter", "output_base", "output_adapter")
COMPLETION = {"object": "text_completion", "model": "tiny", "choices": [choice("the cat")]}
CHAT = {"object": "chat.completion", "model": "tiny", "choices": [{"message": {"content": "the cat"}}]}
CHUNKS = [{"object": "chat.completion.chunk", "choices": [{"delta": {"content": text}}]} for text in ("the", " cat")]


def asked(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    scripts.provide_djl_python()
    return asyncio.run(formatters(example(name)).input(payload))


def lmi(name: str) -> Any:
    """Return the example's reply to a body with `inputs`."""
    return asyncio.run(replied(COMPLETION, formatters(example(name)), reply(parsed()))).json()


def chat(name: str) -> Any:
    return asyncio.run(replied(CHAT, formatters(example(name)))).json()


def lmi_stream(name: str) -> list[Any]:
    events = [{"choices": [choice("the", finish=None)]}, {"choices": [choice(" cat")]}]
    return asyncio.run(streamed(events, formatters(example(name)), reply(parsed(stream=True)))).lines()


def chat_stream(name: str) -> Caller:
    return asyncio.run(streamed(CHUNKS, formatters(example(name)), JsonLines()))


def test_the_input_formatter_of_the_documentation_renames_a_field_and_sets_a_default() -> None:
    assert asked("input_base", {"inputPrompt": "Hi"}) == {"inputs": "Hi", "parameters": {"max_new_tokens": 256}}


def test_the_adapters_input_formatter_of_the_documentation_has_a_schema_of_its_own() -> None:
    adapter, base = example("input_adapter"), example("input_base")
    told = asyncio.run(formatters(adapter.over(base)).input({"inputs": "Hi"}))
    assert told == {"inputs": "[ADAPTER_PREFIX] Hi", "parameters": {"temperature": 0.7, "max_new_tokens": 512}}


def test_the_output_formatter_of_the_documentation_adds_a_timestamp_metadata_and_a_prefix() -> None:
    told = lmi("output_base")
    assert abs(told.pop("formatter_timestamp") - time.time()) < 10
    assert told == {"generated_text": "[BASE] the cat", "custom_formatter_applied": True, "original_length": 7}
    assert chat("output_base") == CHAT


def test_the_output_formatter_of_the_documentation_works_in_a_stream() -> None:
    *lines, last = lmi_stream("output_base")
    assert [line["generated_text"] for line in lines] == [None] * len(lines)
    assert (last["generated_text"], last["custom_formatter_applied"]) == ("[BASE] the cat", True)


def test_the_adapters_output_formatter_of_the_documentation_adds_metrics() -> None:
    told = {"generated_text": "[ADAPTER] the cat", "adapter_name": "my_adapter", "adapter_version": "1.0",
            "custom_metrics": {"text_length": 7, "word_count": 2}}  # fmt: skip
    assert lmi("output_adapter") == told
    assert lmi_stream("output_adapter")[-1].items() >= told.items()


def test_the_script_of_lmis_own_tests_rewrites_bodies_and_vllms_replies() -> None:
    body = {"inputPrompt": "Hi", "parameters": {"maxOutputToken": 5, "unknown": 1}}
    assert asked("integration", body) == {"inputs": "Hi", "parameters": {"max_new_tokens": 5}}
    for text in (lmi("integration")["choices"][0]["text"], chat("integration")["choices"][0]["message"]["content"]):
        told = json.loads(text)
        assert (told["custom_formatter_applied"], told["completions"][0]["completionText"]) == (True, "the cat")
    (first, second) = [line["choices"][0]["delta"]["content"] for line in chat_stream("integration").lines()]
    assert first.startswith("[CUSTOM_FORMATTED:")
    assert second.endswith("]  cat")


def test_an_output_formatter_may_answer_in_a_schema_of_its_own() -> None:
    told = {"custom_formatter_applied": True, "generated_text": "the cat", "model": "tiny"}
    assert lmi("schema_of_ones_own") == chat("schema_of_ones_own") == told
    assert {"custom_formatter_applied": True} in lmi_stream("schema_of_ones_own")


def test_fields_set_as_attributes_are_in_every_reply_and_chunk() -> None:
    tagged = [lmi("processed_by"), chat("processed_by"), *lmi_stream("processed_by"),
              *chat_stream("processed_by").lines()]  # fmt: skip
    assert {line["processed_by"] for line in tagged} == {"my_adapter"}
    assert lmi("processed_by")["generated_text"] == "the cat"


def test_the_failing_formatters_of_lmis_own_tests_are_told_apart() -> None:
    with pytest.raises(RequestError, match="Input formatter intentionally failed") as refused:
        asked("input_formatter_failed", {"inputs": "Hi"})
    assert refused.value.status == 400
    told = asyncio.run(replied(CHAT, formatters(example("output_formatter_failed"))))
    assert (told.status, "intentionally failed" in told.json()["error"]["message"]) == (500, True)
    with pytest.raises(ScriptError, match=r"^model.py:6: SyntaxError: invalid syntax"):
        example("load_formatter_failed")


def test_the_failing_handlers_of_lmis_own_tests_are_told_when_they_are_loaded() -> None:
    with pytest.raises(ScriptError, match=r"^model.py:2: ModuleNotFoundError: No module named 'non_existent_module'$"):
        example("handler_import_error")
    with pytest.raises(ScriptError, match=r"^model.py:6: SyntaxError: expected ':'$"):
        example("handler_syntax_error")
    assert example("handler_missing_handle").handle is None


@pytest.mark.parametrize("name", ["handler", "handler_success"])
def test_the_handlers_of_the_documentation_answer_by_themselves(tmp_path: Path, name: str) -> None:
    """In a process whose `vllm` is a stand-in: the examples load a model of their own with it."""
    (tmp_path / "vllm.py").write_text(
        "from types import SimpleNamespace as N\n"
        "SamplingParams = dict\n"
        "class LLM:\n"
        "    def __init__(self, model, tensor_parallel_size):\n"
        "        self.model = model\n"
        "    def generate(self, prompts, parameters):\n"
        "        return [N(outputs=[N(text=f'{self.model} on {prompts[0]}')])]\n",
        encoding="utf-8",
    )
    code = (
        "import sys; from tests.handlers.scripted import example; from tests.handlers.test_custom_handle import *\n"
        "script = example(sys.argv[1]); start(script); print(handled(script)[1].json()['generated_text'])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-c", code, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["tiny on Hi"], done.stderr


@pytest.mark.parametrize("name", SHOWN)
def test_the_readme_shows_the_documentations_examples_as_they_are_tested(name: str) -> None:
    text = (EXAMPLES / name / "model.py").read_text(encoding="utf-8")
    assert f"```python\n{text}```" in (ROOT / "README.md").read_text(encoding="utf-8")

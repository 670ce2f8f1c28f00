"""The real engine class around a client of the test's: whose fault an adapter's failure is, and when one leaves."""

import subprocess
import sys

import pytest

LOAD = """
import asyncio
from types import SimpleNamespace
from handlers.engine import Engine
from vllm.v1.engine.exceptions import EngineDeadError
removed = []
async def remove_lora(number):
    removed.append(number)
for failure in (Exception("Call to add_lora method failed: no such rank"), EngineDeadError(), None):
    async def add_lora(request):
        if failure:
            raise failure
    models = SimpleNamespace(lora_requests={})
    app = SimpleNamespace(state=SimpleNamespace(openai_serving_models=models))
    engine = Engine(app, SimpleNamespace(add_lora=add_lora, remove_lora=remove_lora), 10, None)
    try:
        asyncio.run(engine.load_adapter("key", 7, "/adapter"))
        told = "loaded"
    except Exception as error:
        told = f"{type(error).__name__} {str(error)[:12]}"
    print("LOADED", told, removed, list(models.lora_requests), sep="|")
"""

UNLOAD = """
import asyncio
from types import SimpleNamespace
from handlers.engine import Engine
states, running = {}, []
async def remove_lora(number):
    running.append(sorted(states))
client = SimpleNamespace(
    remove_lora=remove_lora, errored=False, output_processor=SimpleNamespace(request_states=states)
)
models = SimpleNamespace(lora_requests={"key": 1, "other": 2})
engine = Engine(SimpleNamespace(state=SimpleNamespace(openai_serving_models=models)), client, 10, None)
async def test():
    states.update({"a": SimpleNamespace(lora_name="key"), "b": SimpleNamespace(lora_name="other")})
    asyncio.get_running_loop().call_later(0.1, states.pop, "a")
    await engine.unload_adapter("key", 7)
asyncio.run(test())
print("UNLOADED", running, list(models.lora_requests), sep="|")
"""

TOKENIZERS = """
import threading
from types import SimpleNamespace
from handlers.engine import Engine
for tokenizer in ([1], [threading.Lock()], None):
    engine = Engine(None, SimpleNamespace(renderer=SimpleNamespace(tokenizer=tokenizer)), 10, None)
    print("LOADED", engine.formatting_tokenizer == tokenizer, engine.formatting_tokenizer is tokenizer, sep="|")
"""


def run(code: str) -> list[list[str]]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = [line.split("|")[1:] for line in done.stdout.splitlines() if "LOADED|" in line]
    assert told, done.stderr[-2000:]
    return told


@pytest.mark.engine
def test_an_adapter_does_not_leave_before_requests_whose_callers_left_have_ended() -> None:
    assert run(UNLOAD) == [["[['b']]", "['other']"]]


@pytest.mark.engine
def test_what_the_engine_refuses_is_the_adapters_fault_and_what_it_dies_of_is_not() -> None:
    told = run(LOAD)
    assert told[0] == ["AdapterRefusedError no such rank", "[7]", "[]"]
    assert (told[1][0].split()[0], *told[1][1:]) == ("EngineDeadError", "[7]", "[]")
    assert told[2] == ["loaded", "[7]", "['key']"]


@pytest.mark.engine
def test_formatters_get_a_copy_of_the_tokenizer_where_there_can_be_one() -> None:
    assert run(TOKENIZERS) == [["True", "False"], ["True", "True"], ["True", "True"]]

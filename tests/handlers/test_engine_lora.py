"""Loading an adapter into the real engine class: whose fault a failure is. The engine's client is a stand-in."""

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


@pytest.mark.engine
def test_what_the_engine_refuses_is_the_adapters_fault_and_what_it_dies_of_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    told = [line.split("|")[1:] for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert told, done.stderr[-2000:]
    assert told[0] == ["AdapterRefusedError no such rank", "[7]", "[]"]
    assert (told[1][0].split()[0], *told[1][1:]) == ("EngineDeadError", "[7]", "[]")
    assert told[2] == ["loaded", "[7]", "['key']"]

"""vLLM's own slots for adapters, without a model: what a step copies into them after a load."""

import subprocess
import sys

import pytest

STEPS = """
from types import SimpleNamespace
import handlers.cpu_worker
from vllm.lora.model_manager import AdapterLRUCache, LRUCacheLoRAModelManager
from vllm.lora.request import LoRARequest
from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager
copied = []
class Slots(LRUCacheLoRAModelManager):
    def __init__(self):
        self.lora_config = SimpleNamespace(max_loras=3, max_cpu_loras=8)
        self.modules, self.lora_index_to_id = {}, [None] * 3
        self._registered_adapters = AdapterLRUCache(8, self.deactivate_adapter)
        self._active_adapters = AdapterLRUCache(3, self._deactivate_adapter)
    def _add_adapter(self, lora):
        self._registered_adapters[lora.id] = lora
    def activate_adapter(self, number):
        new = super().activate_adapter(number)
        copied.extend([number] if new else [])
        return new
class Worker(LRUCacheWorkerLoRAManager):
    def __init__(self):
        self._adapter_manager = Slots()
    def _load_adapter(self, request):
        return SimpleNamespace(id=request.lora_int_id)
worker = Worker()
def step(*numbers):
    worker._apply_adapters([LoRARequest(str(number), number, "/adapter") for number in numbers])
for what in (lambda: step(1, 2, 3), lambda: worker.add_adapter(LoRARequest("4", 4, "/adapter")), lambda: step(1, 2, 3),
             lambda: step(2, 3, 1), lambda: step(4, 3, 1)):
    copied.clear()
    what()
    print("COPIED", copied)
"""


@pytest.mark.engine
def test_a_load_costs_a_step_the_one_adapter_whose_slot_it_took() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("COPIED")]
    assert told == ["COPIED [1, 2, 3]", "COPIED [4]", "COPIED [1]", "COPIED []", "COPIED [4]"], done.stderr[-2000:]

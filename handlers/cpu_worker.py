"""Mends vLLM 0.32's worker on a CPU from within its process, where `--worker-extension-cls` has this imported.

A request with a seed whose prompt takes several steps ended the engine: a step that only prefills samples a token
nobody wants, and vLLM rewinds the seed's generator by an offset that generators on a CPU do not have. A request for the
base model was answered with an adapter's weights in a step it shared with one. And a load had the adapters of the next
step push each other out of their slots.
"""

import functools
from collections.abc import Callable, Collection
from typing import Any

# ruff: noqa: SLF001  (vLLM has no public place for this)
import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu
from vllm.lora.request import LoRARequest
from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.gpu_model_runner import GPUModelRunner


class CpuWorker:
    """What vLLM adds to its worker's bases; the import of this module is what counts."""


def _prefilling(runner: GPUModelRunner) -> dict[int, torch.Generator]:
    """Return the generators of the requests whose sampled token is thrown away in this step, by row of the batch."""
    discarded = runner.discard_request_mask.np[: runner.input_batch.num_reqs]
    return {row: generator for row, generator in runner.input_batch.generators.items() if discarded[row]}


def _sample(runner: GPUModelRunner, *arguments: Any, **keywords: Any) -> Any:
    """Sample, and leave the generators of prompts that are not complete as they were."""
    states = [(generator, generator.get_state()) for generator in _prefilling(runner).values()]
    output = GPUModelRunner._sample(runner, *arguments, **keywords)
    for generator, state in states:
        generator.set_state(state)
    return output


def _bookkeeping_sync(runner: GPUModelRunner, *arguments: Any, **keywords: Any) -> Any:
    """Keep the books without the generators vLLM would rewind here."""
    batch = runner.input_batch
    generators, prefilling = batch.generators, _prefilling(runner)
    batch.generators = {row: generator for row, generator in generators.items() if row not in prefilling}
    try:
        return GPUModelRunner._bookkeeping_sync(runner, *arguments, **keywords)
    finally:
        batch.generators = generators


def _of_adapters_only(expand: Callable[..., None]) -> Callable[..., None]:
    """Add what adapters compute to the rows that have one; the others' index is -1, which is the last slot here."""

    @functools.wraps(expand)
    def expanded(
        inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, slots: torch.Tensor, *rest: Any, **more: Any
    ) -> None:
        expand(inputs.masked_fill((slots < 0).unsqueeze(-1), 0), weights, output, slots, *rest, **more)

    return expanded


def _apply_adapters(manager: LRUCacheWorkerLoRAManager, requests: Collection[LoRARequest]) -> None:
    """Have a step's adapters in slots, those that are there first: what is missing then takes none of theirs.

    A load takes a slot, of an adapter in use if all are. vLLM goes through a step's adapters one by one, so that one
    which was missing took the place of the next, and so on: all were copied into their slots again.
    """
    slots = manager._adapter_manager._active_adapters
    for request in requests:
        if request.lora_int_id in slots:
            slots.touch(request.lora_int_id)
    _apply_one_by_one(manager, requests)


CPUModelRunner._sample = _sample
CPUModelRunner._bookkeeping_sync = _bookkeeping_sync
_apply_one_by_one = LRUCacheWorkerLoRAManager._apply_adapters
LRUCacheWorkerLoRAManager._apply_adapters = _apply_adapters
# All that adapters compute is added by one of these two, which are known in two places.
for name in ("bgmv_expand", "bgmv_expand_slice"):
    mended = _of_adapters_only(getattr(lora_ops, name))
    for module in (lora_ops, punica_cpu):
        setattr(module, name, mended)

"""Chooses how many LoRA adapters are held at once and how large they may be, from those the start found and the RAM."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autoconfig.adapters import USUAL_RANK, PlannedAdapter, taken_by_vllm
from autoconfig.host import HostFacts
from autoconfig.model import ModelConfig
from autoconfig.options.adapters import RANKS, rank_for
from autoconfig.recommend import Recommendation
from autoconfig.tiers import gib

USUAL_SLOTS = 4
MOST_IN_RAM = 32
SHARE_OF_RAM = 20
"""Adapters get one part in so many of the RAM that is available."""
# A judgement, where the model's shapes are not known yet: what rank 16 takes in every linear layer of a model of 70 B.
UNKNOWN_BYTES_PER_RANK = (1 << 29) // 16


def adapters(
    given: Mapping[str, Any], found: Iterable[PlannedAdapter], host: HostFacts, config: ModelConfig | None
) -> Iterator[Recommendation]:
    """Serve adapters where there are any; hold as many in a batch as LMI does, and more in RAM where it has room."""
    found = list(found)
    if "enable_lora" not in given and found:
        names = ", ".join(one.source.name for one in found[:3]) + (", ..." if len(found) > 3 else "")
        yield Recommendation("enable_lora", True, f"adapters are there: {names}")
    elif not given.get("enable_lora"):
        return
    rank = given.get("max_lora_rank")
    if rank is None and (ranks := [one.rank for one in found if one.rank]):
        rank, reason = _rank(ranks)
        yield Recommendation("max_lora_rank", rank, reason)
    slots = given.get("max_loras")
    if slots is None:
        slots, reason = _slots(given, sum(one.source.pin for one in found))
        yield Recommendation("max_loras", slots, reason)
    if "max_cpu_loras" not in given:
        yield Recommendation("max_cpu_loras", *_in_ram(given, slots, rank or USUAL_RANK, host, config))


def _rank(ranks: list[int]) -> tuple[int, str]:
    largest = max((rank for rank in ranks if rank <= RANKS[-1]), default=USUAL_RANK)
    return rank_for(max(largest, USUAL_RANK)) or RANKS[-1], f"rank {largest} is the largest among the adapters found"


def _slots(given: Mapping[str, Any], pinned: int) -> tuple[int, str]:
    slots, reason = USUAL_SLOTS, "LMI's default; vLLM's is 1"
    if pinned >= slots:
        slots, reason = pinned + 1, f"one more than the {pinned} that are pinned"
    if taken := taken_by_vllm(given):
        slots, reason = slots + taken, f"{reason}; and {taken} for option.default_mm_loras"
    held = given.get("max_cpu_loras")
    if held is not None and held < slots:
        slots, reason = held, "as many as option.max_cpu_loras holds; else LMI's default, 4"
    return slots, reason


def _in_ram(
    given: Mapping[str, Any], slots: int, rank: int, host: HostFacts, config: ModelConfig | None
) -> tuple[int, str]:
    """Return how many adapters that change every linear layer fit into the share; each process keeps all of each."""
    parallel = ("tensor_parallel_degree", "pipeline_parallel_degree", "data_parallel_size")
    processes = 1
    for name in parallel:
        processes *= given.get(name, 1)
    if numbers := config.adapter_numbers if config else None:
        each = rank * numbers * (4 if given.get("dtype") == "float32" else 2)
        size = f"{gib(each)} at most"
    else:
        each = rank * UNKNOWN_BYTES_PER_RANK
        size = f"{gib(each)} (assumed, as the model is not known yet)"
    room = host.ram_available_bytes // SHARE_OF_RAM // (each * processes)
    copies = f" in each of {processes} processes" if processes > 1 else ""
    reason = (
        f"one of rank {rank} takes {size}{copies}; 1/{SHARE_OF_RAM} of {gib(host.ram_available_bytes)} holds {room}"
    )
    return max(slots, min(MOST_IN_RAM, room)), reason

"""Finds options of LoRA adapters that contradict each other or the adapters that the start knows."""

from collections.abc import Iterable, Iterator, Mapping

from autoconfig.adapters import PlannedAdapter, another_name, problems, taken_by_vllm, unserved
from autoconfig.errors import BadValueError, ConfigError, ContradictionError, RefusedError
from autoconfig.options.adapters import ONLY_WITH_LORA, RANKS, rank_for
from autoconfig.values import Value

_NAMING = ("adapters", "lora_modules")
_VLLMS_SWITCH = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"


def contradictions(values: Mapping[str, Value], adapters: Iterable[PlannedAdapter]) -> Iterator[ConfigError]:
    """Find what cannot be obeyed; adapters that nobody named in an option do not stop the start."""
    adapters = list(adapters)
    for root in values["adapter_roots"].value if "adapter_roots" in values else ():
        if not root.startswith("/"):
            yield BadValueError(f"{values['adapter_roots']}: {root} is not an absolute directory.")
    yield from _names(values, adapters)
    yield from problems(adapters)
    enabled = values.get("enable_lora")
    if enabled is None or not enabled.value:
        for name in _NAMING if enabled else ():
            if value := values.get(name):
                yield ContradictionError(f"{value} names adapters, and {enabled} forbids them. Keep one.")
        return
    yield from _slots(values, adapters)
    yield from _ranks(values, adapters)


def _names(values: Mapping[str, Value], adapters: list[PlannedAdapter]) -> Iterator[ConfigError]:
    models = {"lmi", str(values["model_id"].value), *(values["served_model_name"].value or ())}
    for one in adapters:
        if one.source.name in models:
            yield ContradictionError(
                f"The adapter {one.source.name} ({one.source.src}) has a name of the model itself. {another_name(one)}"
            )


def _slots(values: Mapping[str, Value], adapters: list[PlannedAdapter]) -> Iterator[ConfigError]:
    slots, held = values["max_loras"], values["max_cpu_loras"]
    if held.given and held.value is not None and slots.given and held.value < slots.value:
        yield ContradictionError(
            f"{held} is less than {slots}: an adapter in a batch is in RAM as well. Set at least {slots.value}."
        )
    taken = taken_by_vllm({name: value.value for name, value in values.items()})
    if taken >= slots.value:
        yield ContradictionError(f"{slots} leaves no place beside those of {values['default_mm_loras']}. Set more.")
        return
    pinned = [one.source.name for one in adapters if one.source.pin]
    if len(pinned) >= slots.value - taken:
        are = _counted(len(pinned), "adapter is", "adapters are")
        yield ContradictionError(
            f"{are} pinned ({', '.join(pinned)}), and {slots} leaves no other a place. Pin fewer, or set "
            f"option.max_loras={len(pinned) + taken + 1}."
        )


def _ranks(values: Mapping[str, Value], adapters: list[PlannedAdapter]) -> Iterator[ConfigError]:
    largest = values.get("max_lora_rank")
    for one in adapters:
        if not one.named_by or one.rank is None:
            continue
        fitting = rank_for(one.rank)
        if fitting is None:
            yield RefusedError(
                f"{one.named_by}: the adapter {one.source.name} has rank {one.rank}; vLLM takes {RANKS[-1]} at most."
            )
        elif largest and largest.given and one.rank > largest.value:
            yield ContradictionError(
                f"{largest} is less than the rank of the adapter {one.source.name}, {one.rank} ({one.named_by}). Set "
                f"{fitting}, or leave it out."
            )


def remarks(
    values: Mapping[str, Value], adapters: Iterable[PlannedAdapter], environ: Mapping[str, str]
) -> Iterator[str]:
    """Say a line about what is there and not served, and about what is given and changes nothing."""
    adapters = list(adapters)
    if environ.get(_VLLMS_SWITCH):
        yield f"{_VLLMS_SWITCH}: no effect: POST /adapters works without it, and vLLM's own routes are not reachable"
    enabled = values.get("enable_lora")
    if enabled is None or not enabled.value:
        yield from _unused(values, adapters, enabled)
        return
    for one in adapters:
        if one.problem:
            yield unserved(one)
    held = values["max_cpu_loras"].value or values["max_loras"].value
    if (loaded := sum(one.source.preload for one in adapters)) > held:
        have = _counted(held, "has", "have")
        yield f"{loaded} adapters are loaded at the start, and {have} a place in RAM: those loaded last keep it"


def _unused(values: Mapping[str, Value], adapters: list[PlannedAdapter], enabled: Value | None) -> Iterator[str]:
    if adapters and enabled:
        names = ", ".join(one.source.name for one in adapters)
        yield f"adapters in the model directory are not served, as {enabled} says: {names}"
    for name in ONLY_WITH_LORA:
        if (value := values.get(name)) and value.given:
            yield f"{value}: no effect without option.enable_lora=true"


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"

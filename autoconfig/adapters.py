"""Finds the LoRA adapters a start knows: those options name, and those that lie in `adapters/` of the model directory.

Of each it reads the rank in `adapter_config.json`, for planning; the weights are the worker's to check.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoconfig.adapter_names import Named, named
from autoconfig.errors import BadValueError, ConfigError, ContradictionError
from autoconfig.model import read_object
from autoconfig.settings import AdapterSettings, AdapterSource
from autoconfig.values import Value

FOLDER = "adapters"
"""In the model directory, as in LMI."""
CONFIGURATION = "adapter_config.json"
FIXED_ROOTS = ("/opt/ml/models", "/opt/ml/additional-model-data-sources")
"""Where SageMaker puts the artefacts of adapter inference components, and a model's further data sources."""
USUAL_RANK = 16
"""vLLM's own default of max_lora_rank, and of this container where no adapter needs more."""


@dataclass(frozen=True, slots=True)
class PlannedAdapter:
    """One adapter known from the start."""

    source: AdapterSource
    named_by: str = ""
    """The option and its origin; empty where it was found in a directory, and does not stop the start."""
    rank: int | None = None
    problem: str = ""
    """Why it cannot be served as it is."""


@dataclass(frozen=True, slots=True)
class FoundAdapters:
    """What the options and the model directory hold, and what is wrong with it."""

    adapters: tuple[PlannedAdapter, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    notes: tuple[str, ...] = ()


def find(values: Mapping[str, Value], directories: Sequence[Path]) -> FoundAdapters:
    """Look into every directory that is named, and into those of the model; a relative name is below their first."""
    wanted, errors = named(values, directories[0] if directories else None)
    adapters: list[PlannedAdapter] = []
    notes: list[str] = []
    for one in wanted:
        adapters += _below(one)
    for directory in dict.fromkeys(directories):
        known = {adapter.source.src for adapter in adapters}
        inside, unreadable = _inside(directory / FOLDER)
        adapters += [_seen(path) for path in inside if str(path) not in known]
        if unreadable:
            notes.append(f"{directory / FOLDER}: {unreadable}")
        if _is_adapter(directory) and str(directory) not in known:
            named_so = f'option.adapters={{"name": "{directory}"}}'
            notes.append(f"{directory} is an adapter itself, and not served unless it is named: {named_so}")
    errors += _errors(adapters)
    return FoundAdapters(tuple(adapters), tuple(errors), tuple(notes))


def _below(one: Named) -> list[PlannedAdapter]:
    """Return the adapter in a directory, or those in the directories below."""
    inside = [] if one.name or _is_adapter(one.path) else _inside(one.path)[0]
    if any(map(_is_adapter, inside)):
        return [_seen(path) for path in inside]
    return [_seen(one.path, one)]


def _is_adapter(path: Path) -> bool:
    with suppress(OSError):
        return (path / CONFIGURATION).is_file()
    return False


def _inside(folder: Path) -> tuple[list[Path], str]:
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for path in paths if path.is_dir() and not path.name.startswith(".")], ""
    except OSError as error:
        return [], error.strerror or str(error)


def _seen(path: Path, wanted: Named | None = None) -> PlannedAdapter:
    source = AdapterSource(path.name, str(path))
    if wanted:
        source = AdapterSource(wanted.name or path.name, str(path), wanted.preload, wanted.pin)
    try:
        rank, problem = _rank(path)
    except OSError as error:
        rank, problem = None, error.strerror or str(error)
    return PlannedAdapter(source, wanted.by if wanted else "", rank, problem)


def _rank(path: Path) -> tuple[int | None, str]:
    """Return the largest rank in an adapter's configuration, or why it cannot be told."""
    file = path / CONFIGURATION
    if not path.is_dir():
        return None, "there is no such directory; an adapter on Hugging Face has to be downloaded first"
    if not file.is_file():
        return None, f"it holds no {CONFIGURATION}"
    config, unreadable = read_object(file)
    if unreadable:
        return None, f"{CONFIGURATION} cannot be read: {unreadable}"
    patterns = config.get("rank_pattern")
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        return None, f"{CONFIGURATION} gives no rank r"
    return max(ranks), ""


def _errors(adapters: Iterable[PlannedAdapter]) -> Iterator[ConfigError]:
    names: dict[str, PlannedAdapter] = {}
    for one in adapters:
        first = names.setdefault(one.source.name, one)
        if first is not one:
            yield ContradictionError(
                f"Two adapters are called {one.source.name}: {first.source.src} and {one.source.src}. Rename one, or "
                'name it apart with option.adapters={"name": "directory"}.'
            )
        if one.named_by and one.problem:
            yield BadValueError(f"{one.named_by}: {one.source.src}: {one.problem}.")


def judged(adapters: Iterable[PlannedAdapter], values: Mapping[str, Value]) -> tuple[PlannedAdapter, ...]:
    """Say of every adapter that is too large why it cannot be served."""
    largest = values.get("max_lora_rank")
    most = largest.value if largest else USUAL_RANK
    problem = f"option.max_lora_rank={most} is less than its rank"
    return tuple(
        replace(one, problem=f"{problem}, {one.rank}") if one.rank and one.rank > most else one for one in adapters
    )


def taken_by_vllm(said: Mapping[str, Any]) -> int:
    """Count the places that vLLM fills itself at its start, and for good: one for each modality's own adapter."""
    return len(said.get("default_mm_loras") or ())


def settings(
    values: Mapping[str, Value], adapters: Iterable[PlannedAdapter], directories: Iterable[Path]
) -> AdapterSettings | None:
    """Return what the worker is told; `directories` are those of the model, which adapters may lie in."""
    said = {name: value.value for name, value in values.items() if value.value is not None}
    if not said.get("enable_lora"):
        return None
    slots, taken = said.get("max_loras", 1), taken_by_vllm(said)
    roots = (*map(str, directories), *FIXED_ROOTS, *said.get("adapter_roots", ()))
    return AdapterSettings(
        slots=slots - taken,
        cpu_slots=said.get("max_cpu_loras", slots) - taken,
        max_rank=said.get("max_lora_rank", USUAL_RANK),
        roots=tuple(dict.fromkeys(roots)),
        sources=tuple(one.source for one in adapters),
    )


def with_brought(told: AdapterSettings, model: Path) -> AdapterSettings:
    """Add the adapters that came with a model from elsewhere, as in LMI; a name the operator gave is theirs."""
    names = {source.name for source in told.sources}
    brought = [one.source for one in find({}, [model]).adapters if one.source.name not in names]
    return replace(told, sources=(*told.sources, *brought))

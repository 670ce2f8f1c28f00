"""Finds the LoRA adapters a start knows: those options name, and those that lie in `adapters/` of the model directory.

Of each it reads the rank in `adapter_config.json`, for planning; the weights are the worker's to check.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoconfig.adapter_names import Named, named
from autoconfig.errors import BadValueError, ConfigError, ContradictionError
from autoconfig.model import read_object
from autoconfig.settings import AdapterSettings, AdapterSource
from autoconfig.values import Value

FOLDER = "adapters"
"""In the model directory, as in LMI."""
FIXED_ROOTS = ("/opt/ml/models", "/opt/ml/additional-model-data-sources")
"""Where SageMaker puts the artefacts of adapter inference components, and a model's further data sources."""
USUAL_RANK = 16
"""vLLM's own default of max_lora_rank, and of this container where no adapter needs more."""


@dataclass(frozen=True, slots=True)
class PlannedAdapter:
    """One adapter known from the start."""

    source: AdapterSource
    named_by: Value | None = None
    """None: it was found in a directory, and does not stop the start."""
    rank: int | None = None
    problem: str = ""
    """Why it cannot be served as it is."""


@dataclass(frozen=True, slots=True)
class FoundAdapters:
    """What the options and the model directory hold, and what is wrong with it."""

    adapters: tuple[PlannedAdapter, ...] = ()
    errors: tuple[ConfigError, ...] = ()
    notes: tuple[str, ...] = ()


def find(values: Mapping[str, Value], model_directory: Path | None) -> FoundAdapters:
    """Look into every directory that is named, and into the model directory's own."""
    wanted, errors = named(values, model_directory)
    adapters: list[PlannedAdapter] = []
    notes: list[str] = []
    for one in wanted:
        found = list(_below(one))
        adapters += found
        if not found:
            notes.append(f"{one.by}: {one.path} holds no directory of an adapter")
    beside = model_directory / FOLDER if model_directory else None
    known = {adapter.source.src for adapter in adapters}
    if beside and beside.is_dir():
        adapters += [one for one in _in_folder(beside) if one.source.src not in known]
    errors += _errors(adapters)
    return FoundAdapters(tuple(adapters), tuple(errors), tuple(notes))


def _below(one: Named) -> Iterable[PlannedAdapter]:
    if not one.name and one.path.is_dir() and not (one.path / "adapter_config.json").exists():
        return _in_folder(one.path)
    source = AdapterSource(one.name or one.path.name, str(one.path), one.preload, one.pin)
    return [_seen(source, one.by)]


def _in_folder(folder: Path) -> Iterator[PlannedAdapter]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield _seen(AdapterSource(path.name, str(path)))


def _seen(source: AdapterSource, named_by: Value | None = None) -> PlannedAdapter:
    directory = Path(source.src)
    file = directory / "adapter_config.json"
    if not directory.is_dir():
        return PlannedAdapter(source, named_by, problem="there is no such directory")
    if not file.is_file():
        return PlannedAdapter(source, named_by, problem="it holds no adapter_config.json")
    config, unreadable = read_object(file)
    if unreadable:
        return PlannedAdapter(source, named_by, problem=f"adapter_config.json cannot be read: {unreadable}")
    patterns = config.get("rank_pattern")
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        return PlannedAdapter(source, named_by, problem="adapter_config.json gives no rank r")
    return PlannedAdapter(source, named_by, rank=max(ranks))


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


def settings(
    values: Mapping[str, Value], adapters: Iterable[PlannedAdapter], directories: Iterable[Path | None]
) -> AdapterSettings | None:
    """Return what the worker is told; `directories` are those of the model, which adapters may lie in."""
    said = {name: value.value for name, value in values.items() if value.value is not None}
    if not said.get("enable_lora"):
        return None
    slots = said.get("max_loras", 1)
    roots = (*(str(path) for path in directories if path), *FIXED_ROOTS, *said.get("adapter_roots", ()))
    return AdapterSettings(
        slots=slots,
        cpu_slots=said.get("max_cpu_loras", slots),
        max_rank=said.get("max_lora_rank", USUAL_RANK),
        roots=tuple(dict.fromkeys(roots)),
        sources=tuple(one.source for one in adapters),
    )

"""Finds the LoRA adapters a start knows, those options name and those in `adapters/` of the model directory, and looks
at their files: what is wrong with one is known before anything is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoconfig.adapter_names import Named, named
from autoconfig.errors import BadValueError, ConfigError, ContradictionError
from autoconfig.lora.errors import UnusableAdapterError
from autoconfig.lora.files import Demands, rank_of
from autoconfig.lora.names import RULE, fits
from autoconfig.lora.peft_config import FILE as CONFIGURATION
from autoconfig.lora.shapes import BaseShapes
from autoconfig.lora.source import ANYWHERE
from autoconfig.script_text import ScriptText
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
    named_by: str = ""
    """The option and its origin; empty where it was found in a directory, and does not stop the start."""
    named_apart: bool = False
    """The option gives its name, which is else its directory's."""
    rank: int | None = None
    problem: str = ""
    """Why it cannot be served as it is."""
    script: ScriptText | None = None
    """What its own `model.py` brings."""


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
        inside, problem = _inside(directory / FOLDER)
        adapters += [_seen(path) for path in inside if str(path) not in known]
        if problem:
            notes.append(f"{directory / FOLDER}: {problem}")
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
    """Return the directories in a folder, and what cannot be served of it."""
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [path for path in paths if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        return [], error.strerror or str(error)
    nameless = ", ".join(ascii(path.name) for path in found if not fits(path.name))
    problem = f"not served, as an adapter's name is {RULE}: {nameless}" if nameless else ""
    return [path for path in found if fits(path.name)], problem


def _seen(path: Path, wanted: Named | None = None) -> PlannedAdapter:
    source = AdapterSource(path.name, str(path))
    if wanted is None:
        return _with_rank(PlannedAdapter(source))
    source = AdapterSource(wanted.name or path.name, str(path), wanted.preload, wanted.pin)
    return _with_rank(PlannedAdapter(source, wanted.by, bool(wanted.name)))


def _with_rank(one: PlannedAdapter) -> PlannedAdapter:
    try:
        if not Path(one.source.src).is_dir():
            missing = "there is no such directory; an adapter on Hugging Face has to be downloaded first"
            return replace(one, problem=missing)
        return replace(one, rank=rank_of(one.source.src, ANYWHERE))
    except (UnusableAdapterError, OSError) as error:
        return replace(one, problem=_reason(error))


def looked_at(adapters: Iterable[PlannedAdapter], model: Path | None) -> tuple[PlannedAdapter, ...]:
    """Look at all files of the adapters, and hold them against the model's own where these are on this machine.

    Their ranks are left out: how large one may be follows from them.
    """
    adapters = tuple(adapters)
    demands = Demands(base=BaseShapes.read(model) if adapters else BaseShapes())
    return tuple(one if one.problem else _looked_at(one, demands) for one in adapters)


def _looked_at(one: PlannedAdapter, demands: Demands) -> PlannedAdapter:
    try:
        return replace(one, script=demands.check(one.source.src, ANYWHERE).brings)
    except (UnusableAdapterError, OSError) as error:
        return replace(one, problem=_reason(error))


def _reason(error: UnusableAdapterError | OSError) -> str:
    return f"its files cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _errors(adapters: Iterable[PlannedAdapter]) -> Iterator[ConfigError]:
    names: dict[str, PlannedAdapter] = {}
    for one in adapters:
        first = names.setdefault(one.source.name, one)
        if first is not one:
            yield ContradictionError(
                f"Two adapters are called {one.source.name}: {first.source.src} and {one.source.src}. "
                f"{another_name(first if first.named_apart and not one.named_apart else one)}"
            )


def another_name(one: PlannedAdapter) -> str:
    """Say how an adapter can be called something else."""
    if one.named_apart:
        return f"Give the one in {one.source.src} another name in {one.named_by}."
    named = f'{{"name": "{one.source.src}"}}'
    return f"Rename {one.source.src}, or name it apart with option.adapters={named}."


def problems(adapters: Iterable[PlannedAdapter]) -> Iterator[ConfigError]:
    """Tell what is wrong with adapters that an option names; others do not stop the start."""
    for one in adapters:
        if one.named_by and one.problem:
            yield BadValueError(f"{one.named_by}: {one.source.src}: {one.problem}. Mend it, or leave it out.")


def unserved(one: PlannedAdapter) -> str:
    """Tell in a line of an adapter that does not stop the start, and cannot be served."""
    return f"the adapter {one.source.name} ({one.source.src}) cannot be served: {one.problem}"


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
        sources=tuple(replace(one.source, problem=one.problem) for one in adapters),
    )


def brought(known: Iterable[PlannedAdapter], model: Path) -> tuple[PlannedAdapter, ...]:
    """Return the adapters that came with a model from elsewhere, as in LMI; a name the operator gave is theirs."""
    names = {one.source.name for one in known}
    return tuple(one for one in find({}, [model]).adapters if one.source.name not in names)

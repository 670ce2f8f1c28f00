"""Reads and writes LMCache's documented YAML, the one form in which a cache is described here, ours or a user's.

LMCache only warns of a key it does not know; here every mistake is an error, with its line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from autoconfig.engine_cache import GIB
from autoconfig.errors import BadValueError, ConfigError, ConfigErrors, ContradictionError, UnknownNameError
from autoconfig.lmcache.mistakes import mistake, mistakes
from autoconfig.lmcache.schema import nearest, schema
from autoconfig.plan import CachePlan

# Threads that read and write files at once: more than LMCache's 4 where the disk is an NVMe with many queues.
_FEWEST_THREADS, _MOST_THREADS = 4, 16


@dataclass(frozen=True, slots=True)
class LMCacheConfig:
    """One LMCache configuration in the documented schema; sizes are GiB, and LMCache's defaults where none is given."""

    chunk_size: int = 256
    local_cpu: bool = True
    max_local_cpu_size: float = 5.0
    local_cpu_use_hugepages: bool = False
    local_disk: str | None = None
    max_local_disk_size: float = 0.0
    remote_url: str | None = None
    cache_policy: str = "LRU"
    save_decode_cache: bool = False
    extra_config: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    """Every further key that was given and differs from LMCache's default."""
    origin: str = field(default="", compare=False)
    """Where it was read; empty where it was planned here."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What a reader of the file should know: former names, variables that overrule it."""


_OURS = tuple(one.name for one in fields(LMCacheConfig) if one.name not in ("others", "origin", "notes"))

_COMMENTS = {
    "chunk_size": "tokens that are kept and found together",
    "local_cpu": "whether entries stay in RAM; where not, RAM is only passed through",
    "max_local_cpu_size": "GiB of RAM, for all processes of the engine together",
    "local_disk": "emptied at every start",
    "max_local_disk_size": "GiB on that disk, never exceeded",
    "cache_policy": "what goes first when a tier is full",
}


def read_yaml(content: str, origin: str, environ: Mapping[str, str] | None = None) -> LMCacheConfig:
    """Read a user's file, overruled by LMCACHE_<KEY> variables as in LMCache; ConfigErrors holds every mistake."""
    import yaml

    try:
        entries = list(_entries(content, origin))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigErrors([BadValueError(f"{origin}:{line}: {error.problem or 'no YAML'}.")]) from None
    variables = [
        _Entry(name, _read_variable(text), variable, is_variable=True)
        for name in (*schema().keys, *schema().deprecated)
        if (text := (environ or {}).get(variable := f"LMCACHE_{name.upper()}"))
    ]
    return _checked([*entries, *variables], origin)


def _entries(text: str, origin: str) -> "Iterator[_Entry]":
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigErrors([BadValueError(f"{origin} must be a mapping of LMCache's keys to values.")])
    constructor = yaml.constructor.SafeConstructor()
    for key, value in root.value:
        content = constructor.construct_object(value, deep=True)
        yield _Entry(str(key.value), content, f"{origin}:{key.start_mark.line + 1}")


def _read_variable(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    value: Any
    place: str
    is_variable: bool = False


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read so far."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: list[ConfigError] = field(default_factory=list)

    def take(self, entry: _Entry) -> None:
        known = schema().keys.get(schema().deprecated.get(entry.name, entry.name))
        if known is None:
            near = nearest(entry.name, schema().keys)
            self.errors.append(UnknownNameError(f"{entry.place}: LMCache has no key {entry.name}{near}"))
            return
        before = self.places.get(known.name)
        if before and not entry.is_variable:
            self.errors.append(ContradictionError(f"{entry.place}: {known.name} was given before, at {before}."))
            return
        if before:
            self.notes.append(f"{entry.place} overrules {known.name} at {before}")
        if entry.name != known.name:
            self.notes.append(f"{entry.place}: {entry.name} is now called {known.name}; LMCache ignores the old name")
        self.places[known.name] = entry.place
        value = known.listed(entry.value)
        if error := mistake(known, value, entry.place):
            self.errors.append(error)
        elif value is not None:
            self.values[known.name] = value


def _checked(entries: list[_Entry], origin: str) -> LMCacheConfig:
    reading = _Reading()
    for entry in entries:
        reading.take(entry)
    values, places = reading.values, reading.places
    errors = [*reading.errors, *mistakes(values, places)]
    if errors:
        raise ConfigErrors(errors)
    return _made(values, origin, (*reading.notes, *_remarks(values, places, origin)))


def _remarks(values: Mapping[str, Any], places: Mapping[str, str], origin: str) -> Iterator[str]:
    """Say what counts without having been written, and what was written and changes nothing."""
    size = "max_local_cpu_size"
    if size not in values:
        yield f"{origin}: no {size}, and so LMCache's default, {schema().keys[size].default:g} GiB"
    for name, value in values.items():
        if name not in _OURS and value == schema().keys[name].default:
            yield f"{places[name]}: {name} is LMCache's default, and left out"


def _made(values: Mapping[str, Any], origin: str, notes: tuple[str, ...]) -> LMCacheConfig:
    given = {name: values[name] for name in _OURS if name in values}
    for name in ("max_local_cpu_size", "max_local_disk_size"):
        if name in given:
            given[name] = float(given[name])
    if "local_disk" in given:
        given["local_disk"] = ",".join(part.strip().removeprefix("file://") for part in given["local_disk"].split(","))
    others = {
        name: value for name, value in values.items() if name not in _OURS and value != schema().keys[name].default
    }
    return LMCacheConfig(**given, others=others, origin=origin, notes=notes)


def write_yaml(config: LMCacheConfig) -> str:
    """Return the file LMCache's own loader reads, with a comment where a reader may wonder."""
    import yaml

    source = f"From {config.origin}" if config.origin else "Planned from this machine and model"
    lines = [f"# {source}; LMCache's documented keys. `python -m container explain` says why."]
    for name, value in (*((name, getattr(config, name)) for name in _OURS), *config.others.items()):
        if name not in ("chunk_size", "local_cpu", "max_local_cpu_size") and value == schema().keys[name].default:
            continue
        if isinstance(value, Mapping):
            if not value:
                continue
            value = dict(value)  # noqa: PLW2901  a plain one, which YAML can write
        said = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=1000).rstrip("\n")
        comment = _COMMENTS.get(name) if not config.origin else None
        lines.append(f"{said}  # {comment}" if comment else said)
    return "\n".join(lines) + "\n"


def of_plan(plan: CachePlan, disk_directory: str, cpus: int) -> LMCacheConfig:
    """Write a plan in LMCache's terms."""
    extra: dict[str, Any] = {}
    if plan.disk_bytes:
        threads = min(_MOST_THREADS, max(_FEWEST_THREADS, cpus // 4))
        measured = {} if plan.odirect is None else {"use_odirect": plan.odirect}
        extra = {**measured, "disk_io_threads": threads}
    return LMCacheConfig(
        chunk_size=plan.chunk_tokens,
        max_local_cpu_size=in_gib(plan.cpu_bytes),
        local_disk=disk_directory if plan.disk_bytes else None,
        max_local_disk_size=in_gib(plan.disk_bytes),
        extra_config=extra,
    )


def in_gib(size: int) -> float:
    """Return a size in GiB as it is written: down to a tenth, never to whole ones."""
    # One more, because a tenth of a GiB is no whole number of bytes.
    return (size + 1) * 10 // GIB / 10

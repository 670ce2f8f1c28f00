"""THE option table: every option once, with all its names; checks, documentation and schema are derived from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

from autoconfig.options import (
    adapters,
    engine,
    engine_arguments,
    kv_cache,
    model,
    refused,
    serving,
    sessions,
    without_effect,
)
from autoconfig.options.option import Option, Spelling

__all__ = ["OUR_GROUPS", "Layer", "Name", "Option", "Spelling", "Table", "table"]

OUR_GROUPS = (model.GROUP, engine.GROUP, adapters.GROUP, kv_cache.GROUP, serving.GROUP, sessions.GROUP)
"""What explain and serving.properties.example show whole, in this order."""


class Layer(IntEnum):
    """Who speaks; the higher layer wins."""

    DEFAULT = 0
    RECOMMENDED = 1
    FALLBACK = 2
    DIRECTORY = 3
    ALIAS = 4
    OPTION = 5
    FILE = 6
    SAGEMAKER = 7
    COMMAND_LINE = 8


@dataclass(frozen=True, slots=True)
class Name:
    """What one name in one source stands for, and how its text reads as the option's own."""

    option: Option
    layer: Layer
    reading: Callable[[str], str] = str.strip


@dataclass(frozen=True, slots=True)
class Table:
    """Every option, and every name under which a source may give it."""

    options: dict[str, Option]
    variables: dict[str, Name]
    keys: dict[str, Name]
    """Keys of serving.properties, in lower case."""


@cache
def table() -> Table:
    """Return the whole table, ours and vLLM's, with all names looked up."""
    entries = {entry["name"]: entry for entry in engine_arguments.read_table()["arguments"]}
    ours = [
        replace(option, group=module.GROUP, engine_default=entries.get(option.engine, {}).get("default"))
        for module in (model, engine, adapters, kv_cache, serving, sessions, without_effect, refused)
        for option in module.OPTIONS
    ]
    owned = frozenset(name for option in ours for name in (option.engine, *option.names))
    return _named([*ours, *engine_arguments.options(entries.values(), owned)])


def _named(options: Iterable[Option]) -> Table:
    found = Table({}, {}, {})
    for option in options:
        found.options[option.name] = option
        for name in option.names:
            found.variables[f"OPTION_{name.upper()}"] = Name(option, Layer.OPTION)
            found.keys[f"option.{name}"] = Name(option, Layer.FILE)
        if option.engine:
            found.variables[f"SM_VLLM_{option.engine.upper()}"] = Name(option, Layer.ALIAS)
        for key in option.server_keys:
            found.variables[f"SERVING_{key.name.upper()}"] = Name(option, Layer.ALIAS, key.reading)
            found.keys[key.name] = Name(option, Layer.FILE, key.reading)
        for layer, spellings in (
            (Layer.FALLBACK, option.fallback),
            (Layer.ALIAS, option.environment),
            (Layer.SAGEMAKER, option.overrides),
        ):
            found.variables.update({s.name: Name(option, layer, s.reading) for s in spellings})
    return found

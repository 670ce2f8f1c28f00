"""Knows LMCache's documented keys, from `keys.json`, and says what is wrong with a key or its value."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "dict": ((dict,), "a mapping"),
}
# The few values LMCache knows and checks late or not at all (0.5.6: cache_policy/__init__.py).
CHOICES = {"cache_policy": ("LRU", "LFU", "FIFO", "MRU")}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the YAML."""

    name: str
    kind: str
    """`int`, `float`, `bool`, `str`, `dict`, or `list of` one of them."""
    optional: bool
    default: Any

    @property
    def expected(self) -> str:
        """Say in words what a value must be."""
        if choices := CHOICES.get(self.name):
            return f"one of {', '.join(choices)}"
        item = self.kind.removeprefix("list of ")
        return f"a list, each {_TYPES[item][1]}" if item != self.kind else _TYPES[item][1]

    def listed(self, value: Any) -> Any:
        """Read `8200` and `8200,8201` as lists where one is meant, as LMCache does."""
        if not self.kind.startswith("list of ") or not isinstance(value, str | int | float):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        return [int(part) if self.kind == "list of int" and part.isdecimal() else part for part in parts]

    def takes(self, value: Any) -> bool:
        """Say whether a value from the YAML is of the key's type; LMCache would convert some others in silence."""
        if value is None:
            return self.optional
        if choices := CHOICES.get(self.name):
            return value in choices
        item = self.kind.removeprefix("list of ")
        if item == self.kind:
            return _is(value, item)
        return isinstance(value, list) and all(_is(one, item) for one in value)


def _is(value: Any, kind: str) -> bool:
    # True is an int to Python, and no size.
    return isinstance(value, _TYPES[kind][0]) and (kind == "bool" or not isinstance(value, bool))


@dataclass(frozen=True, slots=True)
class Schema:
    """All keys, their former names, and what LMCache reads from extra_config."""

    keys: Mapping[str, Key]
    deprecated: Mapping[str, str]
    extra_config: frozenset[str]


@cache
def schema() -> Schema:
    """Return what `keys.json` holds, generated from LMCache itself."""
    said = json.loads(files("autoconfig.lmcache").joinpath("keys.json").read_text(encoding="utf-8"))
    keys = {name: Key(name, **key) for name, key in said["keys"].items()}
    return Schema(keys, said["deprecated"], frozenset(said["extra_config"]))


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the names that were probably meant: `; did you mean chunk_size?`."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(near)}?" if near else ""

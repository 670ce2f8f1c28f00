"""Replies as custom formatters see them: plain dicts whose keys are attributes too, as on vLLM's own objects."""

from collections.abc import Callable
from typing import Any

import orjson

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


class Record(dict[str, Any]):
    """A dict, and the dicts within it, whose keys are read and written as attributes."""

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__({key: _wrapped(item) for key, item in value.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this object has no `{name}`") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (dict(self),)

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """Return plain dicts, as pydantic's method of this name; its options change nothing here."""
        plain: dict[str, Any] = orjson.loads(to_json(self))
        return plain

    def model_dump_json(self, **_options: Any) -> str:
        """Return the JSON text, as pydantic's method of this name."""
        return to_json(self).decode()

    def dict(self, **_options: Any) -> Any:
        """Return plain dicts: pydantic 1's name for it."""
        return self.model_dump()

    def json(self, **_options: Any) -> str:
        """Return the JSON text: pydantic 1's name for it."""
        return self.model_dump_json()


class ReplyRecord(Record):
    """A complete reply; where it is LMI's, vLLM's object lies behind it: `reply.choices[0].text`.

    A script that changes vLLM's object means that one: then it is what callers are told, as in LMI.
    """

    def __init__(self, value: dict[str, Any], engine: Callable[[], dict[str, Any]] | None) -> None:
        super().__init__(value)
        object.__setattr__(self, "_given", frozenset(value))
        object.__setattr__(self, "_engine", engine)
        object.__setattr__(self, "_behind", None)

    def __getattr__(self, name: str) -> Any:
        if name in self or name.startswith("__"):
            return super().__getattr__(name)
        engine: Callable[[], dict[str, Any]] | None = object.__getattribute__(self, "_engine")
        if engine is None:
            return super().__getattr__(name)
        behind: Record | None = object.__getattribute__(self, "_behind")
        if behind is None:
            behind = Record(engine())
            object.__setattr__(self, "_behind", behind)
        return getattr(behind, name)

    def told(self) -> Any:
        """Return what callers are told where a formatter returns this object."""
        behind: Record | None = object.__getattribute__(self, "_behind")
        if behind is None or behind == object.__getattribute__(self, "_engine")():
            return self
        added = {key: value for key, value in self.items() if key not in object.__getattribute__(self, "_given")}
        return behind | added


def to_json(value: Any) -> bytes:
    """Return a value as JSON: what orjson knows (dataclasses, dates, numpy) and objects of pydantic.

    Raises:
        TypeError: something in it has no form in JSON.
    """
    return orjson.dumps(value, _plain, _OPTIONS)


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(value)
    return [_wrapped(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError  # orjson names the type
    return dump()

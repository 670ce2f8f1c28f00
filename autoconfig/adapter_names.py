"""Reads `option.adapters` and vLLM's `option.lora_modules`, each in all its forms, as directories with their wishes."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoconfig.errors import BadValueError, ConfigError
from autoconfig.lora.errors import ElsewhereError
from autoconfig.lora.names import RULE, fits
from autoconfig.lora.source import path_of
from autoconfig.sources import shortened
from autoconfig.values import Value

_FORMS = 'a directory, a list of them, {"name": "directory"} or [{"name": ..., "src": ..., "preload": ..., "pin": ...}]'
_FIELDS = {"name", "src", "preload", "pin"}
# base_model_name only decorates vLLM's list of models.
_FIELDS_OF_VLLM = {"name", "path", "base_model_name"}


@dataclass(frozen=True, slots=True)
class Named:
    """A directory an option names."""

    by: str
    """The option and its origin."""
    path: Path
    name: str = ""
    """Of the one adapter in it; empty where the directory's own name, or those of the ones below it, count."""
    preload: bool = False
    pin: bool = False


def named(values: Mapping[str, Value], model_directory: Path | None) -> tuple[list[Named], list[ConfigError]]:
    """Return every directory the options name, and what is wrong with the others."""
    found: list[Named] = []
    errors: list[ConfigError] = []
    readers: dict[str, Callable[[Value], Iterator[_Entry]]] = {"adapters": _adapters, "lora_modules": _lora_modules}
    for option, entries in readers.items():
        value = values.get(option)
        if value is None or not value.given or value.value is None:
            continue
        by = f"{value.option.label} ({value.origin})"
        try:
            for entry in entries(value):
                try:
                    path = _located(entry.src, model_directory)
                    if not fits(entry.name or path.name):
                        raise ValueError(f"{entry.name or path.name!a} is no name; an adapter's is {RULE}")
                    found.append(Named(by, path, entry.name, entry.preload, entry.pin))
                except ValueError as error:
                    errors.append(BadValueError(f"{by}: {entry.src}: {error}."))
        except ValueError as error:
            errors.append(BadValueError(f"{by}: {error}."))
    return found, errors


@dataclass(frozen=True, slots=True)
class _Entry:
    src: str
    name: str = ""
    preload: bool = False
    pin: bool = False


def _adapters(value: Value) -> Iterator[_Entry]:
    text = str(value.value).strip()
    if not text.startswith(("[", "{")):
        yield from (_Entry(part.strip()) for part in text.split(",") if part.strip())
        return
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except _RepeatedError:
        raise
    except (ValueError, RecursionError):
        raise ValueError(f"this is no JSON; it takes {_FORMS}") from None
    if isinstance(content, dict):
        for name, item in content.items():
            yield _entry({"src": item} if isinstance(item, str) else item, _FIELDS - {"name"}, name)
        return
    for item in content:
        yield _Entry(item) if isinstance(item, str) else _entry(item, _FIELDS)


class _RepeatedError(ValueError):
    """A name that is there twice, of which JSON's readers keep the last without a word."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    for name, item in pairs:
        if content[name] is not item:
            raise _RepeatedError(f"{name} is there twice; give each adapter a name of its own")
    return content


def _lora_modules(value: Value) -> Iterator[_Entry]:
    for item in value.value:
        if not item.startswith("{"):
            name, equals, path = item.partition("=")
            if not (equals and name and path):
                raise ValueError(f'{shortened(item)} is neither name=directory nor {{"name": ..., "path": ...}}')
            yield _Entry(path.strip(), name.strip(), preload=True)
            continue
        content = json.loads(item)
        _check(content, _FIELDS_OF_VLLM)
        entry = {"name": content.get("name"), "src": content.get("path"), "preload": True}
        yield _entry({key: told for key, told in entry.items() if told is not None}, _FIELDS)


def _entry(item: Any, fields: Collection[str], name: str = "") -> _Entry:
    _check(item, fields)
    for key in ("preload", "pin"):
        if not isinstance(item.get(key, False), bool):
            raise ValueError(f"{key} is true or false, not {_said(item[key])}")
    for key in ("name", "src"):
        if not isinstance(item.get(key, ""), str) or item.get(key) == "":
            raise ValueError(f"{key} is text, not {_said(item[key])}")
    name = item.get("name", name)
    if not name or "src" not in item:
        raise ValueError(f"{_said(item)} does not say the adapter's {'name' if not name else 'directory'}")
    return _Entry(item["src"], name, item.get("preload", False) or item.get("pin", False), item.get("pin", False))


def _check(item: Any, fields: Collection[str]) -> None:
    if not isinstance(item, dict):
        raise ValueError(f"{_said(item)} is none of {_FORMS}")
    if unknown := sorted(item.keys() - fields):
        raise ValueError(f"{_said(item)}: there is no {unknown[0]}; an adapter has {', '.join(sorted(fields))}")


def _said(item: Any) -> str:
    return shortened(json.dumps(item, ensure_ascii=False))


def _located(src: str, model_directory: Path | None) -> Path:
    """Return the directory on this machine, or say why `src` names none."""
    try:
        path = path_of(src)
    except ElsewhereError:
        raise ValueError(
            "adapters are not downloaded; put it into the model directory, or into a data source of the model below "
            "/opt/ml/additional-model-data-sources, and name that directory"
        ) from None
    if not Path(path).is_absolute():
        _check_relative(path, model_directory)
    return (model_directory or Path("/")) / path


def _check_relative(path: str, model_directory: Path | None) -> None:
    name, equals, directory = path.partition("=")
    if equals and "/" not in name and not (model_directory and (model_directory / path).exists()):
        raise ValueError(
            f'an adapter is given a name as option.adapters={{"{name}": "{directory}"}}, or in '
            f"option.lora_modules={name}={directory}"
        )
    if model_directory is None:
        raise ValueError("a relative directory is below the model directory, and there is none; give an absolute one")

"""Finds what LMCache would pass over or stumble on later: values of the wrong type, slips, keys that need others."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from autoconfig.errors import BadValueError, ConfigError, ContradictionError, UnknownNameError
from autoconfig.lmcache.schema import Key, nearest, schema
from autoconfig.masking import masked

_BELOW_RAM = ("local_disk", "remote_url", "remote_storage_plugins", "storage_plugins", "gds_path", "maru_path")
# Of extra_config: what follows is the plugin's name, which is the user's choice, and its keys.
NAMED_BY_USERS = ("remote_storage_plugin.", "storage_plugin.")


def mistakes(values: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[ConfigError]:
    """Yield what only shows when all values are known; `places` says where each was given."""
    yield from _extra_mistakes(values.get("extra_config"), places.get("extra_config", ""))
    yield from _impossible(values, places)


def mistake(key: Key, value: Any, place: str) -> ConfigError | None:
    """Say what is wrong with one value, if anything."""
    if not key.takes(value):
        return BadValueError(f"{place}: {key.name} must be {key.expected}, and is {value!r}.")
    if key.name in ("chunk_size", "max_local_cpu_size") and value <= 0:
        return BadValueError(f"{place}: {key.name} must be above 0: RAM is at least what every tier is filled from.")
    return None


def _extra_mistakes(extra: Mapping[str, Any] | None, place: str) -> Iterator[ConfigError]:
    """Find slips only: keys of others' plugins may be in there as well."""
    for name in map(str, extra or ()):
        if name in schema().extra_config or name.startswith(NAMED_BY_USERS):
            continue
        if meant := nearest(name, schema().extra_config):
            yield UnknownNameError(f"{place}: LMCache reads no extra_config.{name}{meant}")


def _impossible(values: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[ConfigError]:
    if values.get("local_disk") and values.get("max_local_disk_size", 0) <= 0:
        yield BadValueError(f"{places['local_disk']}: local_disk needs max_local_disk_size, its GiB, above 0.")
    if values.get("local_cpu") is False and not any(values.get(name) for name in _BELOW_RAM):
        yield ContradictionError(
            f"{places['local_cpu']}: local_cpu is false, and there is no local_disk or remote_url to keep anything in."
        )
    if url := values.get("remote_url"):
        yield from _bad_address(url, values.get("extra_config") or {}, places["remote_url"])


def _bad_address(url: str, extra: Mapping[str, Any], place: str) -> Iterator[ConfigError]:
    try:
        parts = urlsplit(url)
        whole = bool(parts.scheme and parts.netloc) and ("," in parts.netloc or parts.port != -1)
    except ValueError:
        whole = False
    if not whole:
        yield BadValueError(f"{place}: remote_url must be an address as redis://host:6379, and is {masked(url)!r}.")
    elif parts.scheme == "fs" and not parts.path.startswith("/"):
        yield BadValueError(f"{place}: remote_url names no directory; write fs://localhost:0/the/directory.")
    elif parts.scheme == "s3" and not extra.get("s3_region"):
        yield BadValueError(f"{place}: a remote_url on S3 needs extra_config.s3_region.")

"""Reads and writes LMCache's documented YAML, the one form in which a cache is described here, ours or a user's.

LMCache only warns of a key it does not know; here every mistake is an error, with its line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autoconfig.plan import CachePlan

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LMCacheConfig:
    """One LMCache configuration in the documented schema; sizes are GiB, and LMCache's defaults where none is given."""

    chunk_size: int = 256
    local_cpu: bool = True
    max_local_cpu_size: float = 5.0
    local_disk: str | None = None
    max_local_disk_size: float = 0.0
    cache_policy: str = "LRU"
    remote_url: str | None = None
    save_decode_cache: bool = False
    extra_config: Mapping[str, Any] = field(default=NONE)
    others: Mapping[str, Any] = field(default=NONE)
    """Every further key that was given; none of them has a counterpart in LMCache's server."""
    origin: str = ""
    """Where it was read; empty where it was planned here."""


def read_yaml(text: str, origin: str) -> LMCacheConfig:
    """Read a user's file; ConfigErrors holds every mistake in it, each with its line."""
    raise NotImplementedError


def write_yaml(config: LMCacheConfig) -> str:
    """Return the file, with a comment on every line of ours that a reader may wonder about."""
    raise NotImplementedError


def of_plan(plan: CachePlan, disk_directory: str) -> LMCacheConfig:
    """Write a plan in LMCache's terms."""
    raise NotImplementedError

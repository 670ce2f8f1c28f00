"""Turns a CachePlan or a user's LMCache YAML into what a start needs: files, the server's command, the connector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoconfig.engine_cache import EngineUse
from autoconfig.host import HostFacts
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.lmcache.server import Placement
from autoconfig.plan import CachePlan
from autoconfig.settings import CacheSettings
from autoconfig.values import Value

YAML_FILE = "lmcache.yaml"
STATUS_FILE = "cache-server.json"
MARKER = ".lmi-cache"
"""A file in the folder all cache directories of ours lie in: without it nothing there is ever removed."""


@dataclass(frozen=True, slots=True)
class CacheLaunch:
    """How the cache is started; a server of its own, or (`placement` None) inside the engine's processes."""

    config: LMCacheConfig
    yaml: str
    """What <run directory>/lmcache.yaml holds."""
    placement: Placement | None
    arguments: tuple[str, ...]
    """What follows `lmcache server`; empty without a server."""
    smaller_arguments: tuple[str, ...]
    """The same with half the RAM and no disk, for the one retry."""
    environment: Mapping[str, str]
    """The server's complete environment."""
    disk_directory: str
    """Emptied at the start: `<option.lmcache_disk_path>/lmi-cache/<fingerprint>`; empty without a disk tier of ours."""
    marker: str
    """The file that says that the folder above disk_directory is ours, with its path; empty without a disk tier."""
    fingerprint: str
    salt: str
    """What entries are salted with because others share a tier; empty where none is shared."""
    connector: Mapping[str, Any]
    """vLLM's kv_transfer_config."""
    worker_environment: Mapping[str, str]
    """What the engine's processes find in theirs."""
    settings: CacheSettings | None
    """What the worker is told of the server; None without one."""
    cpu_bytes: int
    disk_bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CachePlace:
    """What is known of the start beside the cache and the options."""

    run_directory: str
    port: int
    http_port: int
    identity: str
    """Of the model's weights (fingerprint.identity); empty while they are not on this machine."""
    versions: tuple[str, ...]
    """Of what writes and reads entries (fingerprint.versions)."""
    bytes_per_token: int
    """As planned; 0 where the model is not known."""


def plan_cache_launch(
    cache: CachePlan | LMCacheConfig,
    place: CachePlace,
    values: Mapping[str, Value],
    use: EngineUse,
    host: HostFacts,
    environ: Mapping[str, str],
) -> CacheLaunch:
    """Decide the start of a cache that was planned here or described by a user; ConfigErrors says what cannot be."""
    raise NotImplementedError

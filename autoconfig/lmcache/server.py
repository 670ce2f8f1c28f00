"""Translates an LMCache configuration into `lmcache server` arguments and back; the two say the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from autoconfig.lmcache.adapters import TRANSLATED, adapters, read, store_of
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.lmcache.mistakes import NAMED_BY_USERS
from autoconfig.lmcache.schema import schema
from autoconfig.masking import masked
from autoconfig.watermark import brought_bytes

TransferMode = Literal["lmcache_driven", "engine_driven"]

_POLICIES = ("LRU",)
# How LMCache runs inside an engine, and without meaning in a server of its own: no answer depends on them.
_MOOT = {
    "blocking_timeout_secs",
    "enable_async_loading",
    "internal_api_server_enabled",
    "internal_api_server_host",
    "internal_api_server_port_start",
    "lmcache_instance_id",
    "lookup_timeout_ms",
    "pin_check_interval_sec",
    "pin_timeout_sec",
    "pre_caching_hash_algorithm",
    "py_enable_gc",
}
# Look-ups and the like, which are short.
_LOOKUP_WORKERS = 4
# Of the entries, this share at most goes at once.
_MOST_EVICTED = 0.2


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the server listens and how the engine's processes reach its memory; no part of the YAML."""

    port: int
    """Of the requests of the engine's processes."""
    http_port: int
    """Of /healthcheck, /status and /metrics; LMCache's default, 8080, is this container's own."""
    transfer_mode: TransferMode
    shm_name: str = ""
    """Of the tier in RAM as shared memory; without one, a CPU engine's blocks go through sockets."""
    workers: int = 1
    """Processes of the engine on this node."""
    slack: float = 0.2
    """Share of the tier in RAM that is kept free, for what comes until LMCache looks again, a second later.

    A request whose chunks do not all fit into it is not kept, and where none fits, nothing is ever evicted: 0.5.6
    allocates them together, and evicts only above this watermark.
    """
    host: str = "127.0.0.1"

    @property
    def shm_file(self) -> str:
        """Return the file a server that was killed leaves behind, to be removed before the next one starts."""
        return f"/dev/shm/lmcache_l1_pool_{self.shm_name}" if self.shm_name else ""


def server_arguments(config: LMCacheConfig, placement: Placement) -> tuple[str, ...]:
    """Return what follows `lmcache server`; credentials are not among them, see adapters.secrets."""
    return tuple(_arguments(config, placement))


def _arguments(config: LMCacheConfig, placement: Placement) -> Iterator[str]:
    yield from ("--host", placement.host, "--port", str(placement.port))
    yield from ("--http-host", placement.host, "--http-port", str(placement.http_port))
    yield from ("--chunk-size", str(config.chunk_size))
    yield from ("--max-gpu-workers", str(placement.workers), "--max-cpu-workers", str(_LOOKUP_WORKERS))
    yield from ("--supported-transfer-mode", placement.transfer_mode)
    if placement.shm_name:
        yield from ("--shm-name", placement.shm_name)
    yield from ("--l1-size-gb", repr(config.max_local_cpu_size))
    if config.local_cpu_use_hugepages:
        yield from ("--l1-use-hugepages", "--no-l1-use-lazy")
    # Never IsolatedLRU here: its thread dies at the first eviction, and the tier fills once and stays (0.5.6:
    # l1 eviction_controller.py asks without a salt).
    yield from ("--eviction-policy", config.cache_policy)
    yield from ("--eviction-trigger-watermark", f"{1 - placement.slack:.2f}")
    yield from ("--eviction-ratio", f"{min(placement.slack, _MOST_EVICTED):.2f}")
    below = list(adapters(config, brought_bytes(on_gpus=placement.transfer_mode == "lmcache_driven")))
    for adapter in below:
        yield from ("--l2-adapter", json.dumps(adapter, separators=(",", ":")))
    if below and config.local_cpu:
        # By default what was read from below is dropped from RAM again.
        yield from ("--l2-prefetch-policy", "retain")
    elif below:
        yield from ("--l2-store-policy", "skip_l1")


def read_server_arguments(arguments: tuple[str, ...]) -> tuple[LMCacheConfig, Placement]:
    """Turn what server_arguments returned back into what it was given."""
    said: dict[str, str] = {}
    below: list[dict[str, Any]] = []
    rest = iter(arguments)
    for name in rest:
        if name in ("--l1-use-hugepages", "--no-l1-use-lazy"):
            said[name] = ""
        elif name == "--l2-adapter":
            below.append(json.loads(next(rest)))
        else:
            said[name] = next(rest)
    placement = Placement(
        port=int(said["--port"]),
        http_port=int(said["--http-port"]),
        transfer_mode="engine_driven" if said["--supported-transfer-mode"] == "engine_driven" else "lmcache_driven",
        shm_name=said.get("--shm-name", ""),
        workers=int(said["--max-gpu-workers"]),
        slack=round(1 - float(said["--eviction-trigger-watermark"]), 2),
        host=said["--host"],
    )
    tiers: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for adapter in below:
        tier = read(adapter)
        extra |= tier.pop("extra_config")
        tiers |= tier
    config = LMCacheConfig(
        chunk_size=int(said["--chunk-size"]),
        local_cpu=said.get("--l2-store-policy") != "skip_l1",
        max_local_cpu_size=float(said["--l1-size-gb"]),
        local_cpu_use_hugepages="--l1-use-hugepages" in said,
        cache_policy=said["--eviction-policy"],
        extra_config=extra,
        **tiers,
    )
    return config, placement


def without_counterpart(config: LMCacheConfig) -> tuple[str, ...]:
    """Name the keys that LMCache's server has nothing for; such a configuration runs inside the engine, or not."""
    return tuple(_lost(config))


def _lost(config: LMCacheConfig) -> Iterator[str]:
    if config.cache_policy not in _POLICIES:
        yield f"cache_policy: {config.cache_policy}"
    if "," in (config.local_disk or ""):
        yield "local_disk with several directories"
    if config.remote_url and not store_of(config.remote_url):
        yield f"remote_url: {masked(config.remote_url)}"
    for key, value in config.extra_config.items():
        if value and key in schema().extra_config and key not in TRANSLATED:
            yield f"extra_config.{key}"
    yield from (key for key in config.others if key not in _MOOT)


def without_meaning(config: LMCacheConfig) -> tuple[str, ...]:
    """Name the keys that were given and change nothing, as a server does without or by itself."""
    return tuple(key for key in config.others if key in _MOOT)


def unread(config: LMCacheConfig) -> tuple[str, ...]:
    """Name the keys of extra_config that LMCache itself never reads."""
    known = schema().extra_config | TRANSLATED
    return tuple(
        f"extra_config.{key}" for key in config.extra_config if key not in known and not key.startswith(NAMED_BY_USERS)
    )

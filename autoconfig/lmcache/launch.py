"""Turns a CachePlan or a user's LMCache YAML into what a start needs: files, the server's command, the connector."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoconfig.engine_cache import GIB, EngineUse, prompt_bytes, token_bytes
from autoconfig.errors import ConfigErrors
from autoconfig.host import HostFacts
from autoconfig.lmcache.config import LMCacheConfig, of_plan, write_yaml
from autoconfig.lmcache.connector import in_process, kv_transfer_config
from autoconfig.lmcache.environment import server_environment, worker_variables
from autoconfig.lmcache.fingerprint import fingerprint
from autoconfig.lmcache.fitness import unfit
from autoconfig.lmcache.remarks import limits, remarks
from autoconfig.lmcache.server import (
    Placement,
    TransferMode,
    server_arguments,
    without_counterpart,
)
from autoconfig.model import ModelFacts
from autoconfig.plan import CachePlan
from autoconfig.recommend import Recommendation
from autoconfig.settings import CacheSettings
from autoconfig.values import Value
from autoconfig.watermark import brought_bytes, kept_bytes, slack

YAML_FILE = "lmcache.yaml"
STATUS_FILE = "cache-server.json"
FOLDER = "lmi-cache"
MARKER = ".lmi-cache"
"""A file in the folder all cache directories of ours lie in: without it nothing there is ever removed."""
# For two attempts: imports took 20 to 30 s on two idle cores, and a CPU's server fills its RAM first, at 3 to 10 GiB/s.
START_SECONDS, SECONDS_PER_GIB = 180.0, 0.6


@dataclass(frozen=True, slots=True)
class CacheLaunch:
    """How the cache is started; a server of its own, or (`placement` None) inside the engine's processes."""

    config: LMCacheConfig
    yaml: str
    """What <run directory>/lmcache.yaml holds."""
    yaml_file: str
    placement: Placement | None
    arguments: tuple[str, ...]
    """What follows `lmcache server`; empty without a server."""
    smaller_arguments: tuple[str, ...]
    """The same with half the RAM and no disk, for the one retry."""
    environment: Mapping[str, str]
    """The server's complete environment."""
    disk_directory: str
    """Emptied at the start: `<a folder>/lmi-cache/<fingerprint>`; empty without a disk tier of ours."""
    marker: str
    """The file that says that the folder above disk_directory is ours, with its path; empty without a disk tier."""
    fingerprint: str
    salt: str
    """What entries are salted with because others share a tier; empty where none is shared."""
    connector: Mapping[str, Any]
    """vLLM's kv_transfer_config."""
    worker_arguments: tuple[Recommendation, ...]
    """Options of the engine that come with the cache, by vLLM's names."""
    worker_variables: tuple[Recommendation, ...]
    """What the engine's processes find in their environment."""
    settings: CacheSettings | None
    """What the worker is told of the server; None without one."""
    cpu_bytes: int
    disk_bytes: int
    kept_bytes: tuple[int, int]
    """Of RAM and disk, what stays: LMCache's server evicts above that."""
    incomplete: str = ""
    """Why this can be shown and not started: empty once the model is on this machine."""
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
    model: ModelFacts


def plan_cache_launch(
    cache: CachePlan | LMCacheConfig,
    place: CachePlace,
    values: Mapping[str, Value],
    use: EngineUse,
    host: HostFacts,
    environ: Mapping[str, str],
) -> CacheLaunch:
    """Decide the start of a cache that was planned here or described by a user; ConfigErrors says what cannot be."""
    config = cache if isinstance(cache, LMCacheConfig) else of_plan(cache, cache.disk_path, host.cpus)
    lost = without_counterpart(config)
    if isinstance(cache, LMCacheConfig) and (errors := tuple(unfit(config, lost, values, use, host, place.model))):
        raise ConfigErrors(errors)
    print_of = fingerprint(place.identity, values, use, config.chunk_size, place.versions)
    base, directory = _directory(config, print_of)
    config = replace(config, local_disk=directory or config.local_disk)
    shared = bool(config.remote_url) and not lost
    placement = None if lost else _placement(config, place, use, host)
    smaller = _smaller(config)
    ram, disk = _sizes(config, 1 if placement else use.ranks)
    yaml_file = f"{place.run_directory}/{YAML_FILE}"
    connector, notes = in_process(), [*config.notes, *remarks(config, lost, use)]
    if placement:
        longest = prompt_bytes(use, host, place.model)
        if config.origin:
            notes += limits(config, token_bytes(use, place.model), longest, placement.slack)
        connector = kv_transfer_config(placement, prompt_bytes=longest, save_decode_cache=config.save_decode_cache)
    return CacheLaunch(
        config=config,
        yaml=write_yaml(config),
        yaml_file=yaml_file,
        placement=placement,
        arguments=server_arguments(config, placement) if placement else (),
        smaller_arguments=server_arguments(smaller, _placement(smaller, place, use, host)) if placement else (),
        environment=server_environment(config, environ) if placement else {},
        disk_directory=directory,
        marker=f"{base}/{MARKER}" if base else "",
        fingerprint=print_of,
        salt=print_of if shared else "",
        connector=connector,
        worker_arguments=tuple(_worker_arguments(connector, place, values, host)),
        worker_variables=tuple(worker_variables(yaml_file="" if placement else yaml_file)),
        settings=_settings(config, place, use, print_of if shared else "") if placement else None,
        cpu_bytes=ram,
        disk_bytes=disk,
        kept_bytes=_kept(ram if config.local_cpu else 0, disk, placement),
        incomplete=_incomplete(place, shared=shared),
        notes=tuple(notes),
    )


def _directory(config: LMCacheConfig, print_of: str) -> tuple[str, str]:
    """Return the folder of all our caches on that disk, and this one's in it."""
    if not config.local_disk or "," in config.local_disk:
        return "", ""
    base = f"{config.local_disk.rstrip('/')}/{FOLDER}"
    return base, f"{base}/{print_of}"


def _placement(config: LMCacheConfig, place: CachePlace, use: EngineUse, host: HostFacts) -> Placement:
    # Through a socket where there is no GPU. Shared memory is faster, but with it the engine dies of a server that is
    # killed or hangs: a store without an answer raises (LMCache 0.5.6, transfer_context/shm.py: prepare_store), and
    # nothing in vLLM's worker catches that; seen at the first kill -9 amid traffic. Here it is given up after
    # TIMEOUT_SECONDS.
    mode: TransferMode = "lmcache_driven" if host.gpus else "engine_driven"
    needed = max(brought_bytes(on_gpus=bool(host.gpus)), prompt_bytes(use, host, place.model))
    free = slack(config.max_local_cpu_size * GIB, needed)
    return Placement(place.port, place.http_port, mode, workers=use.ranks, slack=free)


def _sizes(config: LMCacheConfig, processes: int) -> tuple[int, int]:
    disk = config.max_local_disk_size if config.local_disk else 0
    return int(config.max_local_cpu_size * GIB) * processes, int(disk * GIB) * processes


def _kept(ram: int, disk: int, placement: Placement | None) -> tuple[int, int]:
    if placement is None:
        return ram, disk
    brought = brought_bytes(on_gpus=placement.transfer_mode == "lmcache_driven")
    return kept_bytes(ram, placement.slack), kept_bytes(disk, slack(disk, brought)) if disk else 0


def _smaller(config: LMCacheConfig) -> LMCacheConfig:
    half = max(0.1, int(config.max_local_cpu_size * 5) / 10)
    kept = config.local_cpu or not config.remote_url
    extra = {name: value for name, value in config.extra_config.items() if config.remote_url}
    return replace(
        config,
        local_cpu=kept,
        max_local_cpu_size=half,
        local_disk=None,
        max_local_disk_size=0.0,
        extra_config=extra,
    )


def _settings(config: LMCacheConfig, place: CachePlace, use: EngineUse, salt: str) -> CacheSettings:
    return CacheSettings(
        status_file=f"{place.run_directory}/{STATUS_FILE}",
        http_port=place.http_port,
        start_seconds=START_SECONDS + SECONDS_PER_GIB * config.max_local_cpu_size,
        chunk_tokens=config.chunk_size,
        bytes_per_token=token_bytes(use, place.model),
        kv_dtype=use.kv_dtype,
        ranks=1 if place.model.kv.latent_size else use.tensor_parallel,
        salt=salt,
    )


def _worker_arguments(
    connector: Mapping[str, Any], place: CachePlace, values: Mapping[str, Value], host: HostFacts
) -> Iterator[Recommendation]:
    text = json.dumps(connector, separators=(",", ":"))
    yield Recommendation("kv_transfer_config", text, "connects the engine to LMCache")
    if "enable_prompt_tokens_details" not in values:
        reason = "answers say how many of the prompt's tokens were found in a cache"
        yield Recommendation("enable_prompt_tokens_details", True, reason)
    if place.model.kv.window_layers and not host.gpus and "disable_hybrid_kv_cache_manager" not in values:
        reason = "no GPU: LMCache then takes layers of one kind only, so those with a window are kept in full"
        yield Recommendation("disable_hybrid_kv_cache_manager", True, reason)


def _incomplete(place: CachePlace, *, shared: bool) -> str:
    if place.identity or not shared:
        return ""
    return "others share the remote tier, and the model's weights, which tell its entries apart, are not here yet"

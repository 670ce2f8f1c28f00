"""Turns a CachePlan or a user's LMCache YAML into what a start needs: files, the server's command, the connector."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autoconfig.engine_cache import GIB, EngineUse
from autoconfig.errors import ConfigErrors
from autoconfig.host import HostFacts
from autoconfig.lmcache.config import LMCacheConfig, of_plan, write_yaml
from autoconfig.lmcache.connector import in_process, kv_transfer_config
from autoconfig.lmcache.environment import server_environment, worker_variables
from autoconfig.lmcache.fingerprint import fingerprint
from autoconfig.lmcache.fitness import unfit
from autoconfig.lmcache.server import (
    STORED_BYTES,
    Placement,
    TransferMode,
    server_arguments,
    without_counterpart,
    without_meaning,
)
from autoconfig.model import ModelFacts
from autoconfig.plan import CachePlan
from autoconfig.recommend import Recommendation
from autoconfig.settings import CacheSettings
from autoconfig.values import Value

YAML_FILE = "lmcache.yaml"
STATUS_FILE = "cache-server.json"
FOLDER = "lmi-cache"
MARKER = ".lmi-cache"
"""A file in the folder all cache directories of ours lie in: without it nothing there is ever removed."""
# For two attempts: imports took 20 to 30 s on two idle cores, and a CPU's server fills its RAM first, at 3 to 10 GiB/s.
START_SECONDS, SECONDS_PER_GIB = 180.0, 0.6
LEAST_SLACK, MOST_SLACK = 0.1, 0.5


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
    model: ModelFacts | None
    """None where the model's keys and values are not known."""


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
    if isinstance(cache, LMCacheConfig) and (errors := tuple(unfit(config, lost, values, use, host))):
        raise ConfigErrors(errors)
    print_of = fingerprint(place.identity, values, use, config.chunk_size, place.versions)
    base, directory = _directory(config, print_of)
    config = replace(config, local_disk=directory or config.local_disk)
    shared = bool(config.remote_url) and not lost
    placement = None if lost else _placement(config, place, use, host)
    smaller = _smaller(config)
    yaml_file = f"{place.run_directory}/{YAML_FILE}"
    connector = in_process()
    if placement:
        longest = _prompt_bytes(place, use)
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
        cpu_bytes=int(config.max_local_cpu_size * GIB),
        disk_bytes=int(config.max_local_disk_size * GIB) if config.local_disk else 0,
        incomplete=_incomplete(place, shared=shared),
        notes=(*config.notes, *_notes(config, lost, use)),
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
    slack = _slack(config, place, use, STORED_BYTES[mode])
    return Placement(place.port, place.http_port, mode, workers=use.ranks, slack=slack)


def _slack(config: LMCacheConfig, place: CachePlace, use: EngineUse, stored_bytes: float) -> float:
    """Keep free what two seconds bring, and what the longest prompt takes, within reason."""
    needed = max(stored_bytes, _prompt_bytes(place, use))
    share = needed / (config.max_local_cpu_size * GIB)
    return round(min(MOST_SLACK, max(LEAST_SLACK, share)), 2)


def _prompt_bytes(place: CachePlace, use: EngineUse) -> int:
    """Return what the longest prompt takes."""
    context = use.context or (place.model.context if place.model else None) or 0
    return context * _bytes_per_token(place, use)


def _bytes_per_token(place: CachePlace, use: EngineUse) -> int:
    """Return what a token takes on the whole node, 0 where that is not known."""
    if place.model is None:
        return 0
    return place.model.kv.node_bytes(
        use.number_bytes, use.tensor_parallel, kv_dtype=use.kv_dtype, drafts=use.draft_layers
    )


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
    model = place.model
    return CacheSettings(
        status_file=f"{place.run_directory}/{STATUS_FILE}",
        http_port=place.http_port,
        start_seconds=START_SECONDS + SECONDS_PER_GIB * config.max_local_cpu_size,
        chunk_tokens=config.chunk_size,
        bytes_per_token=_bytes_per_token(place, use),
        kv_dtype=use.kv_dtype,
        ranks=1 if model and model.kv.latent_size else use.tensor_parallel,
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
    windows = place.model is not None and place.model.kv.window_layers
    if windows and not host.gpus and "disable_hybrid_kv_cache_manager" not in values:
        reason = "no GPU: LMCache then takes layers of one kind only, so those with a window are kept in full"
        yield Recommendation("disable_hybrid_kv_cache_manager", True, reason)


def _incomplete(place: CachePlace, *, shared: bool) -> str:
    if place.identity or not shared:
        return ""
    return "others share the remote tier, and the model's weights, which tell its entries apart, are not here yet"


def _notes(config: LMCacheConfig, lost: tuple[str, ...], use: EngineUse) -> Iterator[str]:
    if lost:
        yield f"LMCache runs inside the engine: its server has no counterpart for {', '.join(lost)}"
        return
    if unused := without_meaning(config):
        yield f"{config.origin}: no effect in LMCache's server: {', '.join(unused)}"
    if config.origin and use.ranks > 1:
        yield f"{config.origin}: sizes are for all {use.ranks} processes of the engine together, not for each"
    if (config.remote_url or "").startswith("fs://"):
        yield f"{config.origin}: nothing bounds what is kept in {config.remote_url}"

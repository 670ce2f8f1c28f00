"""Finds what a user's LMCache YAML asks for that this engine, this host or LMCache's server cannot do."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from autoconfig.engine_cache import GIB, EngineUse, token_bytes
from autoconfig.errors import BadValueError, ConfigError, RefusedError, UnfitHostError
from autoconfig.host import HostFacts
from autoconfig.host_disks import mount_of
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.model import ModelFacts
from autoconfig.plan import CHUNKS_IN_FLIGHT
from autoconfig.tiers import DISK_PATH, gib, least_gib
from autoconfig.values import Value

# A judgement: with fewer there is always one on its way, and none to be found.
FEWEST_CHUNKS = 4


def unfit(
    config: LMCacheConfig,
    lost: tuple[str, ...],
    values: Mapping[str, Value],
    use: EngineUse,
    host: HostFacts,
    model: ModelFacts,
) -> Iterator[ConfigError]:
    """Yield every reason against starting it; `lost` are the keys LMCache's server has nothing for."""
    if use.obstacle:
        yield RefusedError(f"{config.origin} cannot be used: {use.obstacle}.")
    if lost and not host.gpus:
        yield RefusedError(
            f"{config.origin}: LMCache's server has no counterpart for {', '.join(lost)}, and without a GPU LMCache "
            "does not run inside the engine. Remove them."
        )
    adapters = values.get("enable_lora")
    if lost and host.gpus and adapters and adapters.value:
        # Our salts tell adapters apart, and only its server heeds them (0.5.6: token_database.py).
        yield RefusedError(
            f"{config.origin}: with {', '.join(lost)}, LMCache runs inside the engine, where it does not tell LoRA "
            f"adapters apart, and one would answer from another's cache. Remove {_each(lost)}, or {adapters}."
        )
    if config.chunk_size % use.block_tokens:
        yield BadValueError(
            f"{config.origin}: chunk_size {config.chunk_size} is no multiple of the engine's block of "
            f"{use.block_tokens} tokens."
        )
    copies = use.ranks if lost else 1
    size = int(config.max_local_cpu_size * GIB) * copies
    if size > host.ram_available_bytes:
        each = f" for each of {copies} processes" if copies > 1 else ""
        yield UnfitHostError(
            f"{config.origin}: max_local_cpu_size {config.max_local_cpu_size:g} GiB{each} is more than the "
            f"{gib(host.ram_available_bytes)} of RAM available."
        )
    chunk = config.chunk_size * token_bytes(use, model)
    if size < FEWEST_CHUNKS * chunk:
        least, enough = least_gib(FEWEST_CHUNKS * chunk), least_gib(CHUNKS_IN_FLIGHT * chunk)
        yield BadValueError(
            f"{config.origin}: max_local_cpu_size {config.max_local_cpu_size:g} GiB holds {size // chunk} chunks of "
            f"{config.chunk_size} tokens, {gib(chunk)} each: too few to keep any. Set {least:g} at least; {enough:g} "
            f"holds {CHUNKS_IN_FLIGHT}, which may be on their way at once."
        )
    for directory in (config.local_disk or "").split(",") if config.local_disk else ():
        yield from _unfit_disk(directory, config, values, host)


def _each(names: tuple[str, ...]) -> str:
    return "it" if len(names) == 1 else "them"


def _unfit_disk(
    directory: str, config: LMCacheConfig, values: Mapping[str, Value], host: HostFacts
) -> Iterator[ConfigError]:
    said = values.get("lmcache_disk_path")
    allowed = str(said.value) if said and said.value else DISK_PATH
    path = PurePosixPath(directory)
    if not path.is_absolute() or ".." in path.parts:
        yield BadValueError(f"{config.origin}: local_disk {directory} is not an absolute directory.")
    elif not path.is_relative_to(allowed):
        yield BadValueError(
            f"{config.origin}: local_disk {directory} is outside {allowed}. "
            f"Set option.lmcache_disk_path={directory} if it is meant."
        )
    mount = mount_of(directory, host.mounts)
    if mount is None:
        return
    if mount.storage == "memory":
        yield UnfitHostError(f"{config.origin}: local_disk {directory} is on {mount.filesystem}, which is RAM.")
    elif mount.storage not in ("network", "unknown") and config.max_local_disk_size * GIB > mount.free_bytes:
        yield UnfitHostError(
            f"{config.origin}: max_local_disk_size {config.max_local_disk_size:g} GiB is more than the "
            f"{gib(mount.free_bytes)} free on {mount.path}."
        )

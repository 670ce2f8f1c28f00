"""Says what becomes of a user's LMCache YAML where that is not plain from the file; nothing here stops a start."""

from collections.abc import Iterator

from autoconfig.advice import tokens
from autoconfig.engine_cache import GIB, EngineUse
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.lmcache.server import unread, without_meaning
from autoconfig.plan import CHUNKS_IN_FLIGHT
from autoconfig.tiers import least_gib


def remarks(config: LMCacheConfig, lost: tuple[str, ...], use: EngineUse) -> Iterator[str]:
    """Yield what has another effect than it may seem; `lost` are the keys LMCache's server has nothing for."""
    if unknown := unread(config):
        yield f"{config.origin}: LMCache does not read {', '.join(unknown)}"
    if lost:
        yield f"LMCache runs inside the engine: its server has no counterpart for {', '.join(lost)}"
        yield "inside the engine LMCache does not heed cache_salt: whoever sends a prompt finds what others left of it"
        return
    if unused := without_meaning(config):
        yield f"{config.origin}: no effect in LMCache's server: {', '.join(unused)}"
    if config.origin and use.ranks > 1:
        yield f"{config.origin}: sizes are for all {use.ranks} processes of the engine together, not for each"
    if (config.remote_url or "").startswith("fs://"):
        yield f"{config.origin}: nothing bounds what is kept in {config.remote_url}"


def limits(config: LMCacheConfig, token_bytes: int, longest_bytes: int, free_share: float) -> Iterator[str]:
    """Yield what the server's RAM is too small for; `free_share` of it is kept free, `longest_bytes` is a prompt's."""
    size, chunk = config.max_local_cpu_size * GIB, config.chunk_size * token_bytes
    said = f"{config.origin}: max_local_cpu_size {config.max_local_cpu_size:g} GiB"
    if (chunks := int(size / chunk)) < CHUNKS_IN_FLIGHT:
        holds = f"{chunks} chunks, {tokens(chunks * config.chunk_size)} tokens"
        needed = (
            f"{CHUNKS_IN_FLIGHT} may be on their way at once, which take {least_gib(CHUNKS_IN_FLIGHT * chunk):g} GiB"
        )
        yield f"{said} holds {holds}; {needed}"
    if config.local_cpu and (room := int(size * free_share)) < longest_bytes:
        most = tokens(room // token_bytes)
        yield f"{said}: a prompt of more than {most} tokens finds no room once it is full, and is not kept then"

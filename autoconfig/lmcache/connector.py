"""Writes vLLM's kv_transfer_config for LMCache: to its server, or inside the engine's own processes."""

from math import ceil
from typing import Any

from autoconfig.lmcache.server import Placement

# A lost answer stalls an engine on a CPU twice as long, and every request with it; LMCache's own is 300 s.
TIMEOUT_SECONDS = 5
# On a GPU blocks do not travel with the messages, and nothing waits in the engine's own thread; not measured.
GPU_TIMEOUT_SECONDS = 10
# A fifth of what a socket carried on two idle cores: a prompt's blocks come in one message.
SLOWEST_BYTES = 50e6
# A server that is gone is noticed after two of these; LMCache's own is 10 s.
HEARTBEAT_SECONDS = 2


def kv_transfer_config(
    placement: Placement, *, prompt_bytes: int = 0, save_decode_cache: bool = False
) -> dict[str, Any]:
    """Return what connects the engine to the server; what cannot be read back is computed anew.

    `prompt_bytes` is what the longest prompt takes in the cache.
    """
    sockets = placement.transfer_mode == "engine_driven"
    extra: dict[str, Any] = {
        "lmcache.mp.host": f"tcp://{placement.host}",
        "lmcache.mp.port": placement.port,
        "lmcache.mp.mq_timeout": ceil(TIMEOUT_SECONDS + prompt_bytes / SLOWEST_BYTES)
        if sockets
        else GPU_TIMEOUT_SECONDS,
        "lmcache.mp.heartbeat_interval": HEARTBEAT_SECONDS,
        # Never LMCache's own `auto`, which also admits pickled transfers from whoever reaches the port.
        "lmcache.mp.mp_transfer_mode": placement.transfer_mode,
    }
    if save_decode_cache:
        extra["lmcache.mp.save_decode_cache"] = True
    return {
        "kv_connector": "LMCacheMPConnector",
        # Without it vLLM 0.32 falls back, silently, to a connector of its own that confuses the ranks.
        "kv_connector_module_path": "lmcache.integration.vllm.lmcache_mp_connector",
        "kv_role": "kv_both",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": extra,
    }


def in_process() -> dict[str, Any]:
    """Return what runs LMCache inside the engine's processes, as the file in LMCACHE_CONFIG_FILE says."""
    return {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both", "kv_load_failure_policy": "recompute"}

"""Writes vLLM's kv_transfer_config for LMCache: to its server, or inside the engine's own processes."""

from typing import Any

from autoconfig.lmcache.server import Placement

# A lost answer stalls an engine on a CPU for as long; LMCache's own is 300 s.
TIMEOUT_SECONDS = 10
# A server that is gone is noticed after two of these; LMCache's own is 10 s.
HEARTBEAT_SECONDS = 2


def kv_transfer_config(placement: Placement, *, save_decode_cache: bool = False) -> dict[str, Any]:
    """Return what connects the engine to the server; what cannot be read back is computed anew."""
    extra: dict[str, Any] = {
        "lmcache.mp.host": f"tcp://{placement.host}",
        "lmcache.mp.port": placement.port,
        "lmcache.mp.mq_timeout": TIMEOUT_SECONDS,
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

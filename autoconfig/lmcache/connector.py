"""Writes vLLM's kv_transfer_config for LMCache: to its server, or inside the engine's own processes."""

from typing import Any

from autoconfig.lmcache.server import Placement


def kv_transfer_config(placement: Placement) -> dict[str, Any]:
    """Return what connects the engine to the server."""
    raise NotImplementedError


def in_process() -> dict[str, Any]:
    """Return what runs LMCache inside the engine's processes, as the file in LMCACHE_CONFIG_FILE says."""
    raise NotImplementedError

"""Translates an LMCache configuration into `lmcache server` arguments and back; the two say the same."""

from dataclasses import dataclass
from typing import Literal

from autoconfig.lmcache.config import LMCacheConfig

TransferMode = Literal["lmcache_driven", "engine_driven"]


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
    host: str = "127.0.0.1"

    @property
    def shm_file(self) -> str:
        """Return the file a server that was killed leaves behind, to be removed before the next one starts."""
        return f"/dev/shm/lmcache_l1_pool_{self.shm_name}" if self.shm_name else ""


def server_arguments(config: LMCacheConfig, placement: Placement) -> tuple[str, ...]:
    """Return what follows `lmcache server`."""
    raise NotImplementedError


def read_server_arguments(arguments: tuple[str, ...]) -> tuple[LMCacheConfig, Placement]:
    """Turn what server_arguments returned back into what it was given."""
    raise NotImplementedError


def without_counterpart(config: LMCacheConfig) -> tuple[str, ...]:
    """Name the keys that LMCache's server has nothing for; such a configuration runs inside the engine, or not."""
    raise NotImplementedError

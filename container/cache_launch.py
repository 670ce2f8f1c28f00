"""Turns a CacheLaunch into what carries it out: the watcher's process, and the files it and LMCache read."""

import os
import sys
from math import floor
from pathlib import Path

from autoconfig.engine_cache import GIB
from autoconfig.lmcache.launch import CacheLaunch
from autoconfig.lmcache.server import read_server_arguments
from container.cache_task import Attempt, CacheTask
from container.children import Child
from container.files import write_atomically

TASK_FILE = "cache-launch.json"
LOG_FILE = "cache-server.log"
# As a module, for LMCache's console script is on nobody's PATH where the environment is not activated.
LMCACHE = (sys.executable, "-P", "-m", "container.cache_lmcache", "server")


def watcher(cache: CacheLaunch, run_directory: Path, root: Path) -> Child:
    """Return the process that starts the cache server and watches it; it has no use for the server's secrets."""
    argv = (sys.executable, "-P", "-m", "container.cache_server", str(run_directory / TASK_FILE))
    kept = {name: text for name, text in cache.environment.items() if name in ("PATH", "LD_LIBRARY_PATH", "LANG")}
    return Child("KV cache", argv, {**kept, "PYTHONPATH": str(root)}, companion=True)


def write_files(cache: CacheLaunch, run_directory: Path) -> None:
    """Write the cache's configuration and the watcher's task, and remove what an earlier start has left of both."""
    write_atomically(Path(cache.yaml_file), cache.yaml)
    if cache.settings is None or cache.placement is None:
        return
    log = run_directory / LOG_FILE
    if log.exists():
        log.replace(run_directory / f"{LOG_FILE}.1")
    Path(cache.settings.status_file).unlink(missing_ok=True)
    write_atomically(run_directory / TASK_FILE, _task(cache, log).to_json())


def _task(cache: CacheLaunch, log: Path) -> CacheTask:
    assert cache.settings
    assert cache.placement
    smaller, _ = read_server_arguments(cache.smaller_arguments)
    # The server's process begins in container.cache_lmcache, and imports container.cache_store for a tier in Redis.
    places = (str(Path(__file__).resolve().parent.parent), cache.environment.get("PYTHONPATH"))
    attempts = (
        Attempt((*LMCACHE, *cache.arguments), cache.cpu_bytes, cache.disk_bytes),
        Attempt((*LMCACHE, *cache.smaller_arguments), floor(smaller.max_local_cpu_size * GIB), 0),
    )
    return CacheTask(
        attempts=attempts,
        environment={**cache.environment, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        ports=(cache.placement.http_port, cache.placement.port),
        status_file=cache.settings.status_file,
        log_file=str(log),
        # The worker waits no longer than for both.
        start_seconds=cache.settings.start_seconds / len(attempts) - 1,
        shared_memory=cache.placement.shm_file,
        disk_directory=cache.disk_directory,
        marker=cache.marker,
    )

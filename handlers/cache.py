"""The worker's view of the LMCache server below its engine: whether it may be built upon, and what it says of itself.

`container.cache_server` starts and watches the server and tells of it in a file. Nothing here fails a start or a
request: without the server the engine has its own cache and no more, and the log and /metrics say so.
"""

import time
from collections.abc import Callable
from pathlib import Path

from autoconfig.settings import CacheSettings, CacheStatus

_LOOK_SECONDS = 0.2


def read_status(settings: CacheSettings) -> CacheStatus:
    """Return what the watcher last told; `starting` while it has told nothing yet."""
    return CacheStatus.read(Path(settings.status_file)) or CacheStatus("starting")


def wait(
    settings: CacheSettings, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Wait until the server is up, and return why the engine has to do without it; empty: it need not."""
    deadline = clock() + settings.start_seconds
    while (status := read_status(settings)).state not in ("up", "off"):
        if clock() >= deadline:
            return f"the cache server is not up after {settings.start_seconds:g} s"
        sleep(_LOOK_SECONDS)
    return "" if status.state == "up" else f"the cache server is off: {status.reason}"


def unfit(settings: CacheSettings, kv_dtypes: tuple[str, ...], block_tokens: int) -> str:
    """Return why the engine as configured cannot use the tiers that were planned for it; empty: it can.

    `kv_dtypes` are the names of one dtype: what the configuration says (`auto`), and what that means for this model.
    """
    if settings.kv_dtype not in kv_dtypes:
        return f"the engine keeps {kv_dtypes[-1]} in its KV cache, and the tiers were planned for {settings.kv_dtype}"
    if settings.chunk_tokens % block_tokens:
        return f"a chunk of {settings.chunk_tokens} tokens is not made of the engine's blocks of {block_tokens}"
    return ""

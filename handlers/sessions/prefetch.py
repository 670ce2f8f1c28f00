"""Asks LMCache's server (0.5.6), through its HTTP interface, to have a prompt's keys and values in its tier in RAM.

`POST /cache/prefetches` marks what of a prompt is in RAM as just used, and reads the rest from the tiers below. It
waits for nothing and locks nothing: what is in no tier stays away, and eviction remains LMCache's own.
"""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

from autoconfig.settings import CacheSettings

_ANSWER_SECONDS = 2.0
_READ_SECONDS, _LOOK_SECONDS = 10.0, 0.05


@dataclass(frozen=True, slots=True)
class Prefix:
    """The whole chunks of a prompt, and the salt its entries are kept under."""

    tokens: int
    token_ids: bytes
    """As a JSON array."""
    salt: str

    @classmethod
    def of(cls, token_ids: list[int], salt: str | None, chunk_tokens: int) -> "Prefix":
        """Return what LMCache keeps of a prompt."""
        tokens = len(token_ids) - len(token_ids) % chunk_tokens
        return cls(tokens, orjson.dumps(token_ids[:tokens]), salt or "")


@dataclass(frozen=True, slots=True)
class Tier:
    """LMCache's tier in RAM, as its server tells of it, and by which names it knows the engine."""

    model: str
    world_size: int
    usable_bytes: float
    """Below the watermark above which it evicts; 0 where it keeps nothing, and others are only read through it."""


class CacheServer:
    """One connection to the server, for a series of calls; OSError, HTTPException or ValueError where it fails."""

    def __init__(self, tiers: CacheSettings) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", tiers.http_port, timeout=_ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def tier(self) -> Tier:
        """Ask how large the tier is, and for whom."""
        status, config = self._call("GET", "/status"), self._call("GET", "/config")
        try:
            engines = {**status.get("cache_context_meta", {}), **status.get("non_cuda_context_meta", {})}
            engine = next(iter(engines.values()))
            storage = config["storage_manager"]
            size = storage["l1_manager_config"]["memory_config"]["size_in_bytes"]
            kept = 0 if storage["store_policy"] == "skip_l1" else storage["eviction_config"]["trigger_watermark"]
            return Tier(engine["model_name"], engine["world_size"], kept * size)
        except (KeyError, TypeError, StopIteration):
            raise ValueError("LMCache's /status and /config tell of no engine or no tier in RAM") from None

    def prefetch(self, tier: Tier, prefix: Prefix, stop: Callable[[], bool]) -> None:
        """Have a prompt's chunks in RAM, and wait until they are, within reason."""
        names = orjson.dumps({"model_name": tier.model, "world_size": tier.world_size, "cache_salt": prefix.salt})
        job = self._call("POST", "/cache/prefetches", names[:-1] + b',"token_ids":' + prefix.token_ids + b"}")
        limit = time.monotonic() + _READ_SECONDS
        # It keeps a job until it has been asked how that ended.
        while job["status"] in ("submitted", "pending") and not stop() and time.monotonic() < limit:
            job = self._call("GET", f"/cache/prefetches/{job['request_id']}")
            if job["status"] == "pending":
                time.sleep(_LOOK_SECONDS)

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        self._connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise ValueError(f"LMCache answers {path} with {answer.status}: {text[:200].decode(errors='replace')}")
        said = orjson.loads(text)
        if not isinstance(said, dict):
            raise ValueError(f"LMCache answers {path} with no object")
        return said

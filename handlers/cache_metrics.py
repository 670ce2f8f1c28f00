"""What /metrics tells of the KV cache's tiers: from their server's watcher, and from the server itself.

The server is asked each time somebody asks for /metrics, in a thread and for LOOK_SECONDS at most: one that hangs or
is gone is told as down, and neither delays nor fails the rest. Its counters begin anew when it does.
"""

import asyncio
import http.client
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from autoconfig.settings import CacheSettings, CacheStatus
from handlers.cache import read_status

LOOK_SECONDS = 0.5
_CPU, _DISK = "cpu", "disk"


@dataclass(frozen=True, slots=True)
class Figures:
    """What LMCache's server says of itself, by tier and in tokens."""

    used_bytes: Mapping[str, float] = field(default_factory=dict)
    looked_up_tokens: float = 0
    hit_tokens: Mapping[str, float] = field(default_factory=dict)
    stored_tokens: float = 0
    evicted_chunks: Mapping[str, float] = field(default_factory=dict)


def figures(text: str, settings: CacheSettings) -> Figures:
    """Read the server's own `/metrics` (LMCache 0.5.6), whose counters are labelled by salt."""
    counted: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            counted[sample.name.removeprefix("lmcache_mp_")] += sample.value
    chunks = counted["l1_write_chunks_total"] - counted["l2_prefetch_load_completed_chunks_total"]
    return Figures(
        used_bytes={
            _CPU: counted["l1_memory_usage_bytes"],
            _DISK: counted["l2_usage_bytes"],
        },
        looked_up_tokens=counted["lookup_requested_tokens_total"],
        hit_tokens={
            _CPU: counted["lookup_hit_l1_tokens_total"],
            _DISK: counted["lookup_hit_l2_tokens_total"],
        },
        stored_tokens=max(chunks, 0) * settings.chunk_tokens / settings.ranks,
        evicted_chunks={
            _CPU: counted["l1_evicted_chunks_total"],
            _DISK: counted["l2_evicted_objects_chunks_total"],
        },
    )


class CacheMetrics(Collector):
    """The tiers' families; `refresh` before they are collected."""

    def __init__(self, registry: CollectorRegistry, settings: CacheSettings, *, connected: bool) -> None:
        self._settings = settings
        self._connected = connected
        self._status = CacheStatus("starting")
        self._figures: Figures | None = None
        registry.register(self)

    async def refresh(self) -> None:
        """Ask the watcher's file and the server."""
        self._status = read_status(self._settings)
        self._figures = None
        with suppress(OSError, http.client.HTTPException, ValueError):
            async with asyncio.timeout(LOOK_SECONDS):
                self._figures = await asyncio.to_thread(self._look)

    def _look(self) -> Figures:
        connection = http.client.HTTPConnection("127.0.0.1", self._settings.http_port, timeout=LOOK_SECONDS)
        try:
            connection.request("GET", "/metrics")
            return figures(connection.getresponse().read().decode(), self._settings)
        finally:
            connection.close()

    def collect(self) -> Iterator[Metric]:
        """Return what is known since the last refresh."""
        status, said = self._status, self._figures
        yield GaugeMetricFamily("lmi_cache_connected", "The engine was started upon the tiers.", self._connected)
        yield GaugeMetricFamily("lmi_cache_server_up", "The cache server answers.", said is not None)
        yield CounterMetricFamily("lmi_cache_server_restarts", "Times the server was restarted.", status.restarts)
        sizes = {_CPU: status.cpu_bytes, _DISK: status.disk_bytes}
        yield _by_tier(GaugeMetricFamily("lmi_cache_tier_bytes", "Size of a tier.", labels=["tier"]), sizes)
        if said is None:
            return
        used = GaugeMetricFamily("lmi_cache_tier_used_bytes", "What of a tier is in use.", labels=["tier"])
        yield _by_tier(used, said.used_bytes)
        yield CounterMetricFamily(
            "lmi_cache_looked_up_tokens", "Tokens the engine asked the tiers for.", said.looked_up_tokens
        )
        hits = CounterMetricFamily("lmi_cache_hit_tokens", "Tokens of them that a tier held.", labels=["tier"])
        yield _by_tier(hits, said.hit_tokens)
        yield CounterMetricFamily("lmi_cache_stored_tokens", "Tokens the engine stored.", said.stored_tokens)
        evicted = CounterMetricFamily("lmi_cache_evicted_chunks", "Chunks a tier evicted.", labels=["tier"])
        yield _by_tier(evicted, said.evicted_chunks)

    def describe(self) -> list[Metric]:
        """Name one family, so that registering does not collect."""
        return [GaugeMetricFamily("lmi_cache_connected", "The engine was started upon the tiers.")]


def _by_tier(family: Metric, values: Mapping[str, float]) -> Metric:
    for tier, value in values.items():
        family.add_metric([tier], value)  # type: ignore[attr-defined]  # of both families, not of their base
    return family

"""What /metrics tells of the KV cache's tiers: from their server's watcher, from vLLM, and from the server itself.

The server is asked each time somebody asks for /metrics, in a thread and for LOOK_SECONDS at most: one that hangs or
is gone is told as down, and neither delays nor fails the rest. Its counters begin anew when it does; vLLM's do not.
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
_CONNECTED = "1 where the engine was started with the tiers, 0 where it does without them; the log has the reason."
_QUERIED = "Prompt tokens the engine's own cache did not hold, for which it asked the tiers."
_HIT = "Of these, tokens it took from the tiers; divided by lmi_cache_query_tokens_total, the tiers' hit rate."
_LOOKED_UP = "Prompt tokens the server was asked for; it is asked for those the engine's own cache holds, too."
_HELD = "Of these, tokens a tier held, whether or not the engine needed them."
_CPU, _DISK = "cpu", "disk"


@dataclass(frozen=True, slots=True)
class Figures:
    """What LMCache's server says of itself, by tier and in tokens."""

    used_bytes: Mapping[str, float] = field(default_factory=dict)
    looked_up_tokens: float = 0
    held_tokens: Mapping[str, float] = field(default_factory=dict)
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
        held_tokens={
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
        self._registry = registry
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
        yield GaugeMetricFamily("lmi_cache_connected", _CONNECTED, self._connected)
        yield GaugeMetricFamily("lmi_cache_server_up", "The cache server answers.", said is not None)
        yield CounterMetricFamily("lmi_cache_server_restarts", "Times the server was restarted.", status.restarts)
        yield from self._taken()
        sizes = {_CPU: status.cpu_bytes, _DISK: status.disk_bytes}
        yield _by_tier(GaugeMetricFamily("lmi_cache_tier_bytes", "Size of a tier.", labels=["tier"]), sizes)
        if said is not None:
            yield from _told(said)

    def _taken(self) -> Iterator[Metric]:
        """Count what the engine used: of a prompt the server may hold what the engine's own cache has already."""
        for name, vllm_name, text in (
            ("lmi_cache_query_tokens", "vllm:external_prefix_cache_queries_total", _QUERIED),
            ("lmi_cache_hit_tokens", "vllm:external_prefix_cache_hits_total", _HIT),
        ):
            families = self._registry.restricted_registry([vllm_name]).collect()
            if counted := [sample.value for family in families for sample in family.samples]:
                yield CounterMetricFamily(name, text, sum(counted))

    def describe(self) -> list[Metric]:
        """Name one family, so that registering does not collect."""
        return [GaugeMetricFamily("lmi_cache_connected", _CONNECTED)]


def _told(said: Figures) -> Iterator[Metric]:
    """Return the families of what the server says of itself."""
    used = GaugeMetricFamily("lmi_cache_tier_used_bytes", "What of a tier is in use.", labels=["tier"])
    yield _by_tier(used, said.used_bytes)
    yield CounterMetricFamily("lmi_cache_looked_up_tokens", _LOOKED_UP, said.looked_up_tokens)
    yield _by_tier(CounterMetricFamily("lmi_cache_held_tokens", _HELD, labels=["tier"]), said.held_tokens)
    yield CounterMetricFamily("lmi_cache_stored_tokens", "Tokens the engine stored.", said.stored_tokens)
    evicted = CounterMetricFamily("lmi_cache_evicted_chunks", "Chunks a tier evicted.", labels=["tier"])
    yield _by_tier(evicted, said.evicted_chunks)


def _by_tier(family: Metric, values: Mapping[str, float]) -> Metric:
    for tier, value in values.items():
        family.add_metric([tier], value)  # type: ignore[attr-defined]  # of both families, not of their base
    return family

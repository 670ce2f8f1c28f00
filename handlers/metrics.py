"""Counts of the request path in Prometheus form, beside vLLM's own on /metrics.

Labels come from fixed sets (route, status), never from a request, so that their number is bounded.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from handlers.cache_metrics import CacheMetrics

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240, 480)


class RequestMetrics:
    """What this container adds to vLLM's metrics."""

    def __init__(self, registry: CollectorRegistry, limit: int, cache: CacheMetrics | None = None) -> None:
        self.requests = Counter("lmi_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "lmi_request_seconds", "From the request's first byte to the reply's last.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge("lmi_requests_in_flight", "Inference requests being answered.", registry=registry)
        self.limit = Gauge("lmi_requests_in_flight_limit", "option.max_concurrent_requests.", registry=registry)
        self.aborted = Counter("lmi_requests_ended_early", "Requests ended early.", ["reason"], registry=registry)
        self.limit.set(limit)
        self._cache = cache
        registry.register(FormerNames(registry))
        # Looking a label up costs more than counting; there are few pairs, for both come from fixed sets.
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    async def refresh(self) -> None:
        """Ask afresh what has to be asked elsewhere, before /metrics is answered."""
        if self._cache:
            await self._cache.refresh()

    def count(self, route: str, status: int, seconds: float, ended: str | None) -> None:
        """Count one finished request."""
        if (route, status) not in self._children:
            self._children[route, status] = self.requests.labels(route, str(status)), self.seconds.labels(route)
        requests, durations = self._children[route, status]
        requests.inc()
        durations.observe(seconds)
        if ended is not None:
            self.aborted.labels(ended).inc()


class FormerNames(Collector):
    """The name SageMaker's dashboard still queries for a gauge vLLM has renamed (gpu_cache_usage_perc)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Repeat `vllm:kv_cache_usage_perc` under its former name."""
        for family in self._registry.restricted_registry(["vllm:kv_cache_usage_perc"]).collect():
            former = GaugeMetricFamily("vllm:gpu_cache_usage_perc", "Former name of vllm:kv_cache_usage_perc.")
            former.samples = [sample._replace(name="vllm:gpu_cache_usage_perc") for sample in family.samples]
            yield former

    def describe(self) -> list[GaugeMetricFamily]:
        """Name the family, so that registering does not collect."""
        return [GaugeMetricFamily("vllm:gpu_cache_usage_perc", "Former name of vllm:kv_cache_usage_perc.")]

"""What happens to LoRA adapters, in Prometheus form; no label carries a name, so that their number is bounded."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.adapters.registry import Adapters


class AdapterMetrics(Collector):
    """The registry's counts, read when /metrics is."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges and counters."""
        adapters, counts = self._adapters, self._adapters.counts
        yield GaugeMetricFamily("lmi_adapters_registered", "Adapters a request may ask for.", adapters.registered)
        yield GaugeMetricFamily("lmi_adapters_failed", "Adapters that cannot be loaded as they are.", adapters.failed)
        yield GaugeMetricFamily("lmi_adapters_loaded", "Adapters whose weights are held.", adapters.loaded)
        yield GaugeMetricFamily("lmi_adapters_waiting", "Requests that wait for their adapter.", adapters.waiting)
        yield CounterMetricFamily("lmi_adapter_loads", "Adapters loaded into the engine.", counts.loads)
        yield CounterMetricFamily("lmi_adapter_evictions", "Adapters that left for others.", counts.evictions)
        yield CounterMetricFamily("lmi_adapter_failures", "Adapters that could not be loaded.", counts.failures)

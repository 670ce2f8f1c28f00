"""vLLM's gauge of the adapters at work, held to those that are: vLLM 0.32 adds a series for each mix there has been.

With a hundred adapters, /metrics and the memory behind it would else grow with nearly every step of the engine.
"""

from collections.abc import Iterable
from typing import Any

from prometheus_client import Gauge


class LatestSeries:
    """Stands in for a gauge with labels: new ones take the place of those before."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._labels: dict[str, Any] = {}

    def labels(self, **labels: Any) -> Gauge:
        """Return the gauge of these labels, the only one there is."""
        if labels != self._labels:
            self._gauge.clear()
            self._labels = labels
        return self._gauge.labels(**labels)


def hold_to_latest(stat_loggers: Iterable[Any]) -> None:
    """Hold the gauge `vllm:lora_requests_info` of vLLM's PrometheusStatLogger to one series."""
    for each in stat_loggers:
        if isinstance(gauge := getattr(each, "gauge_lora_info", None), Gauge):
            each.gauge_lora_info = LatestSeries(gauge)

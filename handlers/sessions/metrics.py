"""What there is of stateful sessions, in Prometheus form."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.sessions.affinity import SessionAffinity
from handlers.sessions.registry import Sessions


class SessionMetrics(Collector):
    """The table's size and what is kept warm of it, read when /metrics is."""

    def __init__(self, sessions: Sessions, affinity: SessionAffinity | None) -> None:
        self._sessions = sessions
        self._affinity = affinity

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        kept = self._affinity.kept_tokens if self._affinity else 0
        yield GaugeMetricFamily("lmi_sessions", "Sessions that are open.", len(self._sessions))
        yield GaugeMetricFamily("lmi_session_kept_tokens", "Tokens of their prompts kept warm in the RAM tier.", kept)

"""Turns timings into the figures of a table, and pairs of figures into a ratio with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.load import Load


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one load came to; a figure is None where the load has none of its kind."""

    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_mean_ms: float | None
    """Of a request's mean gap, the median; a gap's own median is 0 wherever the client reads two tokens at once."""
    itl_p99_ms: float | None
    """Of all gaps."""
    tokens_per_second: float
    front_end_cpu_ms: float | None = None
    """Processor time per request, of everything around the engine."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A geometric mean of ratios and the interval that holds the true one in 95 of 100 repetitions."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Show it as a table does."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def summarise(load: Load) -> Figures:
    """Reduce a load to medians, 99th percentiles and throughput."""
    first = np.array([timing.first_token for timing in load.timings]) * 1000
    means = np.array([np.mean(timing.gaps) for timing in load.timings if timing.gaps]) * 1000
    gaps = np.array([gap for timing in load.timings for gap in timing.gaps]) * 1000
    return Figures(
        ttft_p50_ms=float(np.percentile(first, 50)),
        ttft_p99_ms=float(np.percentile(first, 99)),
        itl_mean_ms=float(np.percentile(means, 50)) if means.size else None,
        itl_p99_ms=float(np.percentile(gaps, 99)) if gaps.size else None,
        tokens_per_second=sum(timing.tokens for timing in load.timings) / load.seconds,
    )


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Compare pairs: Student's t over the logarithms, for ratios are multiplied and not added."""
    logs = np.log(np.array(ours) / np.array(theirs))
    if len(logs) < 2:
        return Ratio(float(np.exp(logs[0])), float("nan"), float("nan"))
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    return Ratio(float(np.exp(logs.mean())), float(np.exp(interval.low)), float(np.exp(interval.high)))

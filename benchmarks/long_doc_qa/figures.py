"""Reduces rounds to the report's figures: latencies, rates, hits, where the time went, and ratios with their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.long_doc_qa.rounds import Round

# vLLM's histograms of one request's life; while LMCache fetches, a request still waits.
PHASES = ("queue", "prefill", "decode")


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What one round came to; seconds."""

    ttft_mean: float
    ttft_p50: float
    ttft_p90: float
    ttft_p99: float
    seconds: float
    output_tokens_per_second: float
    prompt_tokens_per_second: float
    failures: int
    hit_rate: float | None
    """Of the prompts' tokens, as each answer's usage says."""
    hit_rate_metrics: float | None
    """The same by vLLM's counters."""
    own_hit_rate: float | None
    """What of it was in the engine's own cache."""
    phases: tuple[float | None, ...]
    """A request's mean time in each of PHASES, by vLLM's clock."""


def summarise(measured: Round) -> RoundFigures:
    """Reduce a round; failed requests have no latency."""
    answered = [answer for answer in measured.answers if not answer.failure]
    first = np.array([answer.first_token for answer in answered] or [float("nan")])
    prompt = sum(answer.prompt_tokens for answer in answered)
    cached = [answer.cached_tokens for answer in answered if answer.cached_tokens is not None]
    p50, p90, p99 = np.percentile(first, [50, 90, 99])
    return RoundFigures(
        ttft_mean=float(first.mean()),
        ttft_p50=float(p50),
        ttft_p90=float(p90),
        ttft_p99=float(p99),
        seconds=measured.seconds,
        output_tokens_per_second=sum(len(answer.tokens) for answer in answered) / measured.seconds,
        prompt_tokens_per_second=prompt / measured.seconds,
        failures=len(measured.answers) - len(answered),
        hit_rate=sum(cached) / prompt if cached else None,
        hit_rate_metrics=_counted_hits(measured, "prefix", "external_prefix"),
        own_hit_rate=_counted_hits(measured, "prefix"),
        phases=tuple(_phase(measured, name) for name in PHASES),
    )


def _counted_hits(measured: Round, *caches: str) -> float | None:
    """Return the share that vLLM found in its own cache (`prefix`) or below (`external_prefix`)."""
    asked = measured.changed.get("vllm:prefix_cache_queries_total")
    found = sum(measured.changed.get(f"vllm:{cache}_cache_hits_total", 0.0) for cache in caches)
    return found / asked if asked else None


def _phase(measured: Round, name: str) -> float | None:
    count = measured.changed.get(f"vllm:request_{name}_time_seconds_count")
    return measured.changed[f"vllm:request_{name}_time_seconds_sum"] / count if count else None


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the repeats: the middle one, and the least and the largest."""

    median: float
    least: float
    most: float
    repeats: int

    def text(self, form: str = ".2f") -> str:
        """Write it, with the spread if there is one."""
        middle = format(self.median, form)
        if self.repeats == 1:
            return middle
        return f"{middle} [{self.least:{form}}, {self.most:{form}}]"


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return the spread of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return Spread(median(known), min(known), max(known), len(known)) if known else None


def ratios(slower: Sequence[float], faster: Sequence[float]) -> Spread | None:
    """Compare run by run, each with the one of its own repeat."""
    return spread([one / other for one, other in zip(slower, faster, strict=True)])

"""What is measured of a server with adapters: first and later requests, a mix over few slots, many registrations."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.adapters.arms import Up
from benchmarks.load import Body, LoadError, closed_loop
from benchmarks.stats import summarise
from benchmarks.tiny_model import WORDS

Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests over many adapters, of which few are popular."""

    adapters: int
    skew: float
    """Of the Zipf distribution: the n-th most popular is asked for in proportion to 1 / n ** skew."""
    requests: int
    """In one turn."""
    concurrency: int
    prompt_tokens: int
    output_tokens: int

    def bodies(self, seed: str) -> list[Body]:
        """Make one turn's requests; the same seed makes the same ones."""
        chance = random.Random(seed)
        weights = [1 / rank**self.skew for rank in range(1, self.adapters + 1)]
        names = chance.choices([f"mix-{number}" for number in range(self.adapters)], weights, k=self.requests)
        return [body(name, chance, self.prompt_tokens, self.output_tokens) for name in names]


def body(model: str, chance: random.Random, prompt_tokens: int, output_tokens: int) -> Body:
    """Make a streamed chat that shares no prefix with others."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": " ".join(chance.choices(WORDS, k=prompt_tokens))}],
        "max_tokens": output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def first_requests(up: Up, paths: Sequence[Path], turn: int) -> Figures:
    """Time a base request, then make adapters known one by one and time their first and second request, alone."""
    chance = random.Random(f"first {turn}")
    taken: dict[str, list[float]] = {"base": [], "made known": [], "cold": [], "warm": []}
    for number, path in enumerate(paths):
        name = f"first-{turn}-{number}"
        taken["base"].append(_first_token_ms(up, "bench", chance))
        began = time.perf_counter()
        up.make_known(name, path)
        taken["made known"].append((time.perf_counter() - began) * 1000)
        taken["cold"].append(_first_token_ms(up, name, chance))
        taken["warm"].append(_first_token_ms(up, name, chance))
    both = np.array(taken["made known"]) + np.array(taken["cold"])
    taken["made known and cold"] = list(both)
    return {f"{name} ms": float(np.median(times)) for name, times in taken.items()}


def mix(up: Up, work: Mix, seed: str) -> Figures:
    """Send one turn of the mix."""
    before, spent = up.loads, up.running.front_end_cpu_seconds
    load = asyncio.run(closed_loop(up.chat_url, work.bodies(seed), work.concurrency))
    after, spent = up.loads, up.running.front_end_cpu_seconds - spent
    hits = None if before is None or after is None else 1 - (after - before) / work.requests
    figures = asdict(summarise(load))
    kept = ("ttft_p50_ms", "ttft_p99_ms", "itl_mean_ms", "tokens_per_second")
    around = {"front-end CPU ms a request": spent / work.requests * 1000}
    return {name: figures[name] for name in kept} | around | {"hit rate": hits}


def registrations(up: Up, paths: Sequence[Path], prefix: str) -> Figures:
    """Make many adapters known one after another."""
    before = up.resident_mib
    taken = []
    for number, path in enumerate(paths):
        began = time.perf_counter()
        up.make_known(f"{prefix}-{number}", path)
        taken.append((time.perf_counter() - began) * 1000)
    return {
        "adapters": float(len(taken)),
        "seconds": sum(taken) / 1000,
        "p50 ms": float(np.percentile(taken, 50)),
        "p99 ms": float(np.percentile(taken, 99)),
        "more memory MiB": up.resident_mib - before,
    }


def _first_token_ms(up: Up, model: str, chance: random.Random) -> float:
    load = asyncio.run(closed_loop(up.chat_url, [body(model, chance, 64, 4)], 1))
    if not load.timings:
        raise LoadError(f"{up.chat_url} gave no answer")
    return load.timings[0].first_token * 1000

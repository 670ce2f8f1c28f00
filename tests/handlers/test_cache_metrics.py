"""The tiers on /metrics: a cache server that answers (LMCache 0.5.6, captured), one that hangs, one that is gone."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, Counter

from autoconfig.settings import CacheSettings, CacheStatus
from handlers.cache_metrics import LOOK_SECONDS, CacheMetrics
from handlers.metrics import RequestMetrics
from tests.handlers.asgi import answers, application, call
from tests.timing import assert_within, seconds_of

SAID = Path(__file__).parent / "lmcache" / "metrics.txt"
"""What a server told after twelve documents of 2,400 tokens and two salts; cut to its counts of chunks and tokens."""


class Lmcache(BaseHTTPRequestHandler):
    """A cache server's HTTP interface, with what SAID holds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert self.path == "/metrics"
        body = SAID.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def lmcache() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Lmcache) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def vllm_counts(registry: CollectorRegistry) -> None:
    """Count as two engines of vLLM's do: 2,600 tokens their own caches lacked, of which 1,800 came from the tiers."""
    for name, counts in {"queries": (600, 2_000), "hits": (0, 1_800)}.items():
        counter = Counter(f"vllm:external_prefix_cache_{name}", "vLLM's.", ["engine"], registry=registry)
        for engine, count in enumerate(counts):
            counter.labels(str(engine)).inc(count)


def told(tmp_path: Path, port: int, status: CacheStatus | str, ranks: int = 1) -> dict[str, float]:
    """Ask an application for /metrics; return what it holds of the cache, by name and tier."""
    file = tmp_path / "cache-server.json"
    file.write_text(status if isinstance(status, str) else json.dumps(asdict(status)))
    settings = CacheSettings(str(file), port, 60, 256, 2048, "float32", ranks)
    registry = CollectorRegistry()
    vllm_counts(registry)
    metrics = RequestMetrics(registry, 1, CacheMetrics(registry, settings, connected=True))
    assert call(application(answers({}), metrics=metrics), path="/metrics", method="GET").status == 200
    samples = [sample for family in registry.collect() for sample in family.samples]
    named = {f"{s.name}{s.labels.get('tier', '')}": s.value for s in samples if s.name.startswith("lmi_cache_")}
    return {name.removeprefix("lmi_cache_"): value for name, value in named.items()}


def told_in_time(tmp_path: Path, port: int, status: CacheStatus, ranks: int = 1) -> dict[str, float]:
    """Ask again where this machine has stalled for longer than the server is waited for."""
    return next(said for _ in range(5) if (said := told(tmp_path, port, status, ranks))["server_up"])


UP = CacheStatus("up", restarts=2, cpu_bytes=64_424_509, disk_bytes=2**30)


def test_a_server_that_answers_is_told_by_tier(tmp_path: Path) -> None:
    with lmcache() as port:
        figures = told_in_time(tmp_path, port, UP)
    assert figures == {
        "connected": 1,
        "server_up": 1,
        "server_restarts_total": 2,
        "tier_bytescpu": 64_424_509,
        "tier_bytesdisk": 2**30,
        "tier_used_bytescpu": 44_040_192,
        "tier_used_bytesdisk": 56_623_104,
        "query_tokens_total": 2_600,
        "hit_tokens_total": 1_800,
        "looked_up_tokens_total": 41_472,
        "held_tokens_totalcpu": 9_216,
        "held_tokens_totaldisk": 4_608,
        "stored_tokens_total": 12 * 2_304,
        "evicted_chunks_totalcpu": 42,
        "evicted_chunks_totaldisk": 0,
    }


@pytest.mark.parametrize("status", [UP, CacheStatus("off", "did not start", 0), "{", '{"state": "up", "more": 1}'])
def test_a_server_that_is_gone_is_down_and_fails_nothing(tmp_path: Path, status: CacheStatus | str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    figures = told(tmp_path, port, status)
    assert (figures["server_up"], figures["connected"]) == (0, 1)
    assert figures["server_restarts_total"] == (2 if status is UP else 0)
    assert "held_tokens_totalcpu" not in figures
    assert figures["hit_tokens_total"] == 1_800


def test_a_server_that_hangs_is_down_and_holds_nothing_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        figures = told(tmp_path, port, UP)
        assert_within(2 * LOOK_SECONDS, lambda: seconds_of(lambda: told(tmp_path, port, UP)))
    assert figures["server_up"] == 0
    assert figures["tier_bytesdisk"] == 2**30


def test_a_rank_stores_its_share_of_each_chunk(tmp_path: Path) -> None:
    with lmcache() as port:
        alone = told_in_time(tmp_path, port, UP)
        shared = told_in_time(tmp_path, port, UP, ranks=4)
    assert shared["stored_tokens_total"] * 4 == alone["stored_tokens_total"] > 0

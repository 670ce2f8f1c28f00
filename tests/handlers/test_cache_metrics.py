"""The tiers on /metrics: a cache server that answers (LMCache 0.5.6, captured), one that hangs, one that is gone."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry

from autoconfig.settings import CacheSettings, CacheStatus, ServingSettings
from handlers.app import Application
from handlers.cache_metrics import LOOK_SECONDS, CacheMetrics
from handlers.metrics import RequestMetrics
from tests.handlers.asgi import answers, call

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


def told(tmp_path: Path, port: int, status: CacheStatus | str, ranks: int = 1) -> tuple[dict[str, float], float]:
    """Ask an application for /metrics; return what it holds of the cache by name and tier, and the seconds taken."""
    file = tmp_path / "cache-server.json"
    file.write_text(status if isinstance(status, str) else json.dumps(asdict(status)))
    settings = CacheSettings(str(file), port, 60, 256, 2048, "float32", ranks)
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry, 1, CacheMetrics(registry, settings, connected=True))
    began = time.monotonic()
    engine = answers({})
    assert (
        call(Application(engine, ServingSettings(), "generate", ("m",), metrics), path="/metrics", method="GET").status
        == 200
    )
    seconds = time.monotonic() - began
    samples = [sample for family in registry.collect() for sample in family.samples]
    named = {f"{s.name}{s.labels.get('tier', '')}": s.value for s in samples if s.name.startswith("lmi_cache_")}
    return {name.removeprefix("lmi_cache_"): value for name, value in named.items()}, seconds


UP = CacheStatus("up", restarts=2, cpu_bytes=64_424_509, disk_bytes=2**30)


def test_a_server_that_answers_is_told_by_tier(tmp_path: Path) -> None:
    with lmcache() as port:
        figures, _ = told(tmp_path, port, UP)
    assert figures == {
        "connected": 1,
        "server_up": 1,
        "server_restarts_total": 2,
        "tier_bytescpu": 64_424_509,
        "tier_bytesdisk": 2**30,
        "tier_used_bytescpu": 44_040_192,
        "tier_used_bytesdisk": 56_623_104,
        "looked_up_tokens_total": 41_472,
        "hit_tokens_totalcpu": 9_216,
        "hit_tokens_totaldisk": 4_608,
        "stored_tokens_total": 12 * 2_304,
        "evicted_chunks_totalcpu": 42,
        "evicted_chunks_totaldisk": 0,
    }


@pytest.mark.parametrize("status", [UP, CacheStatus("off", "did not start", 0), "{", '{"state": "up", "more": 1}'])
def test_a_server_that_is_gone_is_down_and_fails_nothing(tmp_path: Path, status: CacheStatus | str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    figures, _ = told(tmp_path, port, status)
    assert (figures["server_up"], figures["connected"]) == (0, 1)
    assert figures["server_restarts_total"] == (2 if status is UP else 0)
    assert "hit_tokens_totalcpu" not in figures


def test_a_server_that_hangs_is_down_and_holds_nothing_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        figures, seconds = told(tmp_path, listener.getsockname()[1], UP)
    assert figures["server_up"] == 0
    assert figures["tier_bytesdisk"] == 2**30
    assert seconds < 2 * LOOK_SECONDS


def test_a_rank_stores_its_share_of_each_chunk(tmp_path: Path) -> None:
    with lmcache() as port:
        alone, _ = told(tmp_path, port, UP)
        shared, _ = told(tmp_path, port, UP, ranks=4)
    assert shared["stored_tokens_total"] * 4 == alone["stored_tokens_total"] > 0

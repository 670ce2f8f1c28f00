"""What sessions have LMCache look up, for whom, how much and when; its server is the test's own, on a real socket."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoconfig.settings import CacheSettings
from handlers.sessions.affinity import SessionAffinity

SAID = {
    name: json.loads((Path(__file__).parent / "lmcache" / name).read_text()) for name in ("status.json", "config.json")
}
STATUS, CONFIG = SAID.values()
BELOW_WATERMARK = 0.72 * 429496729
CHUNK, BYTES_PER_TOKEN = 256, 3072
ROOM = int(BELOW_WATERMARK / 2 / BYTES_PER_TOKEN)


@dataclass
class CacheServer:
    """Answers as LMCache 0.5.6 does; `prefetches` are the bodies it was sent, `polls` how often a job was asked for."""

    status: Any = field(default_factory=lambda: STATUS)
    config: Any = field(default_factory=lambda: CONFIG)
    refuses: bool = False
    pending: int = 0
    prefetches: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    port: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/status":
            return 200, self.status
        if path == "/config":
            return 200, self.config
        if self.refuses:
            return 503, {"detail": "no layout registered"}
        if method == "POST":
            self.prefetches.append(json.loads(body))
            self.polls = 0
            return 202, {"request_id": "job", "chunks": 1, "status": "submitted"}
        self.polls += 1
        return 200, {"request_id": "job", "status": "pending" if self.polls <= self.pending else "completed"}

    def lengths(self) -> list[int]:
        return [len(body["token_ids"]) for body in self.prefetches]


@pytest.fixture
def server() -> Iterator[CacheServer]:
    said = CacheServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, told = said.answer(self.command, self.path, body)
            text = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = handle_any  # noqa: N815  # the names http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield said
    listening.shutdown()
    thread.join()
    listening.server_close()


@dataclass
class Worker:
    """Who is alive, what time it is, and the affinity under test."""

    port: int
    bytes_per_token: int = BYTES_PER_TOKEN
    alive: set[str] = field(default_factory=lambda: {"a", "b", "c"})
    now: float = 0.0

    def __post_init__(self) -> None:
        tiers = CacheSettings("", self.port, 1.0, CHUNK, self.bytes_per_token, "auto")
        self.affinity = SessionAffinity(tiers, self.alive.__contains__, lambda: self.now)

    def request(self, session: str, tokens: int, salt: str | None = None) -> None:
        """Have one request pass the engine's gate, in a task of its own as the application's are."""

        async def run() -> None:
            self.affinity.serving(session)
            await asyncio.create_task(self.gate(tokens, salt))

        asyncio.run(run())

    async def gate(self, tokens: int, salt: str | None) -> None:
        self.affinity.seen(list(range(tokens)), salt)

    def look_up(self) -> None:
        """Look prompts up; the first look only learns how large the tier is."""
        for _ in range(1 if self.affinity._tier else 2):
            asyncio.run(self.affinity.look_up())


def test_the_whole_chunks_of_a_sessions_last_prompt_are_looked_up_under_its_salt(server: CacheServer) -> None:
    worker = Worker(server.port)
    worker.request("a", 300)
    worker.request("a", 2 * CHUNK + 10, salt="s")
    worker.look_up()
    asked = {"model_name": "/models/tiny", "world_size": 1, "cache_salt": "s", "token_ids": list(range(2 * CHUNK))}
    assert server.prefetches == [asked]


def test_an_engine_on_gpus_is_known_by_its_own_name_and_ranks(server: CacheServer) -> None:
    engine = {"7": {"model_name": "m", "world_size": 4, "kv_cache_layout": {}}}
    server.status = {"registered_gpu_ids": [7], "cache_context_meta": engine}
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    worker.look_up()
    assert [(body["model_name"], body["world_size"]) for body in server.prefetches] == [("m", 4)]


def test_requests_without_a_session_short_ones_and_pictures_leave_nothing_to_look_up(server: CacheServer) -> None:
    worker = Worker(server.port)
    worker.request("", 1000)
    worker.request("a", CHUNK - 1)
    worker.affinity.serving("b")
    worker.affinity.seen(None, None)
    worker.look_up()
    assert server.prefetches == []


def test_a_session_that_has_ended_is_looked_up_no_more(server: CacheServer) -> None:
    worker = Worker(server.port)
    worker.request("a", 300)
    worker.request("b", 600)
    worker.look_up()
    worker.alive.discard("b")
    worker.look_up()
    assert server.lengths() == [256, 512, 256]
    assert worker.affinity.kept_tokens == 256


def test_what_was_served_last_is_looked_up_last_and_so_stays_longest(server: CacheServer) -> None:
    worker = Worker(server.port)
    for session, chunks in (("a", 1), ("b", 2), ("a", 3)):
        worker.request(session, chunks * CHUNK)
    worker.look_up()
    assert server.lengths() == [2 * CHUNK, 3 * CHUNK]


def test_sessions_hold_at_most_half_of_the_tier_the_ones_served_last(server: CacheServer) -> None:
    worker = Worker(server.port)
    worker.request("a", 10 * CHUNK)
    worker.look_up()  # from here on the tier's size is known
    worker.request("b", ROOM // 2)
    worker.request("c", ROOM // 2)
    assert worker.affinity.kept_tokens == 2 * (ROOM // 2 // CHUNK * CHUNK)
    worker.look_up()
    assert len(server.lengths()) == 3
    worker.request("a", ROOM + CHUNK)
    assert worker.affinity.kept_tokens == 0


def test_nothing_is_remembered_where_it_is_not_known_what_a_token_takes(server: CacheServer) -> None:
    worker = Worker(server.port, bytes_per_token=0)
    worker.request("a", 1000)
    worker.look_up()
    assert (worker.affinity.kept_tokens, server.prefetches) == (0, [])


def test_ram_that_only_serves_to_read_the_disk_is_not_filled(server: CacheServer) -> None:
    server.config = CONFIG | {"storage_manager": CONFIG["storage_manager"] | {"store_policy": "skip_l1"}}
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    for _ in range(2):
        worker.look_up()
    assert (worker.affinity.kept_tokens, server.prefetches) == (0, [])


def test_when_nobody_asks_for_anything_nothing_is_looked_up(server: CacheServer) -> None:
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    worker.now += 61
    worker.look_up()
    assert server.prefetches == []
    worker.request("", 1)
    worker.look_up()
    assert server.lengths() == [CHUNK]


def test_a_job_is_asked_for_until_it_has_ended_or_lmcache_would_keep_it_for_ever(server: CacheServer) -> None:
    server.pending = 3
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    worker.look_up()
    assert server.polls == 4


@pytest.mark.parametrize(
    ("status", "config"),
    [({}, CONFIG), ([], CONFIG), (STATUS | {"non_cuda_context_meta": {}}, CONFIG), (STATUS, {}), (STATUS, {"mp": {}})],
)
def test_a_server_that_tells_nothing_of_use_is_asked_for_nothing(server: CacheServer, status: Any, config: Any) -> None:
    server.status, server.config = status, config
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    worker.look_up()
    assert server.prefetches == []


def test_a_server_that_refuses_is_warned_of_once_and_asked_again(
    server: CacheServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = True
    worker = Worker(server.port)
    worker.request("a", CHUNK)
    for _ in range(3):
        worker.look_up()
    warned = [record.message for record in caplog.records if "not kept warm" in record.message]
    assert len(warned) == 1
    assert warned[0].endswith('LMCache answers /cache/prefetches with 503: {"detail": "no layout registered"}')
    server.refuses = False
    worker.look_up()
    assert server.lengths() == [CHUNK]


def test_a_server_that_is_gone_fails_nothing() -> None:
    worker = Worker(port=1)
    worker.request("a", CHUNK)
    worker.look_up()
    assert worker.affinity.kept_tokens == CHUNK


def test_the_work_goes_on_until_it_is_cancelled(server: CacheServer) -> None:
    async def run() -> None:
        task = asyncio.create_task(Worker(server.port).affinity.run())
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())

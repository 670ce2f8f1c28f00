"""Check 82: under mixed traffic, a third of it abandoned, memory, descriptors and threads stay where they were."""

import random
import threading
import time
from dataclasses import dataclass

import pytest

from tests.e2e.client import Client, Json
from tests.e2e.server import Server
from tests.timing import eventually

ABANDONED = 1000
WORKERS = 8
LONG = {"prompt": "Once", "max_tokens": 4000, "ignore_eos": True, "stream": True}
BODIES: list[Json] = [
    {"prompt": "The quick", "max_tokens": 8}, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8},
    {"inputs": "Hello 5", "parameters": {"max_new_tokens": 8, "details": True}}, {"inputs": "x", "stream": True},
    {"prompt": "The", "max_tokens": 8, "stream": True}, {"prompt": "a", "max_tokens": -1},
    {"model": "nope", "prompt": "a"},
]  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What the server's processes hold."""

    megabytes: float
    descriptors: int
    threads: int


def has_grown(before: Held, now: Held) -> bool:
    return (
        now.megabytes > before.megabytes * 1.05 + 30
        or now.descriptors > before.descriptors + 2 * WORKERS
        or now.threads > before.threads + 4
    )


def held(server: Server) -> Held:
    family = server.family()
    memory = sum(process.memory_info().rss for process in family) / 2**20
    return Held(memory, sum(p.num_fds() for p in family), sum(p.num_threads() for p in family))


class Traffic:
    """Threads that send requests of every kind, and abandon a good part of them."""

    def __init__(self, api: Client) -> None:
        self.api = api
        self.abandoned = 0
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(WORKERS)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            try:
                self._abandon() if chance.random() < 0.5 else self._send(chance.choice(BODIES))
            except Exception as error:  # noqa: BLE001  # a thread's failure is the test's
                self.errors.append(f"{type(error).__name__}: {error}")

    def _send(self, body: Json) -> None:
        response = self.api.invoke(body)
        if response.status_code not in (200, 400, 404):
            self.errors.append(f"{response.status_code} for {body}")

    def _abandon(self) -> None:
        with self.api.send(LONG) as connection:
            connection.recv(256)
        self.abandoned += 1


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    "seconds", [pytest.param(60, id="one minute"), pytest.param(600, id="ten minutes", marks=pytest.mark.soak)]
)
def test_check_82_resources_stay_stable_under_mixed_traffic(tiny: Server, seconds: int) -> None:
    api = tiny.client
    with Traffic(api) as traffic:
        started = time.monotonic()

        def go_on(part: float) -> None:
            eventually(
                lambda: time.monotonic() - started > seconds * part and traffic.abandoned > ABANDONED * part,
                f"{part:.0%} of {ABANDONED} abandoned streams",
                2 * seconds + 300,
            )

        go_on(1 / 3)  # warm: caches filled, pools grown
        before = held(tiny)
        go_on(1)
        eventually(lambda: not has_grown(before, held(tiny)), f"the server holds no more than {before}")
    assert traffic.errors == []
    eventually(lambda: api.requests_running() == 0, "no request running")
    assert api.http.get("/ping").status_code == 200
